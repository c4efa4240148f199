"""What everything is worth in each scenario: prices of instruments, risk arrays, and positions in their lots."""
