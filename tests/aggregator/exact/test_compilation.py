"""The kernel cache: found where it can be written, and named by the sources."""

from __future__ import annotations

from pathlib import Path

from numba import config

from aggregator.exact.compilation import PACKAGE, cache_directory, source_digest


def test_a_change_of_any_kernel_source_names_another_cache(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "first.py").write_text("from x import compiled\n")
    (tmp_path / "second.py").write_text("nothing here\n")
    before = source_digest(tmp_path)
    (tmp_path / "second.py").write_text("still nothing\n")
    assert source_digest(tmp_path) == before
    (tmp_path / "room" / "first.py").write_text("from x import compiled  # changed\n")
    assert source_digest(tmp_path) != before


def test_sources_in_the_packages_folders_count(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "kernel.py").write_text("from x import compiled\n")
    before = source_digest(tmp_path)
    (tmp_path / "room" / "kernel.py").write_text("from x import compiled  # changed\n")
    assert source_digest(tmp_path) != before
    assert source_digest(PACKAGE) != source_digest(tmp_path / "nowhere")


def test_kernels_in_folders_below_count_too(tmp_path: Path) -> None:
    below = tmp_path / "room" / "kernel.py"
    below.parent.mkdir()
    below.write_text("from x import compiled\n")
    before = source_digest(tmp_path)
    below.write_text("from x import compiled  # changed\n")
    assert source_digest(tmp_path) != before
    assert source_digest(PACKAGE) != source_digest(tmp_path / "empty"), "no kernel of the aggregator is looked at"


def test_the_first_directory_that_can_be_written_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    found = cache_directory([file / "below", tmp_path / "cache"], "abc")
    assert found == tmp_path / "cache" / "plimsoll-kernels-abc"
    assert found.is_dir()


def test_without_a_writable_directory_there_is_no_cache(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert cache_directory([file], "abc") is None


def test_the_process_uses_the_cache_of_its_own_sources() -> None:
    used = vars(config)["CACHE_DIR"]  # numba makes it at run time
    assert used.endswith(f"plimsoll-kernels-{source_digest(PACKAGE)}")
