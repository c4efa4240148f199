"""A certified round once more: an account of it in sentences, and what would earn it a better grade."""
