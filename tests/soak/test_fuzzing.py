"""Two million mutations of everything that is read from other hands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attest.test_fuzzing import FEWER, READERS, TRIES, fuzz, fuzz_keys
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7_200)]

TIMES = 22
"""As many as `./test` tries."""


@pytest.mark.parametrize("name", READERS)
def test_bytes_are_refused_or_read_as_the_one_encoding_of_their_value(name: str, scale: float, tally: Tally) -> None:
    tries = round(TIMES * FEWER.get(name, TRIES) * scale)
    taken = fuzz(name, tries, 1)
    tally.seeds = "1"
    tally.count(mutations=tries, taken=taken)


def test_key_files_that_are_damaged_stop_the_node_with_a_word(tmp_path: Path, scale: float, tally: Tally) -> None:
    private = tmp_path / "keys"
    private.mkdir(mode=0o700)
    tries = round(10_000 * scale)
    fuzz_keys(private, tries, 1)
    tally.seeds = "1"
    tally.count(files=3 * tries)
