"""The local chain through the real reader, with options of its own."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from adapters.chains import Chain, EndpointOptions, open_chain
from devnet.local_chain import Devnet


def open_devnet(chain: Devnet, url: str | None = None, **options: Any) -> AbstractAsyncContextManager[Chain]:
    """Open it, or a proxy of it."""
    limits = {name: options.pop(name) for name in ("batch_size", "concurrency", "log_range") if name in options}
    settings: dict[str, Any] = {"chain_id": chain.deployment.chain_id, "finality": "latest", "attempts": 3}
    return open_chain(endpoints=[EndpointOptions(url=url or chain.url, **limits)], **{**settings, **options})
