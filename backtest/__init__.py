"""What the engine said on past days against what came next: walk-forward tests of margin and probability. No I/O."""
