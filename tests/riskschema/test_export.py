"""The published JSON Schemas are current, valid, and describe what is written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from riskschema.codec import encode_json
from riskschema.export import PUBLISHED, main, schema_documents, write_schemas

COMMITTED = Path(__file__).parents[2] / "docs" / "schema"

KINDS = pytest.mark.parametrize(("name", "kind"), PUBLISHED.items(), ids=PUBLISHED)


@pytest.fixture(scope="module")
def validators() -> dict[str, Draft202012Validator]:
    return {name: Draft202012Validator(json.loads((COMMITTED / f"{name}.json").read_text())) for name in PUBLISHED}


def test_the_committed_schemas_are_current():
    committed = {path.name: path.read_text(encoding="utf-8") for path in COMMITTED.glob("*.json")}
    assert committed == schema_documents(), "run: python -m riskschema.export docs/schema"


@KINDS
def test_a_schema_is_valid_json_schema_2020_12(name, kind, validators):
    schema = validators[name].schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == kind.__name__
    Draft202012Validator.check_schema(schema)


@KINDS
@settings(max_examples=40)
@given(data=st.data())
def test_whatever_is_written_follows_the_schema(name, kind, validators, values_of, data):
    document = json.loads(encode_json(data.draw(values_of(kind))))
    validators[name].validate(document)


@KINDS
@settings(max_examples=10)
@given(data=st.data())
def test_an_unknown_field_or_a_missing_one_does_not_follow_the_schema(name, kind, validators, values_of, data):
    document = json.loads(encode_json(data.draw(values_of(kind))))
    assert not validators[name].is_valid(document | {"colour": "red"})
    first = next(iter(document))
    assert not validators[name].is_valid({key: value for key, value in document.items() if key != first})


def test_the_command_writes_all_schemas_and_names_them(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "riskschema.export", str(tmp_path / "schema")],
        capture_output=True,
        text=True,
        check=True,
        cwd=COMMITTED.parents[1],
    )
    assert {Path(line).name for line in result.stdout.splitlines()} == set(schema_documents())
    assert {path.name: path.read_text() for path in (tmp_path / "schema").iterdir()} == schema_documents()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"]])
def test_anything_but_one_directory_gets_the_usage(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage:")


def test_writing_twice_changes_nothing(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    first = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert write_schemas(tmp_path) == tuple(tmp_path / name for name in schema_documents())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert capsys.readouterr().out.count(".json") == len(first)
