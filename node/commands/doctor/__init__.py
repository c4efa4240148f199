"""`plimsoll doctor`: everything that a node needs, looked at before or while it runs; a line and a remedy for each."""
