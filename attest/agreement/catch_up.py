"""What was missed, fetched page by page from peers that nobody believes: certificate and roots prove it."""

from collections.abc import Iterable, Sequence

from attest.agreement.proposals import reference_of
from attest.agreement.state import AgreedState
from attest.agreement.state_format import MAX_STATE_BYTES, decode_state, state_root
from attest.encoding.canonical_bytes import ByteReader, ByteWriter
from attest.formats.certificate import Certificate
from attest.hours.hourly import HourlyMemory, HourRow, read_row
from attest.hours.table import verify_rows
from attest.wire.messages import PAGE_BYTES, Answer, Part
from riskschema.errors import InvalidData, ProtocolViolation

ITEM_OVERHEAD = 4


def state_page(encoded: bytes, start: int) -> bytes:
    """Return the bytes of a state from `start` on that one answer holds."""
    return encoded[start : start + PAGE_BYTES]


def pack_items(items: Iterable[bytes]) -> bytes:
    """Return as many of the items, each as a blob, as one answer holds; what is larger than a page is empty there."""
    writer, size = ByteWriter(), 0
    for item in items:
        fitting = item if len(item) + ITEM_OVERHEAD <= PAGE_BYTES else b""
        size += len(fitting) + ITEM_OVERHEAD
        if size > PAGE_BYTES:
            break
        writer.blob(fitting)
    return writer.finish()


def unpack_items(data: bytes) -> tuple[bytes, ...]:
    """Return the items of an answer.

    Raises:
        ProtocolViolation: (``malformed``) no list of blobs.
    """
    reader = ByteReader(data, what="answer")
    items = []
    try:
        while reader.is_left:
            items.append(reader.blob())
    except InvalidData as error:
        raise _refused(error.message, "malformed") from error
    return tuple(items)


class StateDownload:
    """The state after one certified report, in pages of one peer; never more than a state may be."""

    def __init__(self, certificate: Certificate) -> None:
        """Begin with a certificate that was verified."""
        self.reference = reference_of(certificate)
        self._certificate = certificate
        self._data = bytearray()

    @property
    def next_start(self) -> int:
        """Where the next page begins, for the request."""
        return len(self._data)

    def take(self, answer: Answer) -> AgreedState | None:
        """Take the next page; return the state once it is complete and is the one that the report commits to.

        Raises:
            ProtocolViolation: not the page that was asked for, none at all, too much, or another state: ask another
                peer from the start.
        """
        asked = (Part.STATE, self.reference, self.next_start)
        if (answer.part, answer.reference, answer.start) != asked:
            raise _refused("not the page that was asked for", "stale")
        if not answer.data or not self.next_start + len(answer.data) <= answer.total <= MAX_STATE_BYTES:
            raise _refused(f"a page of {len(answer.data)} bytes of {answer.total}", "malformed")
        self._data += answer.data
        return self._complete() if len(self._data) == answer.total else None

    def _complete(self) -> AgreedState:
        try:
            state = decode_state(bytes(self._data))
            root = state_root(state)
        except InvalidData as error:
            raise _refused(error.message, "malformed") from error
        if root != self._certificate.header.state_root:
            raise _refused("the state is not the one that the report commits to", "forged")
        return state


def read_hours(data: bytes) -> tuple[HourRow, ...]:
    """Read the completed hours of an answer; they mean nothing before `check_hours`.

    Raises:
        ProtocolViolation: (``malformed``) no hours.
    """
    rows = []
    for item in unpack_items(data):
        reader = ByteReader(item, what="answer")
        try:
            rows.append(read_row(reader))
            reader.finish()
        except InvalidData as error:
            raise _refused(error.message, "malformed") from error
    return tuple(rows)


def check_hours(genesis_root: bytes, rows: Sequence[HourRow], memory: HourlyMemory) -> None:
    """Check that hours, from the first after genesis, are all that a state commits to.

    Raises:
        ProtocolViolation: (``forged``) they are not.
    """
    try:
        verify_rows(genesis_root, rows, memory)
    except InvalidData as error:
        raise _refused(error.message, "forged") from error


def _refused(reason: str, code: str) -> ProtocolViolation:
    return ProtocolViolation(f"answer refused: {reason}", code=code)
