"""What two answers must have in common to be the same answer, and who contradicts whom."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from adapters.chains.answers import RpcAnswer, as_revert, failure, malformed, to_block, to_bytes, to_logs, to_quantity
from adapters.chains.provider import Request
from riskschema.errors import TransientError


def settled(request: Request, answer: RpcAnswer, where: str) -> RpcAnswer:
    """Return `answer` if it is a fact: a result of the form its method has, or the revert of a call.

    Raises:
        TransientError: it is an error of the endpoint, unknown to it, or nonsense.
    """
    if request[0] != "eth_getLogs" or answer.error is not None:  # the logs themselves are looked at where they are read
        content(request, answer, where)
    return answer


def digest(requests: Sequence[Request], answers: Sequence[RpcAnswer], where: str) -> bytes:
    """Return 16 bytes that are equal for equal facts, whatever the client's wording or further fields.

    Raises:
        TransientError: an answer is no fact.
    """
    facts = [content(request, answer, where) for request, answer in zip(requests, answers, strict=True)]
    return blake2b(msgspec.msgpack.encode(facts), digest_size=16).digest()


def content(request: Request, answer: RpcAnswer, where: str) -> Any:
    """Return what the chain alone decides of an answer.

    Raises:
        TransientError: it is no fact.
    """
    method, parameters = request
    if answer.error is not None:
        reverted = as_revert(answer.error) if method == "eth_call" else None
        if reverted is None:
            raise failure(answer.error, f"{where} {method}")
        return [False]  # some providers strip what a revert returns, and nothing that is agreed on depends on it
    match method:
        case "eth_call" | "eth_getCode":
            return [True, to_bytes(answer.result, where)]
        case "eth_getBalance":
            return str(to_quantity(answer.result, where))
        case "eth_getBlockByHash" | "eth_getBlockByNumber":
            return _block(method, parameters[0], answer.result, where)
        case "eth_getLogs":
            return _logs(answer.result, where)
    return answer.result


def _block(method: str, asked: str, result: Any, where: str) -> list[Any]:
    if result is None:
        raise TransientError(f"{where} {method} {asked}: does not know the block", code="block_unknown")
    block = to_block(result, 0, where)
    if method == "eth_getBlockByHash" and block.hash != asked.lower():
        raise malformed(where, f"answered block {block.hash} for {asked}")
    if method == "eth_getBlockByNumber" and asked.startswith("0x") and block.number != int(asked, 16):
        raise malformed(where, f"answered block {block.number} for {int(asked, 16)}")
    return [block.number, str(block.hash), block.timestamp]


def _logs(result: Any, where: str) -> list[Any]:
    return [
        [
            log.block_number,
            str(log.block_hash),
            log.index,
            str(log.address),
            [str(topic) for topic in log.topics],
            log.data,
        ]
        for log in to_logs(result, where)
    ]
