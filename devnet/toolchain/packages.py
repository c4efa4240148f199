"""Fetch the pinned npm packages into the cache, verified before anything of them is opened.

npm is only the transport (`npm pack`), so the user's own registry, proxy and credentials apply. The
tarball's sha512 is compared with `packages.toml` before unpacking; an unpacked package appears in
the cache by one rename, so a fetch that was interrupted leaves nothing that looks finished.
"""

import base64
import fcntl
import hashlib
import hmac
import os
import platform
import shutil
import stat
import subprocess
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from devnet.errors import DevnetError

Progress = Callable[[str], None]

NPM_TIMEOUT_SECONDS = 300
NPM_MANNERS = ("--loglevel=error", "--no-progress", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")
"""npm says why it failed, and does not wait a minute before it does."""
NPM_ADVICE = "Check the network, and the registry and proxy of `npm config list`, then run the same command again."
TARBALL_LIMIT_BYTES = 64_000_000
PROJECT_ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One row of `packages.toml`.

    Attributes:
        key: Name of the row and of the folder in the cache.
        package: npm name.
        version: Exact version.
        integrity: `sha512-` and the base64 digest of the tarball.
        unpacked_limit: Most bytes the tarball may unpack to.
        keep: Path prefixes to unpack; empty for everything.
    """

    key: str
    package: str
    version: str
    integrity: str
    unpacked_limit: int
    keep: tuple[str, ...] = ()

    @property
    def spec(self) -> str:
        """Return the `name@version` that npm understands."""
        return f"{self.package}@{self.version}"

    @property
    def folder(self) -> str:
        """Return the folder name in the cache, unique for name, version and content."""
        digest = hashlib.sha256(self.integrity.encode() + "\n".join(self.keep).encode())
        return f"{self.key}-{self.version}-{digest.hexdigest()[:8]}"


@cache
def pinned_packages() -> dict[str, Package]:
    """Return every pinned package by its key."""
    with (Path(__file__).parent / "packages.toml").open("rb") as stream:
        rows = tomllib.load(stream)
    return {key: Package(key=key, **{**row, "keep": tuple(row.get("keep", ()))}) for key, row in rows.items()}


def default_cache() -> Path:
    """Return the cache folder: `.cache/` of a source checkout, else the user's cache folder."""
    if (PROJECT_ROOT / "pyproject.toml").is_file():
        return PROJECT_ROOT / ".cache"
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "plimsoll"


def anvil_package_key() -> str:
    """Return the key of the anvil package for this machine, pinned or not."""
    machine = platform.machine().lower()
    return f"anvil-{platform.system().lower()}-{ARCHITECTURES.get(machine, machine)}"


def verify_integrity(tarball: Path, package: Package) -> None:
    """Compare a tarball with its pinned sha512.

    Raises:
        DevnetError: The content is not the pinned one.
    """
    size = tarball.stat().st_size
    if size > TARBALL_LIMIT_BYTES:
        raise DevnetError(f"{package.spec}: tarball has {size} bytes, too large to be the package")
    with tarball.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha512").digest()
    found = "sha512-" + base64.b64encode(digest).decode()
    if not hmac.compare_digest(found, package.integrity):
        raise DevnetError(
            f"{package.spec}: integrity mismatch, refused. Pinned {package.integrity}, "
            f"received {found}. Check the registry npm is configured for."
        )


def unpack(tarball: Path, package: Package, target: Path) -> None:
    """Unpack a verified tarball, bounded in size, with links and odd paths refused.

    Raises:
        DevnetError: The archive is damaged, unsafe, or larger than the package's limit.
    """
    total = 0
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                if not member.isfile() or not _kept(member.name, package.keep):
                    continue
                total += member.size
                if total > package.unpacked_limit:
                    raise DevnetError(f"{package.spec}: unpacks to more than {package.unpacked_limit} bytes")
                _extract(archive, member, target)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DevnetError(f"{package.spec}: cannot unpack the tarball: {error}") from error


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    # By hand: `extract(filter=...)` is missing from Python 3.11.0 to 3.11.3. Links never come here.
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise tarfile.ExtractError(f"{member.name!r} lies outside the package")
    content = archive.extractfile(member)
    if content is None:
        raise tarfile.ExtractError(f"{member.name!r} has no content")
    path = target.joinpath(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("wb") as stream:
        shutil.copyfileobj(content, stream)
    path.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)


def fetch_package(key: str, *, cache: Path, progress: Progress) -> Path:
    """Return the folder of an unpacked package of `packages.toml` (see `fetch`)."""
    return fetch(pinned_packages()[key], cache=cache, progress=progress)


def fetch(package: Package, *, cache: Path, progress: Progress) -> Path:
    """Return the folder of an unpacked package, fetching it first when the cache lacks it.

    Args:
        package: What is wanted, with its integrity.
        cache: Cache folder; made when missing.
        progress: Called with one line per step that takes time.

    Raises:
        DevnetError: npm is missing or failed, or the package is not the pinned one.
    """
    target = cache / "packages" / package.folder
    if not target.is_dir():
        with cache_lock(cache, f"package-{package.key}"):
            if not target.is_dir():
                progress(f"fetching {package.spec}")
                _download(package, target)
    return target / "package"


def find_anvil(*, cache: Path, progress: Progress) -> Path:
    """Return the anvil binary: the pinned package, or on other platforms one from the PATH.

    Raises:
        DevnetError: Neither exists; the message says what to install.
    """
    key = anvil_package_key()
    if key in pinned_packages():
        return fetch_package(key, cache=cache, progress=progress) / "bin" / "anvil"
    wanted = pinned_packages()["anvil-linux-amd64"].version
    found = shutil.which("anvil")
    if found is None:
        raise DevnetError(
            f"no pinned anvil package for {key.removeprefix('anvil-')} and no `anvil` on the PATH; "
            f"install Foundry {wanted}"
        )
    version = _run([found, "--version"], what="anvil --version")
    if wanted not in version:
        raise DevnetError(f"{found} is not version {wanted}: {version.splitlines()[0]}")
    return Path(found)


@contextmanager
def cache_lock(cache: Path, name: str) -> Iterator[None]:
    """Hold an exclusive lock of the cache across processes, released even if this one dies."""
    folder = cache / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def appears_whole(target: Path) -> Iterator[Path]:
    """Yield a folder that becomes `target` by one rename if the block succeeds.

    To be used under the target's `cache_lock`: what a killed process left behind is swept away.
    """
    scratch = target.with_name(f".partial-{target.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(package: Package, target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise DevnetError("npm is not on the PATH; install Node.js 20 or newer with npm")
    command = [npm, "pack", package.spec, "--ignore-scripts", "--pack-destination", ".", *NPM_MANNERS]
    with appears_whole(target) as scratch:
        _run(command, what=f"npm pack {package.spec}", folder=scratch, advice=NPM_ADVICE)
        tarballs = list(scratch.glob("*.tgz"))
        if len(tarballs) != 1:
            raise DevnetError(f"npm pack {package.spec} wrote {len(tarballs)} tarballs, expected 1")
        verify_integrity(tarballs[0], package)
        unpack(tarballs[0], package, scratch)
        tarballs[0].unlink()


def _run(command: list[str], *, what: str, folder: Path | None = None, advice: str = "") -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DevnetError(f"{what} failed: {error}. {advice}".rstrip()) from error
    if done.returncode != 0:
        said = "; ".join(done.stderr.strip().splitlines()[:4])[:600] or f"exit status {done.returncode}"
        raise DevnetError(f"{what} failed: {said}. {advice}".rstrip())
    return done.stdout


def _kept(name: str, prefixes: tuple[str, ...]) -> bool:
    return not prefixes or name.startswith(prefixes)
