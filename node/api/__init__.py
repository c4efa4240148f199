"""The HTTP API: routes and their documents, answers from the store, problem documents, and bounded connections."""
