"""The page on the HTTP API says what the API does."""

import re
from pathlib import Path

import pytest

from node.api import addresses, answers, application, server
from node.api.routes import ROUTES
from node.settings import Api
from riskschema.reasons import REASONS

PAGE = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text(encoding="utf-8")


def test_every_route_is_on_the_page_and_no_other():
    written = set(re.findall(r"^\| `GET ([^`]+)` \|", PAGE, re.MULTILINE))
    assert written == {operation.path for operation, _ in ROUTES}


def test_every_code_on_the_page_is_a_reason():
    rows = re.findall(r"^\| [45]\d\d \| ([^|]+) \|", PAGE, re.MULTILINE)
    codes = {code for row in rows for code in re.findall(r"`([a-z_]+)`", row)}
    assert "account_unknown" in codes
    assert codes <= REASONS.keys()


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ("request line, each header", [server.MAX_LINE, server.MAX_HEADERS]),
        ("connections", [server.MAX_CONNECTIONS]),
        ("connections of one address", [Api().connections_per_address]),
        (
            "requests of one address",
            [Api().requests_per_address, Api().requests_per_address * addresses.BURST_SECONDS, 429],
        ),
        ("requests at once", [application.MAX_CONCURRENT_REQUESTS, 503]),
        (
            "first request of a connection, idle connection, answer",
            [server.FIRST_REQUEST_SECONDS, server.IDLE_SECONDS, application.REQUEST_SECONDS],
        ),
        ("answer of which the client takes nothing", [server.STALLED_SECONDS]),
        ("answers kept encoded", [answers.MAX_ANSWERS, answers.MAX_ANSWER_BYTES / 2**20]),
    ],
)
def test_the_limits_on_the_page_are_those_of_the_server(row, wanted):
    (limit,) = re.findall(rf"^\| {re.escape(row)} \| (.+) \|$", PAGE, re.MULTILINE)
    assert [float(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", limit)] == wanted
