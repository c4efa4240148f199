"""The node: settings, command line, composition, the round loop, publisher, HTTP API and telemetry."""
