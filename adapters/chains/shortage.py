"""Why there is no answer: too few endpoints gave one."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.chains.endpoint import Endpoint
from adapters.chains.provider import RetryableError
from riskschema.errors import TransientError


def too_few(
    endpoints: Sequence[Endpoint], chain_id: int, agreement: int, failures: Sequence[TransientError], answered: int
) -> TransientError:
    """Return the failure of a request that too few endpoints answered.

    Args:
        endpoints: All of the chain.
        chain_id: The chain.
        agreement: How many must say the same.
        failures: Of those that were asked.
        answered: How many answered.
    """
    if not failures:
        left = "; ".join(f"{each.name} is {each.health.state}: {each.health.detail[:100]}" for each in endpoints)
        return TransientError(
            f"chain {chain_id}: {answered} endpoints answer, {agreement} must agree; {left[:1_200]}",
            code="endpoints_disagree",
        )
    said = "; ".join(dict.fromkeys(failed.message for failed in failures))
    if agreement > 1:
        said = f"chain {chain_id}: {answered} endpoints answer, {agreement} must agree: {said}"
    return failure_kind(failures)(said, code=failures[0].code)


def failure_kind(failures: Sequence[TransientError]) -> type[TransientError]:
    """Return the kind of a failure to which these led: asking again may help if it may help with one of them."""
    return RetryableError if any(isinstance(failed, RetryableError) for failed in failures) else TransientError
