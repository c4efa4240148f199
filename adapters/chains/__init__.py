"""Pinned, batched reads of EVM chains over JSON-RPC: the only home of web3 reads."""

from adapters.chains.endpoint import EndpointOptions, EndpointReport
from adapters.chains.learned import Learned
from adapters.chains.reader import Chain, Finality, PinnedChain, open_chain

__all__ = ["Chain", "EndpointOptions", "EndpointReport", "Finality", "Learned", "PinnedChain", "open_chain"]
