"""The guard: one key never signs two reports for a round, nor a round at or below one it signed.

It also never signs a report whose parent is of a lower round than that of the last one, and lets out one message of a
kind and round.

It lives in a file of its own beside the keystore (never in the database, which may be restored or pruned), holds one
high-water mark per config digest, and is locked by the one process that may sign.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from attest.keys.guard_file import GuardFile, MarkRow, create_guard_file
from attest.keys.guard_interchange import Mark, decode_marks, encode_marks
from riskschema.errors import TransientError
from riskschema.units import Address, Hash32


def guard_path(keystore: Path) -> Path:
    """Return where the guard of a keystore lives."""
    return keystore.with_name(keystore.name + ".guard")


def create_guard(path: Path, address: Address) -> None:
    """Make the guard of a key that was made just now: it may sign from the first round on.

    Raises:
        FatalError: the file exists already, or another process holds its lock.
    """
    create_guard_file(path, address)


def open_guard(path: Path, address: Address) -> "Guard":
    """Lock and open the guard of a key; a missing one is made and starts two slots ahead (`Guard.enter`).

    Raises:
        FatalError: (``guard_locked``) another process holds it; (``guard_put_back``) it is an older copy of itself;
            (``guard_unreadable``) it is damaged or of another key; (``guard_unwritable``) the disk refuses;
            (``key_unreadable``) it is open to others.
        TransientError: (``guard_unwritable``) the disk is full or failing.
    """
    return Guard(GuardFile(path, address), address)


def renew_guard(path: Path, address: Address) -> None:
    """Take up a guard that was put back or lost: its marks stay, and it starts two slots ahead (`Guard.enter`).

    The caller vouches that no other machine signs with the key.

    Raises:
        FatalError: as `open_guard`, but for ``guard_put_back``.
        TransientError: the disk is full or failing.
    """
    GuardFile(path, address, put_back=True).close()


class Guard:
    """The marks of one key, durable before any signature leaves. Use as a context manager, or call `close`."""

    def __init__(self, file: GuardFile, address: Address) -> None:
        self._file = file
        self._first: dict[bytes, int] = {}
        """Per configuration the lowest round of which messages may be said; nothing before `enter`."""
        self.address = address

    def must_listen(self, config_digest: bytes) -> bool:
        """Say whether the file may not know all that the key signed: it was missing, put back or imported into.

        Then nothing may be signed or written before two slots were listened to (`attest.agreement.listening`).
        """
        row = self._file.row(config_digest)
        return not self._file.complete if row is None else not row.certain

    def enter(self, config_digest: bytes, current_round: int, *, parent_round: int = 0) -> int:
        """Take up a configuration; return the lowest round that may still be signed.

        A guard that was missing, or that was put back from a copy, does not know what the key signed of late: it
        starts at `current_round` + 2, beyond every round that the key can have signed by a right clock. (A wrong one
        must be ruled out before: `node.clock_check`.)

        Args:
            config_digest: The committee's, 32 bytes.
            current_round: The slot of now; where the node had to listen, the one in which it began to.
            parent_round: Round of the highest certified report at hand: what a guard that forgot takes for the parent
                of the last report it signed.
        """
        row = self._file.row(config_digest)
        if row is None:
            known = self._file.complete
            row = _ruled_out(config_digest, 0 if known else current_round + 1, 0 if known else parent_round)
            self._file.write(row)
        elif not row.certain:
            row = _ruled_out(config_digest, max(row.round, current_round + 1), max(row.parent_round, parent_round))
            self._file.write(row)
        first = row.round + 1 if row.report_hash is None else row.round
        self._first[config_digest] = first if row.report_hash is None else 0
        return first

    def parent_round(self, config_digest: bytes) -> int:
        """Return the round of the parent of the last report signed: no later report may build on a lower one."""
        row = self._file.row(config_digest)
        return 0 if row is None else row.parent_round

    def say_once(self, config_digest: bytes, kind: int, round_number: int, digest: bytes) -> None:
        """Let out a message of the identity, and never another one of its kind and round.

        The digest is on disk when this returns; the same message passes again, also after a restart. A database that
        was restored makes the node forget what it said; this does not.

        Args:
            config_digest: The committee's; `enter` must have taken it up.
            kind: Of the message.
            round_number: Of the message.
            digest: What the identity signed, 32 bytes (`attest.wire.envelope.Envelope.digest`).

        Raises:
            TransientError: (``guard_refuses``) another message was said, or may have been. (``guard_unwritable``) the
                disk is full or failing.
            FatalError: as `sign_once`.
        """
        first = self._first.get(config_digest)
        if first is None:
            raise _refuses(f"configuration 0x{config_digest.hex()} was not taken up")
        said = self._file.said(config_digest, kind, round_number)
        if said == digest:
            self._file.settle()
        elif said is not None or round_number < first:
            raise _refuses(f"a message of kind {kind} for round {round_number} was, or may have been, said before")
        else:
            self._file.note(config_digest, kind, round_number, digest)

    def has_said(self, config_digest: bytes, kind: int, round_number: int, digest: bytes) -> bool:
        """Say whether this very message was let out here (`say_once`)."""
        return self._file.said(config_digest, kind, round_number) == digest

    def sign_once(
        self,
        config_digest: bytes,
        round_number: int,
        report_hash: bytes,
        sign: Callable[[], bytes],
        *,
        parent_round: int,
    ) -> bytes:
        """Return the signature over a report, and never over another one of this round or of an earlier one.

        The mark is on disk, and counted in the lock file, before the signature is returned; a second call for the same
        report returns the same bytes.

        Args:
            config_digest: The committee's; `enter` must have taken it up.
            round_number: The report's round.
            report_hash: Identity of the report, 32 bytes.
            sign: Makes the signature over this very report.
            parent_round: Round of the report on which it builds.

        Raises:
            TransientError: (``guard_refuses``) the key has signed, or may have signed, something else for this round
                or a later one: abstain; the next round is free. (``guard_unwritable``) the disk is full or failing.
            FatalError: (``guard_put_back``) the file was overwritten; (``guard_unwritable``) the disk refuses.
        """
        row = self._file.row(config_digest)
        if row is None or config_digest not in self._first:
            raise _refuses(f"configuration 0x{config_digest.hex()} was not taken up")
        same = round_number == row.round and report_hash == row.report_hash
        if same and row.signature is not None:
            self._file.settle()
            return row.signature
        if not same and round_number <= row.round:
            raise _refuses(
                f"{self.address} may not sign 0x{report_hash.hex()} for round {round_number}: "
                f"its last round under this configuration is {row.round}"
            )
        if not same and parent_round < row.parent_round:
            raise _refuses(
                f"{self.address} may not sign 0x{report_hash.hex()}: it builds on round {parent_round}, "
                f"and the last report that was signed on round {row.parent_round}"
            )
        signature = sign()
        self._file.write(
            MarkRow(
                config_digest=config_digest,
                round=round_number,
                report_hash=report_hash,
                signature=signature,
                certain=True,
                parent_round=max(parent_round, row.parent_round),
            )
        )
        return signature

    def high_water_mark(self, config_digest: bytes) -> int | None:
        """Return the highest round signed or ruled out; None for a configuration never seen."""
        row = self._file.row(config_digest)
        return None if row is None else row.round

    def export_marks(self) -> bytes:
        """Return all marks as JSON (docs/agreement.md); no signature, no secret."""
        marks = [
            Mark(
                config_digest=Hash32(row.config_digest),
                round=row.round,
                report_hash=None if row.report_hash is None else Hash32(row.report_hash),
                parent_round=row.parent_round,
            )
            for row in self._file.rows()
        ]
        return encode_marks(self.address, marks)

    def import_marks(self, document: bytes) -> None:
        """Raise the marks to those of an export of the same key; none is ever lowered.

        Raises:
            InvalidData: no such document, or of another key.
        """
        for mark in decode_marks(document, self.address):
            row = self._file.row(mark.config_digest.to_bytes())
            if row is None or (row.round, row.parent_round) < (mark.round, mark.parent_round):
                self._file.write(_imported(mark, row))
            elif row.parent_round < mark.parent_round:  # an older round may rule out more parents
                self._file.write(msgspec.structs.replace(row, parent_round=mark.parent_round, certain=False))
            elif row.round == mark.round and row.report_hash != _hash_of(mark):
                # Two different reports are claimed for the round: neither is signed again.
                self._file.write(_imported(msgspec.structs.replace(mark, report_hash=None), row))

    def close(self) -> None:
        """Give up the lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ruled_out(config_digest: bytes, round_number: int, parent_round: int) -> MarkRow:
    return MarkRow(
        config_digest=config_digest,
        round=round_number,
        report_hash=None,
        signature=None,
        certain=True,
        parent_round=parent_round,
    )


def _imported(mark: Mark, row: MarkRow | None) -> MarkRow:
    """Return the higher of two marks; where it came from, more may have been signed since."""
    higher = row is None or mark.round >= row.round
    return MarkRow(
        config_digest=mark.config_digest.to_bytes(),
        round=mark.round if row is None else max(mark.round, row.round),
        report_hash=_hash_of(mark) if higher or row is None else row.report_hash,
        signature=None if higher or row is None else row.signature,
        certain=False,
        parent_round=mark.parent_round if row is None else max(mark.parent_round, row.parent_round),
    )


def _hash_of(mark: Mark) -> bytes | None:
    return None if mark.report_hash is None else mark.report_hash.to_bytes()


def _refuses(reason: str) -> TransientError:
    return TransientError(f"guard: {reason}", code="guard_refuses")
