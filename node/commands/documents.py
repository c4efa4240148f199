"""Files that a command is given: read whole and bounded, or from standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from node.settings import read_text
from riskschema.codec import MAX_DOCUMENT_BYTES
from riskschema.errors import InvalidData

STANDARD_INPUT = Path("-")


def read_document(path: Path, *, what: str) -> bytes:
    """Return the bytes of a document; ``-`` reads standard input.

    Raises:
        InvalidData: naming `what` and the path, if it cannot be read, is empty, or is larger than 64 MiB.
    """
    content = _standard_input(what) if path == STANDARD_INPUT else _file(path, what)
    if not content.strip():
        raise InvalidData(f"{what} {name_of(path)}: is empty", code="invalid_document")
    return content


def name_of(path: Path) -> str:
    """Return what messages call a document."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def require_directory_of(path: Path, *, what: str) -> None:
    """Refuse early what could not be written after the work.

    Raises:
        InvalidData: naming `what`, if the directory of `path` is missing or `path` is a directory itself.
    """
    if not path.parent.is_dir():
        raise InvalidData(f"{what} {path}: there is no directory {path.parent}", code="file_unreadable")
    if path.is_dir():
        raise InvalidData(f"{what} {path}: is a directory", code="file_unreadable")


def _file(path: Path, what: str) -> bytes:
    return read_text(path, what=what, limit=MAX_DOCUMENT_BYTES).encode()


def _standard_input(what: str) -> bytes:
    content = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise InvalidData(f"{what} -: larger than {MAX_DOCUMENT_BYTES} bytes", code="document_too_large")
    return content
