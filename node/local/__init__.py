"""A whole network on this machine: the local chain, a node on it, a market that moves, and what is told of them."""
