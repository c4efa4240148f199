"""Files that hold secrets: created whole, readable by their owner alone, refused when others could read them."""

import os
import secrets
import stat
from pathlib import Path

from riskschema.errors import FatalError

MAX_SECRET_BYTES = 65_536

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_secret(path: Path, data: bytes) -> None:
    """Create `path` with mode 0600, whole or not at all; an existing file is never touched.

    A missing parent directory is created with mode 0700.

    Raises:
        FatalError: the file exists, the directory is open to others, or the disk refuses.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # A hard link fails where the name exists, which a rename would silently replace.
        os.link(draft, path)
    except FileExistsError as error:
        raise key_unreadable(path, "exists already; keys are never overwritten, choose another file") from error
    except OSError as error:
        raise key_unreadable(path, f"cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def read_secret(path: Path) -> bytes:
    """Return the bytes of a secret file.

    Raises:
        FatalError: missing, no regular file, open to others, or larger than 64 KiB.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise key_unreadable(path, f"cannot be opened: {error.strerror}; check the path and the owner") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise key_unreadable(path, "is no regular file")
        _check_mode(path, status.st_mode)
        data = os.read(descriptor, MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_SECRET_BYTES:
        raise key_unreadable(path, f"is larger than {MAX_SECRET_BYTES} bytes")
    return data


def check_private(path: Path) -> None:
    """Refuse a file or directory that group or others may read, write or enter.

    Raises:
        FatalError: naming the mode and the command that mends it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise key_unreadable(path, f"cannot be examined: {error.strerror}") from error
    _check_mode(path, mode)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def key_unreadable(path: Path, reason: str) -> FatalError:
    """Return the error about a key file: what is wrong with which file."""
    return FatalError(f"{path} {reason}", code="key_unreadable")


def _check_mode(path: Path, mode: int) -> None:
    if mode & _OTHERS:
        wanted = "700" if stat.S_ISDIR(mode) else "600"
        raise key_unreadable(
            path, f"is open to others (mode {stat.S_IMODE(mode):o}); run: chmod {wanted} {path}, then consider the key"
        )
