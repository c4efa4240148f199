"""What was refused before, so that noise is paid for once: bounded memories of digests and of proven liars."""

from collections import Counter, OrderedDict
from hashlib import blake2b

from attest.wire.envelope import Envelope
from attest.wire.messages import MessageKind
from riskschema.errors import ProtocolViolation

REMEMBERED_DIGESTS = 4_096
MOST_INVALID = 2
"""Messages with a valid signature and an invalid content, per sender, round and kind: the rest goes unread."""


class Refusals:
    """Counts per open round; digests until newer ones push them out."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, str] = OrderedDict()
        self._invalid: Counter[tuple[int, int, MessageKind]] = Counter()

    def check(self, payload: bytes) -> None:
        """Refuse what was refused before.

        Raises:
            ProtocolViolation: with the code of the first time.
        """
        code = self._digests.get(_digest(payload))
        if code is not None:
            raise ProtocolViolation("refused: the same bytes were refused before", code=code)

    def check_sender(self, envelope: Envelope) -> None:
        """Refuse what a sender says on after it signed `MOST_INVALID` messages that no honest operator sends.

        Raises:
            ProtocolViolation: (``ignored``) unread.
        """
        if self._invalid[_key(envelope)] >= MOST_INVALID:
            raise ProtocolViolation(
                f"message refused: operator {envelope.sender} sent {MOST_INVALID} invalid ones before", code="ignored"
            )

    def remember(self, payload: bytes, code: str) -> None:
        """Note bytes that will never be accepted."""
        self._digests[_digest(payload)] = code
        if len(self._digests) > REMEMBERED_DIGESTS:
            self._digests.popitem(last=False)

    def count(self, envelope: Envelope) -> None:
        """Note that a sender itself signed something invalid."""
        self._invalid[_key(envelope)] += 1

    def keep_rounds(self, first: int, last: int) -> None:
        """Forget the counts of rounds that are closed."""
        self._invalid = Counter({key: count for key, count in self._invalid.items() if first <= key[0] <= last})


def _key(envelope: Envelope) -> tuple[int, int, MessageKind]:
    return envelope.round, envelope.sender, envelope.kind


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=16).digest()
