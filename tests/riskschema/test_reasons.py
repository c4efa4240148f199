"""Every failure has a code, and every code is explained."""

import ast
from pathlib import Path

import pytest

from riskschema import errors, reasons
from riskschema.reasons import REASONS

ROOT = Path(__file__).parents[2]
PACKAGES = ("riskschema", "adapters", "aggregator", "attest", "storage", "node", "contracts", "devnet")
ERRORS = {"PlimsollError", "TransientError", "InvalidData", "ProtocolViolation", "FatalError"}


def raised_codes(source: str) -> set[str]:
    """Return the literal codes of the errors made in a module."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {
        str(keyword.value.value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ERRORS
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_code_that_a_package_raises_is_explained(package):
    unexplained = {
        f"{path.relative_to(ROOT)}: {code}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for code in raised_codes(path.read_text(encoding="utf-8")) - REASONS.keys()
    }
    assert not unexplained


def test_the_search_for_codes_finds_them():
    assert raised_codes('raise InvalidData("x", code="a")\nraise TransientError(m, code=c)') == {"a"}


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_a_reason_is_a_label_a_phrase_and_a_sentence(reason):
    assert reason.code.replace("_", "").isalnum()
    assert reason.code == reason.code.lower()
    assert len(reason.short) <= 32
    assert reason.long.endswith(".")


def test_codes_are_unique():
    assert len(reasons._ALL) == len(REASONS)


@pytest.mark.parametrize("name", sorted(ERRORS - {"PlimsollError"}))
def test_every_error_is_an_expected_failure_with_a_message_and_a_code(name):
    error = getattr(errors, name)("no answer from the endpoint", code="endpoint_unreachable")
    assert isinstance(error, errors.PlimsollError)
    assert (str(error), error.message, error.code) == (
        "no answer from the endpoint",
        "no answer from the endpoint",
        "endpoint_unreachable",
    )


def test_an_error_without_a_code_cannot_be_made():
    with pytest.raises(TypeError, match="code"):
        errors.InvalidData("no code")  # type: ignore[call-arg]  # the mistake that is tried
