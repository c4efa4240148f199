"""Current factor values and hourly history, one file per source; each source is a `riskschema.ports.MarketSource`."""
