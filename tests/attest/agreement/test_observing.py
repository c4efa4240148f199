"""An honest operator's observation is one that others find valid, whatever its sources say."""

from hypothesis import given
from hypothesis import strategies as st

from attest.agreement.observing import block_numbers_to_name, word_observation
from attest.agreement.proposals import MAX_VALUE, check_observation
from attest.agreement.rules import AgreementRules
from attest.formats.parameters import AgreementParameters, ChainParameters
from attest.wire.message_format import encode_body
from attest.wire.messages import GENESIS_REFERENCE, Observation
from riskschema.market import FactorQuote
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Wad
from tests.attest.agreement.round_kit import CHAIN, GENESIS, INTERVAL, block, rules

RULES = rules(4)


def word(
    quotes: list[FactorQuote],
    *,
    recent: dict[str, Wad] | None = None,
    heads: list[BlockReference] | None = None,
    requests: tuple[Address, ...] = (),
    used: AgreementRules = RULES,
) -> tuple[Observation, tuple[str, ...]]:
    return word_observation(
        used,
        clock_ms=1_000 * (GENESIS + INTERVAL),
        heads=heads or [],
        quotes=quotes,
        recent=recent or {},
        highest_certified=GENESIS_REFERENCE,
        requests=requests,
    )


def quote(price: int, confidence: int = 10, factor: str = "ETH") -> FactorQuote:
    return FactorQuote(factor=factor, price=Wad(price), confidence=Wad(confidence))


def named(head: int, stride: int, confirmations: int = 0) -> tuple[int, ...]:
    return block_numbers_to_name(head, ChainParameters(chain_id=CHAIN, pin_stride=stride, confirmations=confirmations))


def test_the_last_eight_multiples_of_the_stride_are_named() -> None:
    assert named(103, 1) == tuple(range(96, 104))
    assert named(103, 10) == (30, 40, 50, 60, 70, 80, 90, 100)
    assert named(5, 2) == (0, 2, 4)
    assert named(0, 8) == (0,)


def test_no_block_is_named_before_it_has_its_confirmations() -> None:
    assert named(103, 1, confirmations=3) == tuple(range(93, 101))
    assert named(103, 10, confirmations=4) == (20, 30, 40, 50, 60, 70, 80, 90)
    assert named(2, 1, confirmations=3) == ()


def test_only_factors_that_are_agreed_on_are_voted_on() -> None:
    listed = rules(4, AgreementParameters(factors=("BTC", "ETH")))
    seen, _ = word([quote(3_000), quote(2, factor="INVENTED")], used=listed)
    assert [vote.factor for vote in seen.votes] == ["ETH"]


def test_a_quiet_quote_is_passed_on_as_it_is() -> None:
    seen, jumped = word([quote(3_000, 7)], recent={"ETH": Wad(2_990)})
    assert (seen.votes[0].value, seen.votes[0].confidence, jumped) == (3_000, 7, ())


def test_a_jump_is_voted_with_a_confidence_as_wide_as_the_move() -> None:
    seen, jumped = word([quote(2_000, 7)], recent={"ETH": Wad(2_500)})
    assert (seen.votes[0].value, seen.votes[0].confidence, jumped) == (2_000, 500, ("ETH",))


def test_a_crash_to_a_fraction_is_still_voted_within_the_bound() -> None:
    seen, jumped = word([quote(100, 7)], recent={"ETH": Wad(3_000)})
    assert (seen.votes[0].value, seen.votes[0].confidence, jumped) == (100, 50, ("ETH",))


def test_a_source_that_is_sure_of_itself_gets_the_smallest_confidence() -> None:
    assert word([quote(3_000, 0)])[0].votes[0].confidence == 1


def test_quotes_outside_the_formats_are_left_out() -> None:
    assert word([quote(MAX_VALUE + 1), quote(1, factor="DUST")])[0].votes == ()


def test_requests_are_cut_to_the_committees_cap() -> None:
    requests = tuple(Address(f"0x{number:040x}") for number in (5, 4, 3, 2, 2))
    assert word([], requests=requests)[0].requests == tuple(Address(f"0x{number:040x}") for number in (2, 3, 4))


@given(
    quotes=st.lists(
        st.builds(
            quote, st.integers(1, 10**38), st.integers(0, 10**38), st.sampled_from(["BTC", "ETH", "SOL", "a/b", "é"])
        ),
        max_size=5,
        unique_by=lambda each: each.factor,
    ),
    recent=st.dictionaries(st.sampled_from(["BTC", "ETH", "SOL"]), st.integers(1, 10**38).map(Wad)),
    heads=st.lists(st.integers(0, 7), unique=True),
)
def test_whatever_the_sources_say_the_observation_is_valid(
    quotes: list[FactorQuote], recent: dict[str, Wad], heads: list[int]
) -> None:
    seen, _ = word(quotes, recent=recent, heads=[block(number, timestamp=1) for number in heads])
    check_observation(RULES, seen, 1)
    encode_body(seen)
