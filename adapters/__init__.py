"""The outside world, normalised into the risk schema.

`chains` reads EVM chains at a pinned block, `protocols` translates one protocol per file, `markets` reads current
prices from one source per file, `history` past ones from files. An adapter is pure translation; the reader it is given
does the I/O.
"""
