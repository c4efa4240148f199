"""The shared risk schema: the frozen values, units, errors and ports every stage speaks.

Nothing here does I/O, reads a clock or imports numpy. Stages (`adapters`, `aggregator`, `attest`, `storage`)
import this package and never each other; `node` wires them.
"""
