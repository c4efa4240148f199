"""The parameter file: whole, hashed, and strict."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from aggregator.parameters import DEFAULT_PATH, load_parameters, parse_parameters
from riskschema.errors import InvalidData


def test_the_hash_is_that_of_the_files_bytes(parameters) -> None:
    assert parameters.hash == "0x" + hashlib.sha256(DEFAULT_PATH.read_bytes()).hexdigest()
    assert parameters.model_version == 1


def test_another_file_has_another_hash(tmp_path: Path, parameters) -> None:
    other = tmp_path / "parameters.toml"
    other.write_bytes(DEFAULT_PATH.read_bytes() + b"\n")
    assert load_parameters(other).hash != parameters.hash


def test_every_number_has_its_reason_beside_it() -> None:
    for section in re.split(r"\n(?=\[)", DEFAULT_PATH.read_text()):
        assert "#" in section or section.startswith(("[probability.grades]", "[regime.thresholds]")), section


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight = 0.75", "weigth = 0.75", "weigth"),
        ("weight = 0.75", "", "weight"),
        ("weight = 0.75", "weight = 1.5", r"shortfall\.weight"),
        ("weight = 0.75", "weight = nan", r"shortfall\.weight"),
        ("model_version = 1", "model_version = 'one'", "model_version"),
        ("[horizon]", "[horizon", "line"),
        ("tail_weights = [0.24, ", "tail_weights = [", "differ in length"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_named(old: str, new: str, message: str) -> None:
    document = DEFAULT_PATH.read_text().replace(old, new, 1)
    with pytest.raises(InvalidData, match=message):
        parse_parameters(document.encode(), what="parameters.toml")


def test_a_file_without_crises_is_refused() -> None:
    document = re.sub(r"crises = \[.*?\n\]", "crises = []", DEFAULT_PATH.read_text(), flags=re.DOTALL)
    with pytest.raises(InvalidData, match="crises"):
        parse_parameters(document.encode(), what="parameters.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="nowhere"):
        load_parameters(tmp_path / "nowhere.toml")
