"""From positions and a market state to risk arrays, one margin and one score. Pure and deterministic: no I/O, no clock.

The stages, in order: `parameters` → `blocks`, `volatility`, `correlation` → `columns` → `pricing` → `arrays` →
`positions` → `margin`, `touch` → `score`, `explanation` → `assess`. `state` holds what has memory between rounds.
"""
