"""Deployment of the real protocol contracts, one module each."""
