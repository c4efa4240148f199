"""Bring a database to the version of this program, or refuse it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from riskschema.errors import FatalError, TransientError
from storage.tables import METADATA

FOLDER = Path(__file__).parent / "migrations"
LOOK_SECONDS = 0.02

_UNDER_WAY = threading.Lock()


@asynccontextmanager
async def alone() -> AsyncIterator[None]:
    """Wait until no other migration is under way in this process, in whatever thread or loop.

    Alembic keeps the one that it runs in globals of its modules: while a statement is awaited another could begin,
    and the rest of the first would be done to the other's database.
    """
    while not _UNDER_WAY.acquire(blocking=False):  # noqa: ASYNC110 - a lock or an event of asyncio is of one loop only
        await asyncio.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        _UNDER_WAY.release()


def migrate(connection: Connection) -> None:
    """Run every migration the database has not seen, inside the transaction of `connection`.

    Raises:
        FatalError: the database was made by a newer version, or by another program; nothing was changed.
    """
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    _require_known(current, script)
    if current is None:
        _require_empty(connection)
    command.upgrade(config, "head")


def require_current(connection: Connection) -> None:
    """Refuse a database of another version than this program's; nothing is changed.

    Raises:
        TransientError: its node has not made or migrated it yet.
        FatalError: it was made by a newer version.
    """
    script = ScriptDirectory(str(FOLDER))
    current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    _require_known(current, script)
    raise TransientError(
        f"the database is {'empty' if current is None else f'of version {current}'}, this program reads version "
        f"{script.get_current_head()}: its node brings it there when it starts (plimsoll run)",
        code="store_not_ready",
    )


def _require_known(current: str | None, script: ScriptDirectory) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise FatalError(
            f"the database is of version {current}, newer than this program knows ({script.get_current_head()}): "
            "install the newer program, or start with another database",
            code="store_unusable",
        )


def _require_empty(connection: Connection) -> None:
    strangers = sorted(set(inspect(connection).get_table_names()) & set(METADATA.tables))
    if strangers:
        raise FatalError(
            f"the database has the tables {', '.join(strangers)} but no version: it was not made by this program; "
            "start with another database",
            code="store_unusable",
        )
