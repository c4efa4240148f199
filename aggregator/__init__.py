"""From positions and a market state to risk arrays, one margin and one score. Pure and deterministic: no I/O, no clock.

The rooms, in the order of the work: `exact` arithmetic → `scenarios` of the market → `valuation` of every instrument in
them, by `venues` as each venue's rule says → `margin` and `probability` → `assess`. `parameters` are what one may
choose, `market_memory` is what the model remembers between rounds.
"""
