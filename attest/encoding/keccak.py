"""Keccak-256, the hash of everything that is signed, committed or proved."""

from eth_hash.backends.pycryptodome import keccak256

__all__ = ["keccak256"]
