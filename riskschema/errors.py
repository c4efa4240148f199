"""The error tree. Third-party exceptions are translated into it once, at the edge.

PlimsollError            expected in normal operation; anything else is a bug and stops the node
├── TransientError       retry inside the round, never past its deadline
├── InvalidData          a source or a file answered nonsense: abstain, refuse, or lower coverage; say so
├── ProtocolViolation    a peer misbehaved: drop the message, keep the evidence, count it
└── FatalError           a person must act: stop with a clear message
"""


class PlimsollError(Exception):
    """An expected failure: a message for people and a stable code for machines.

    Args:
        message: What happened, where, and what to do about it.
        code: A key of `riskschema.reasons.REASONS`; labels metrics and documentation.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class TransientError(PlimsollError):
    """A failure of our own means (endpoint, disk, time): retry until the round's deadline, then abstain."""


class InvalidData(PlimsollError):
    """A file, a user, a contract or a source gave something that cannot be right."""


class ProtocolViolation(PlimsollError):
    """A peer sent something an honest peer never sends."""


class FatalError(PlimsollError):
    """The node must not go on until a person has acted."""
