"""What can go wrong with a local chain, as one error with a message that says what to do."""

from riskschema.errors import FatalError


class DevnetError(FatalError):
    """The local chain cannot be built or has died; the message names the part and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="devnet")


class TransactionReverted(DevnetError):
    """A transaction of the local chain was refused by the contract it called."""
