"""Print one hash over arrays, positions and assessments of a fixed set of accounts under the markets in given files.

Run by `test_exactness`. The markets are not made here: a simulated history has bits that depend on the CPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from aggregator.assess import assess
from aggregator.parameters import load_parameters
from aggregator.valuation.arrays import arrays_digest_chunks
from riskschema.codec import decode_json, encode_json
from riskschema.instruments import Instrument, Option, UniswapV2Share, UniswapV3Liquidity
from riskschema.market import MarketState
from riskschema.portfolio import Position
from riskschema.units import Amount


def laboratory():
    """Load the fixtures' builders without pytest's import machinery."""
    spec = importlib.util.spec_from_file_location("lab", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lab"] = module
    spec.loader.exec_module(module)
    return module.Lab()


def main(markets: Sequence[Path]) -> None:
    lab = laboratory()
    pair = {"chain_id": 1, "token0": lab.token("ETH"), "token1": lab.token("USDC")}
    exotic: list[Instrument] = [
        UniswapV3Liquidity(pool=lab.address(50), tick_lower=-202_000, tick_upper=-199_000, **pair),
        UniswapV2Share(pool=lab.address(51), liquidity_per_share=lab.wad("1.7"), **pair),
        Option(
            venue="o:1:main",
            market="m",
            underlying="ETH",
            quote="USD",
            right="call",
            strike=lab.wad(2222),
            expiry=1_700_000_000 + 86_400 * 9,
        ),
    ]
    extra = [Position(instrument=item, quantity=Amount(10**15)) for item in exotic]
    portfolios = [
        lab.portfolio(
            lab.lending({"ETH": 10, "BTC": 0.1, "USDC": -1000 * n}, rate=0.037),
            lab.lending({"LINK": 900, "DAI": -500 * n}, protocol="morpho_blue"),
            lab.wallet({"CRV": n}, extra=extra),
            number=n,
        )
        for n in range(1, 15)
    ]
    digest = hashlib.sha256()
    for path in markets:
        market = decode_json(path.read_bytes(), MarketState, what=str(path))
        batch = assess(portfolios, market, load_parameters())
        for chunk in (
            *arrays_digest_chunks(batch.arrays),
            encode_json(batch.positions),
            encode_json(batch.assessments),
        ):
            digest.update(chunk)
    print(digest.hexdigest())


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
