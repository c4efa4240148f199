"""One encoding per value: ABI words, struct hashes, canonical bytes and JSON, Keccak, Merkle trees."""
