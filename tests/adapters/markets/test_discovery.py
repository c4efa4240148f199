"""Market sources are found by their files; each keeps the interface and has tests of its own."""

from __future__ import annotations

from importlib import import_module

import pytest

from adapters.markets import load_source, source_names
from riskschema.errors import InvalidData
from tests.adapters.markets.source_contract import MarketSourceContract


def test_every_source_keeps_the_interface() -> None:
    assert source_names()
    for name, module in zip(source_names(), map(load_source, source_names()), strict=True):
        assert name == module.SOURCE
        assert callable(module.source)
        assert module.Settings.__struct_config__.frozen
        assert module.Settings.__struct_config__.forbid_unknown_fields


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidData, match="known: chainlink"):
        load_source("../chainlink")


@pytest.mark.parametrize("name", source_names())
def test_every_source_is_tested_for_the_contract_of_all(name: str) -> None:
    tests = import_module(f"tests.adapters.markets.test_{name}")
    found = [each for each in vars(tests).values() if isinstance(each, type) and issubclass(each, MarketSourceContract)]
    assert any(each is not MarketSourceContract for each in found)
