"""Arithmetic with the same bits on every CPU: how kernels are compiled, exp and log from the four operations, sums."""
