"""How likely a liquidation is: first touches along the paths, the walk through a liquidation, and the score."""
