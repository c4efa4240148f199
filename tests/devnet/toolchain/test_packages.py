"""Fetching: verified before it is opened, whole or absent in the cache, fetched once."""

import base64
import hashlib
import io
import os
import stat
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devnet.errors import DevnetError
from devnet.toolchain import packages
from devnet.toolchain.packages import Package, appears_whole, fetch, find_anvil, pinned_packages, unpack


def tarball(**files: bytes) -> bytes:
    """A package tarball; keys are paths with `__` for `/`."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def package_of(content: bytes, **changes: object) -> Package:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    row: dict[str, Any] = {
        "key": "thing",
        "package": "@x/thing",
        "version": "1.0.0",
        "integrity": integrity,
        "unpacked_limit": 1000,
    }
    return Package(**{**row, **changes})


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of one tarball: `npm pack` copies `tarball` and notes the call in `calls`."""
    folder = tmp_path / "registry"
    folder.mkdir()
    program = folder / "npm"
    program.write_text(f'#!/bin/sh\necho "$2" >> {folder}/calls\nsleep 0.05\ncat {folder}/tarball > ./thing.tgz\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def files_in(cache: Path) -> list[str]:
    return sorted(p.relative_to(cache).as_posix() for p in (cache / "packages").rglob("*") if p.is_file())


def quiet(_: str) -> None:
    """Report nothing."""


def test_a_fetched_package_is_unpacked_and_reported(npm: Path, tmp_path: Path) -> None:
    content = tarball(package__abi=b"[]")
    (npm / "tarball").write_bytes(content)
    lines: list[str] = []

    folder = fetch(package_of(content), cache=tmp_path / "cache", progress=lines.append)

    assert (folder / "abi").read_bytes() == b"[]"
    assert lines == ["fetching @x/thing@1.0.0"]
    assert len(files_in(tmp_path / "cache")) == 1


def test_a_package_with_another_integrity_is_refused_and_leaves_nothing(npm: Path, tmp_path: Path) -> None:
    wanted = package_of(tarball(package__abi=b"[]"))
    (npm / "tarball").write_bytes(tarball(package__abi=b"[1]"))

    with pytest.raises(DevnetError, match="integrity mismatch"):
        fetch(wanted, cache=tmp_path / "cache", progress=quiet)

    assert files_in(tmp_path / "cache") == []


def test_a_download_cut_short_leaves_nothing_and_the_next_one_succeeds(npm: Path, tmp_path: Path) -> None:
    content = tarball(package__abi=b"[]")
    (npm / "tarball").write_bytes(content[: len(content) // 2])
    with pytest.raises(DevnetError, match="integrity mismatch"):
        fetch(package_of(content), cache=tmp_path / "cache", progress=quiet)
    assert files_in(tmp_path / "cache") == []

    (npm / "tarball").write_bytes(content)

    assert (fetch(package_of(content), cache=tmp_path / "cache", progress=quiet) / "abi").exists()


def test_a_failing_npm_is_reported_with_what_it_said(npm: Path, tmp_path: Path) -> None:
    (npm / "npm").write_text("#!/bin/sh\necho 'network is unreachable' >&2\nexit 1\n")

    with pytest.raises(DevnetError, match=r"npm pack @x/thing@1\.0\.0 failed: network is unreachable"):
        fetch(package_of(b""), cache=tmp_path / "cache", progress=quiet)


def test_missing_npm_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DevnetError, match=r"install Node\.js 20"):
        fetch(package_of(b""), cache=tmp_path / "cache", progress=quiet)


def test_a_package_in_the_cache_needs_no_npm(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tarball(package__abi=b"[]")
    (npm / "tarball").write_bytes(content)
    first = fetch(package_of(content), cache=tmp_path / "cache", progress=quiet)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert fetch(package_of(content), cache=tmp_path / "cache", progress=quiet) == first


def test_workers_that_start_together_fetch_once(npm: Path, tmp_path: Path) -> None:
    content = tarball(package__abi=b"[]")
    (npm / "tarball").write_bytes(content)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch, package_of(content), cache=tmp_path / "cache", progress=quiet) for _ in range(4)]
        folders = {job.result() for job in jobs}

    assert len(folders) == 1
    assert len((npm / "calls").read_text().splitlines()) == 1


def test_what_a_killed_process_left_behind_is_swept_away(tmp_path: Path) -> None:
    left_behind = tmp_path / "packages" / ".partial-thing"
    left_behind.mkdir(parents=True)
    (left_behind / "half").write_text("half a file")

    with appears_whole(tmp_path / "packages" / "thing") as scratch:
        (scratch / "whole").write_text("whole")

    assert files_in(tmp_path) == ["packages/thing/whole"]


def test_a_block_that_fails_makes_nothing_appear(tmp_path: Path) -> None:
    def write_half() -> None:
        with appears_whole(tmp_path / "packages" / "thing") as scratch:
            (scratch / "half").write_text("half a file")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()

    assert files_in(tmp_path) == []


def test_a_path_outside_the_target_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tgz"
    archive.write_bytes(tarball(**{"..__..__evil": b"x"}))

    with pytest.raises(DevnetError, match="cannot unpack"):
        unpack(archive, package_of(b""), tmp_path / "target" / "deep")

    assert not (tmp_path / "evil").exists()


def test_links_are_not_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "link.tgz"
    with tarfile.open(archive, "w:gz") as content:
        member = tarfile.TarInfo("package/passwd")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        content.addfile(member)

    unpack(archive, package_of(b""), tmp_path / "target")

    assert not (tmp_path / "target" / "package" / "passwd").is_symlink()


def test_programs_stay_executable_and_nothing_else_becomes_so(tmp_path: Path) -> None:
    archive = tmp_path / "modes.tgz"
    with tarfile.open(archive, "w:gz") as content:
        for name, mode in (("program", 0o6777), ("text", 0o666)):
            member = tarfile.TarInfo(f"package/bin/{name}")
            member.mode = mode
            content.addfile(member)

    unpack(archive, package_of(b""), tmp_path / "target")

    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "target" / "package" / "bin").iterdir()}
    assert modes == {"program": 0o755, "text": 0o644}


def test_a_failing_npm_is_quoted_with_what_to_do(npm: Path, tmp_path: Path) -> None:
    (npm / "npm").write_text("#!/bin/sh\necho 'npm error code ECONNREFUSED' >&2\nexit 1\n")

    with pytest.raises(
        DevnetError, match=r"(?s)npm pack @x/thing@1\.0\.0 failed: npm error code ECONNREFUSED.*registry"
    ):
        fetch(package_of(b""), cache=tmp_path / "cache", progress=quiet)


def test_a_package_larger_than_its_limit_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "large.tgz"
    archive.write_bytes(tarball(package__a=bytes(600), package__b=bytes(600)))

    with pytest.raises(DevnetError, match="more than 1000 bytes"):
        unpack(archive, package_of(b""), tmp_path / "target")


def test_only_what_is_kept_is_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "some.tgz"
    archive.write_bytes(tarball(package__keep__a=b"1", package__drop__b=b"2"))

    unpack(archive, package_of(b"", keep=("package/keep/",)), tmp_path / "target")

    assert [p.name for p in (tmp_path / "target").rglob("*") if p.is_file()] == ["a"]


def test_a_platform_without_a_pinned_anvil_uses_only_the_same_version_from_the_path(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "anvil_package_key", lambda: "anvil-plan9-mips")
    monkeypatch.setenv("PATH", f"{npm}{os.pathsep}/bin{os.pathsep}/usr/bin")
    with pytest.raises(DevnetError, match="install Foundry 1"):
        find_anvil(cache=tmp_path, progress=quiet)

    program = npm / "anvil"
    program.write_text("#!/bin/sh\necho 'anvil Version: 0.2.0'\n")
    program.chmod(0o755)
    with pytest.raises(DevnetError, match=r"is not version .*0\.2\.0"):
        find_anvil(cache=tmp_path, progress=quiet)

    program.write_text(f"#!/bin/sh\necho 'anvil Version: {pinned_packages()['anvil-linux-amd64'].version}'\n")
    assert find_anvil(cache=tmp_path, progress=quiet) == program


def test_every_pin_is_a_whole_sha512_of_an_exact_version() -> None:
    for package in pinned_packages().values():
        algorithm, _, digest = package.integrity.partition("-")
        assert algorithm == "sha512"
        assert len(base64.b64decode(digest, validate=True)) == 64
        assert all(part.isdigit() for part in package.version.split("."))


def test_an_installed_copy_keeps_its_cache_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))

    assert packages.default_cache() == tmp_path / "caches" / "plimsoll"
