"""What sets up the network of several operators."""
