"""Schema values from and to rows."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from riskschema.rounds import StoredEvidence, StoredHour, StoredMessage, StoredReport, StoredTransaction


def message(row: Row[Any]) -> StoredMessage:
    """Read a row of MESSAGES."""
    return StoredMessage(round=row.round, kind=row.kind, sender=row.sender, payload=bytes(row.payload))


def report(row: Row[Any]) -> StoredReport:
    """Read a row of REPORTS."""
    return StoredReport(
        config_digest=row.config_digest,
        round=row.round,
        report_hash=row.report_hash,
        header=bytes(row.header),
        state=bytes(row.state),
        certificate=None if row.certificate is None else bytes(row.certificate),
    )


def evidence(row: Row[Any]) -> StoredEvidence:
    """Read a row of EVIDENCE."""
    return StoredEvidence(
        round=row.round, kind=row.kind, sender=row.sender, first=bytes(row.first), second=bytes(row.second)
    )


def hour(row: Row[Any]) -> StoredHour:
    """Read a row of HOURS."""
    return StoredHour(hour=row.hour, row=bytes(row.row))


def transaction(row: Row[Any]) -> StoredTransaction:
    """Read a row of TRANSACTIONS."""
    return StoredTransaction(**row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name for a row as a mapping


def report_values(value: StoredReport) -> dict[str, Any]:
    """Return the columns of a report."""
    return msgspec.structs.asdict(value)
