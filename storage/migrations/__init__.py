"""Alembic migrations, run by `storage.migration` whenever a database is opened."""
