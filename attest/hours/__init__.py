"""The network's own hourly prices: how an hour is completed, and the table of all hours."""
