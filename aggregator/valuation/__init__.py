"""What everything is worth in each scenario: exact kernels, prices of instruments, risk arrays, exact sums."""
