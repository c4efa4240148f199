"""From a certified report to a final transaction: durable, at most once, within a fee cap and a deadline."""
