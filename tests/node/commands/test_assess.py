"""`plimsoll assess`: a document of a user is assessed, or refused by the name of the field, and nothing is printed."""

import json
from contextlib import suppress
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.assess import assess as assess_portfolios
from aggregator.parameters import load_parameters
from riskschema.assessment import Assessment
from riskschema.codec import MAX_DOCUMENT_BYTES, decode_json, encode_json
from riskschema.errors import InvalidData
from riskschema.instruments import protocol_of
from riskschema.market import MarketState
from riskschema.portfolio import Portfolio

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
PORTFOLIO = json.loads((EXAMPLES / "portfolio.json").read_text())
MARKET = json.loads((EXAMPLES / "market.json").read_text())
PARAMETERS = load_parameters()
HOUR = 3_600
REMOVED = object()


@pytest.fixture
def assess(plimsoll, tmp_path):
    """A function that assesses documents; each may be a tree, bytes, or a path."""

    def run(portfolio: Any = PORTFOLIO, market: Any = MARKET, *options: object, stdin: bytes = b""):
        named = []
        for name, content in (("portfolio", portfolio), ("market", market)):
            path = content
            if not isinstance(content, Path):
                path = tmp_path / f"{name}.json"
                path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
            named += [f"--{name}", path]
        return plimsoll("assess", *named, *options, stdin=stdin)

    return run


def changed(document: Any, *steps: str | int, to: Any) -> Any:
    copy = deepcopy(document)
    *way, last = steps
    node = copy
    for step in way:
        node = node[step]
    if to is REMOVED:
        del node[last]
    else:
        node[last] = to
    return copy


def candles(path: Path, price: float, hours: int = 300, *, without: range = range(0)) -> Path:
    lines = ["ts,open,high,low,close,volume_base"]
    for hour in range(hours):
        if hour not in without:
            close = price * (1 + 0.01 * ((hour * 7) % 5 - 2))
            lines.append(
                f"{1_700_000_000 - 1_700_000_000 % HOUR + hour * HOUR},{close},{close * 1.01},{close * 0.99},{close},1"
            )
    path.write_text("\n".join(lines))
    return path


def test_the_readme_shows_what_the_examples_give(assess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    readme = (EXAMPLES.parents[1] / "README.md").read_text()
    shown = readme.split("<!-- assess -->\n```\n")[1].split("\n```")[0]
    printed = assess(EXAMPLES / "portfolio.json", EXAMPLES / "market.json").output
    assert [line.rstrip() for line in printed.splitlines()][: len(shown.splitlines())] == shown.splitlines()


def test_the_example_is_assessed_and_its_json_is_an_assessment(assess):
    ended = assess(PORTFOLIO, MARKET, "--json")
    document = ended.document
    for name in ("score", "grade", "liquidation_probability", "equity", "initial_margin", "maintenance_margin"):
        assert name in document
    assert [protocol_of(silo["venue"]) for silo in document["silos"]] == [
        "aave_v3",
        "morpho_blue",
        "uniswap_v3",
        "wallet",
    ]
    assert Decimal(document["silos"][1]["health"]) == Decimal("1.032")
    assert document["flags"] == ["history_short"]
    assert decode_json(ended.output.encode(), Assessment, what="output").unread == ()


def test_the_equity_is_what_the_documents_say(assess):
    wallet = PORTFOLIO | {"silos": [PORTFOLIO["silos"][3]]}
    assert abs(Decimal(assess(wallet, MARKET, "--json").document["equity"]) - 4_500) < Decimal("0.0001")


def test_without_json_the_figures_are_a_table(assess):
    ended = assess()
    assert ended.status == 0
    assert "initial margin" in ended.output
    assert "morpho_blue" in ended.output


def test_the_same_files_give_the_same_bytes(assess):
    assert assess(PORTFOLIO, MARKET, "--json").output == assess(PORTFOLIO, MARKET, "--json").output


def test_a_document_comes_from_standard_input(assess):
    ended = assess(Path("-"), MARKET, "--json", stdin=json.dumps(PORTFOLIO).encode())
    assert ended.document["grade"] == assess(PORTFOLIO, MARKET, "--json").document["grade"]


def test_standard_input_is_one_document_only(assess):
    assert "--market -" in assess(Path("-"), Path("-")).refused()


def test_fields_with_a_sensible_default_may_be_left_out(assess):
    silo = deepcopy(PORTFOLIO["silos"][0])
    for position in silo["positions"]:
        del position["instrument"]["annual_rate"], position["instrument"]["token"]["symbol"]
    del silo["rule"]["close_factor"], silo["rule"]["terms"][0]["liquidation_bonus"]
    assert assess(PORTFOLIO | {"silos": [silo]}, MARKET, "--json").status == 0


AAVE = ("silos", 0)
TERM = (*AAVE, "rule", "terms", 0)
SUPPLIED = (*AAVE, "positions", 0)
OWED = (*AAVE, "positions", 1)
TOKEN = (*SUPPLIED, "instrument", "token")
RANGE = ("silos", 2, "positions", 0)


@pytest.mark.parametrize(
    ("steps", "value", "names"),
    [
        (("subject",), REMOVED, "`subject`"),
        (("silos",), REMOVED, "`silos`"),
        ((*AAVE, "venue"), REMOVED, "`venue`"),
        ((*AAVE, "health"), REMOVED, "`health`"),
        ((*AAVE, "rule"), REMOVED, "`rule`"),
        ((*OWED, "quantity"), REMOVED, "`quantity`"),
        ((*TOKEN, "factor"), REMOVED, "`factor`"),
        ((*AAVE, "colour"), "red", "`colour`"),
        (("subject",), "alice", "$.subject"),
        ((*AAVE, "account"), "0x12", "$.silos[0].account"),
        ((*AAVE, "chain_id"), "1", "$.silos[0].chain_id"),
        ((*AAVE, "chain_id"), 0, "$.silos[0].chain_id"),
        ((*AAVE, "chain_id"), 10, "is on another chain than chain_id 10"),
        ((*AAVE, "venue"), "aave_v3", "$.silos[0].venue"),
        ((*AAVE, "health"), "-0.1", "health must not be negative"),
        ((*AAVE, "health"), 1.66, "$.silos[0].health"),
        ((*AAVE, "health"), "NaN", "$.silos[0].health"),
        ((*AAVE, "positions"), {}, "$.silos[0].positions"),
        ((*AAVE, "positions"), [], "2 entries for 0 positions"),
        ((*AAVE, "rule", "terms"), [], "0 entries for 2 positions"),
        ((*AAVE, "rule", "kind"), "magic", "$.silos[0].rule"),
        ((*AAVE, "rule", "close_factor"), "50", "close_factor must be between 0 and 1"),
        ((*AAVE, "rule", "close_factor"), "-1", "close_factor must be between 0 and 1"),
        ((*TERM, "weight"), "83", "weight must be between 0 and 1"),
        ((*TERM, "price"), "-3000", "price must not be negative"),
        ((*TERM, "price"), float("nan"), "`$.silos[0].rule.terms[0].price` is nan"),
        ((*TERM, "liquidation_bonus"), "500", "liquidation_bonus"),
        ((*SUPPLIED, "quantity"), "-1", "quantity of a claim must not be negative"),
        ((*SUPPLIED, "quantity"), "1.5", "$.silos[0].positions[0].quantity"),
        ((*SUPPLIED, "quantity"), "1e18", "$.silos[0].positions[0].quantity"),
        ((*SUPPLIED, "quantity"), "1" + "0" * 80, "$.silos[0].positions[0].quantity"),
        ((*SUPPLIED, "quantity"), float("inf"), "`$.silos[0].positions[0].quantity` is inf"),
        ((*SUPPLIED, "quantity"), True, "$.silos[0].positions[0].quantity"),
        ((*OWED, "quantity"), "18000000000", "quantity of a debt must be negative or 0"),
        ((*OWED, "instrument", "annual_rate"), "-0.1", "annual_rate must not be negative"),
        ((*TOKEN, "decimals"), 78, "decimals"),
        ((*TOKEN, "decimals"), -1, "decimals"),
        ((*TOKEN, "decimals"), 18.5, "decimals"),
        ((*RANGE, "instrument", "tick_upper"), 194_000, "tick_lower must be below tick_upper"),
        ((*RANGE, "instrument", "tick_upper"), 10**6, "tick_upper"),
        (("silos", 1, "id"), "aave", "two have the id 'aave'"),
    ],
)
def test_a_portfolio_that_cannot_be_is_refused_by_the_field(assess, steps, value, names):
    message = assess(changed(PORTFOLIO, *steps, to=value)).refused()
    assert names in message
    assert "portfolio.json" in message


@pytest.mark.parametrize(
    ("steps", "value", "names"),
    [
        (("as_of",), REMOVED, "`as_of`"),
        (("quotes",), REMOVED, "`quotes`"),
        (("quotes", 0, "price"), REMOVED, "`price`"),
        (("quotes", 0, "price"), "-1", "price of ETH must be positive, got -1"),
        (("quotes", 0, "price"), "0", "price of ETH must be positive"),
        (("quotes", 0, "price"), "NaN", "$.quotes[0].price"),
        (("quotes", 0, "price"), float("nan"), "`$.quotes[0].price` is nan"),
        (("quotes", 0, "price"), float("-inf"), "`$.quotes[0].price` is -inf"),
        (("quotes", 0, "price"), 3000.5, "$.quotes[0].price"),
        (("quotes", 0, "confidence"), "-1", "confidence of ETH must not be negative"),
        (("quotes", 0, "annual_volatility"), "0", "annual_volatility of ETH"),
        (("quotes", 0, "annual_volatility"), "7000", "annual_volatility of ETH"),
        (("quotes", 0, "hourly_volume"), "-5", "hourly_volume of ETH"),
        (("quotes", 0, "group"), "meme", "$.quotes[0].group"),
        (("quotes", 0, "factor"), "", "$.quotes[0].factor"),
        (("quotes", 1, "factor"), "ETH", "two quotes of one factor"),
        (("history",), {}, "$.history"),
    ],
)
def test_a_market_that_cannot_be_is_refused_by_the_field(assess, steps, value, names):
    message = assess(PORTFOLIO, changed(MARKET, *steps, to=value)).refused()
    assert names in message
    assert "market.json" in message


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", "is empty"),
        (b"[]", "expected `object`"),
        (b"{", "truncated"),
        (b"\xff\xfe{}", "UTF-8"),
        (b'{"silos":' * 20_000, "portfolio.json"),
        (b"[" * 100_000, "portfolio.json"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "larger than 67108864 bytes"),
    ],
    ids=["empty", "a list", "half", "not UTF-8", "deep objects", "deep lists", "huge"],
)
def test_a_file_that_is_no_document_is_refused(assess, content, names):
    assert names.lower() in assess(content).refused().lower()


def test_a_missing_file_and_a_directory_are_refused_by_their_path(assess, tmp_path):
    assert f"{tmp_path / 'nowhere.json'}: No such file" in assess(tmp_path / "nowhere.json").refused()
    assert f"{tmp_path}: Is a directory" in assess(PORTFOLIO, tmp_path).refused()


def test_an_unpriced_position_is_left_out_and_said(assess):
    ended = assess(PORTFOLIO, changed(MARKET, "quotes", 1, to=REMOVED), "--json")
    assert "unpriced" in ended.document["flags"]
    assert any("BTC" in item["detail"] for item in ended.document["unread"])
    assert "no price" in assess(PORTFOLIO, changed(MARKET, "quotes", 1, to=REMOVED)).output


@pytest.mark.parametrize("quantity", ["1", "1" + "0" * 77])
def test_quantities_up_to_what_a_contract_holds_are_assessed(assess, quantity):
    assert assess(changed(PORTFOLIO, *SUPPLIED, "quantity", to=quantity), MARKET, "--json").status == 0


def test_a_history_replaces_the_reference_moves(assess, tmp_path):
    files = {"ETH": 3000.0, "BTC": 60000.0, "USDC": 1.0}
    options = [
        option
        for factor, price in files.items()
        for option in ("--history", f"{factor}={candles(tmp_path / f'{factor}.csv', price, 10_000)}")
    ]
    with_history = assess(PORTFOLIO, MARKET, *options, "--json").document
    assert "history_short" not in with_history["flags"]
    assert with_history["initial_margin"] != assess(PORTFOLIO, MARKET, "--json").document["initial_margin"]


def test_a_history_with_missing_hours_is_flagged(assess, tmp_path):
    path = candles(tmp_path / "eth.csv", 3000.0, without=range(50, 60))
    assert "history_filled" in assess(PORTFOLIO, MARKET, "--history", f"ETH={path}", "--json").document["flags"]


@pytest.mark.parametrize(
    ("option", "names"),
    [("eth.csv", "give FACTOR=FILE"), ("=eth.csv", "give FACTOR=FILE"), ("ETH=", "give FACTOR=FILE")],
)
def test_a_history_without_factor_or_file_is_refused(assess, option, names):
    assert names in assess(PORTFOLIO, MARKET, "--history", option).refused()


def test_a_history_file_given_twice_is_refused(assess, tmp_path):
    path = candles(tmp_path / "eth.csv", 3000.0)
    message = assess(PORTFOLIO, MARKET, "--history", f"ETH={path}", "--history", f"BTC={path}").refused()
    assert "given twice" in message


def test_a_history_file_that_cannot_be_read_is_named(assess, tmp_path):
    assert "nowhere.csv" in assess(PORTFOLIO, MARKET, "--history", f"ETH={tmp_path / 'nowhere.csv'}").refused()
    (tmp_path / "bad.csv").write_text("ts,open,high,low,close,volume_base\n3600,1,1,1,-1,1\n")
    assert "column close" in assess(PORTFOLIO, MARKET, "--history", f"ETH={tmp_path / 'bad.csv'}").refused()


def test_a_parameter_file_that_cannot_be_read_is_named(assess, tmp_path):
    assert "nowhere.toml" in assess(PORTFOLIO, MARKET, "--parameters", tmp_path / "nowhere.toml").refused()


ODD: list[Any] = [
    *("0", "-1", "0.5", "1e5", "", "NaN", "Infinity", "1" + "0" * 40, "1" + "0" * 76, "-1" + "0" * 76, "USD", "ETH"),
    *(None, True, 0, -1, 2**53, 10**30, 1.5, [], {}, "x" * 200, "0.000000000000000001", "0x" + "00" * 20),
]


def places(tree: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value of a document."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in children for place in ((*way, key), *places(value, (*way, key)))]


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_is_odd_in_the_documents_is_assessed_or_refused_and_never_a_traceback(data: st.DataObject) -> None:
    documents = {"portfolio": PORTFOLIO, "market": MARKET}
    name = data.draw(st.sampled_from(sorted(documents)))
    for _ in range(data.draw(st.integers(1, 3))):
        known = places(documents[name])
        if known:
            to = data.draw(st.sampled_from([*ODD, REMOVED]))
            documents[name] = changed(documents[name], *data.draw(st.sampled_from(known)), to=to)
    with suppress(InvalidData):
        portfolio = decode_json(json.dumps(documents["portfolio"]).encode(), Portfolio, what="portfolio")
        market = decode_json(json.dumps(documents["market"]).encode(), MarketState, what="market")
        (assessment,) = assess_portfolios((portfolio,), market, PARAMETERS).assessments
        assert decode_json(encode_json(assessment), Assessment, what="assessment") == assessment
