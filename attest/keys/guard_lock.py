"""The lock file beside a guard: held by the one process that may sign, and a second record of how much was signed.

It holds the number of changes of the guard's marks as a line of decimal digits. Its change time, which no copying tool
sets, tells a lock file that was put back from one that only this program wrote.
"""

import errno
import fcntl
import os
from pathlib import Path

from attest.keys.secret_files import check_private
from riskschema.errors import FatalError, PlimsollError, TransientError

_DIGITS = 20
_MOST = 2**63 - 1
"""That the guard's own number can be; nobody lives to count so far."""
_MAY_PASS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


class GuardLock:
    """An open lock file, held until it is closed."""

    def __init__(self, guard: Path) -> None:
        """Open and hold the lock file of a guard; a missing one is made, with mode 0600.

        Raises:
            FatalError: (``guard_locked``) another process holds it; (``guard_unwritable``) it cannot be written;
                (``key_unreadable``) its directory is open to others.
            TransientError: (``guard_unwritable``) the disk is full or failing.
        """
        self.path = guard.with_name(guard.name + ".lock")
        try:
            guard.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_private(guard.parent)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if not isinstance(error, BlockingIOError):
                raise unwritable(self.path, error) from error
            raise FatalError(
                f"{guard} is held by another process that signs with this key; stop it first", code="guard_locked"
            ) from error

    @property
    def changed_at(self) -> int:
        """The change time of the file, in nanoseconds."""
        return os.fstat(self._descriptor).st_ctime_ns

    def count(self) -> int | None:
        """Return the number that was written last; None where the file is new, damaged or of an older format."""
        try:
            written = os.pread(self._descriptor, _DIGITS + 2, 0)
        except OSError as error:
            raise unwritable(self.path, error) from error
        complete = len(written) == _DIGITS + 1 and written.endswith(b"\n") and written[:_DIGITS].isdigit()
        return int(written) if complete and int(written) <= _MOST else None

    def write(self, count: int) -> int:
        """Write the number; return the time of the change in nanoseconds. On disk when this returns.

        Raises:
            FatalError: it cannot be written.
            TransientError: the disk is full or failing.
        """
        try:
            os.pwrite(self._descriptor, b"%0*d\n" % (_DIGITS, count), 0)
            os.ftruncate(self._descriptor, _DIGITS + 1)
            os.fsync(self._descriptor)
        except OSError as error:
            raise unwritable(self.path, error) from error
        return self.changed_at

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._descriptor)


def unwritable(path: Path, error: OSError) -> PlimsollError:
    """Return the error about a file without which nothing may be signed: full disks may pass, the rest may not."""
    reason = f"{path} cannot be written: {error.strerror}; nothing is signed without it"
    if error.errno in _MAY_PASS:
        return TransientError(f"{reason}: make room on the disk", code="guard_unwritable")
    return FatalError(f"{reason}: check the owner, the mode and how the disk is mounted", code="guard_unwritable")
