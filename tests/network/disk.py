"""What an operator keeps through a crash: messages, reports, certificates, and the guard's marks."""

from __future__ import annotations

from dataclasses import dataclass, field

from attest.agreement.proposals import reference_of
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate
from attest.formats.header import ReportHeader
from attest.keys.guard_file import MarkRow
from attest.wire.messages import ReportReference


class MemoryGuardFile:
    """The guard's file without a disk; `attest.keys.guard_file` has its own tests of crashes."""

    complete = True

    def __init__(self) -> None:
        self._rows: dict[bytes, MarkRow] = {}
        self._said: dict[tuple[int, int], bytes] = {}

    def row(self, config_digest: bytes) -> MarkRow | None:
        """Return the mark of a configuration."""
        return self._rows.get(config_digest)

    def write(self, row: MarkRow) -> None:
        """Keep a mark."""
        self._rows[row.config_digest] = row

    def said(self, _config_digest: bytes, kind: int, round_number: int) -> bytes | None:
        """Return the digest of what was said."""
        return self._said.get((kind, round_number))

    def note(self, _config_digest: bytes, kind: int, round_number: int, digest: bytes) -> None:
        """Keep the digest of a message."""
        self._said[kind, round_number] = digest

    def close(self) -> None:
        """Do nothing: there is no lock."""

    def settle(self) -> None:
        """Do nothing: there is no lock file to count in."""


@dataclass
class Disk:
    """What a crash leaves."""

    marks: MemoryGuardFile = field(default_factory=MemoryGuardFile)
    messages: dict[tuple[int, int, int], bytes] = field(default_factory=dict)
    """By round, kind and sender, in the order they were stored."""
    reports: dict[ReportReference, tuple[ReportHeader, AgreedState]] = field(default_factory=dict)
    certificates: dict[int, Certificate] = field(default_factory=dict)

    def last_certified(self) -> tuple[Certificate, AgreedState] | None:
        """Return the highest certificate whose report is here."""
        for number in sorted(self.certificates, reverse=True):
            kept = self.reports.get(reference_of(self.certificates[number]))
            if kept is not None:
                return self.certificates[number], kept[1]
        return None

    def restore_database(self) -> None:
        """Put back an empty database; the guard lies elsewhere and stays."""
        self.messages, self.reports, self.certificates = {}, {}, {}
