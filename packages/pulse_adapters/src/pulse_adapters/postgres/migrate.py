"""Bring a database to the newest schema: `python -m pulse_adapters.postgres.migrate`."""

import asyncio
import os
import sys
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from pulse_adapters.postgres.pool import check_dsn

_LOCK_KEY = 0x70756C7365  # "pulse"
_LOCK_TRIES_S = 60


async def migrate(dsn: str) -> None:
    """Upgrade to the newest revision; any number of processes may do so at once.

    Raises:
        TimeoutError: another process holds the migration lock for more than a minute.
    """
    engine = create_async_engine(sqlalchemy_url(dsn))
    try:
        async with engine.connect() as connection:
            # Polling: waiting in pg_advisory_lock deadlocks with CREATE INDEX CONCURRENTLY of its holder.
            for _ in range(_LOCK_TRIES_S * 10):
                taken = await connection.scalar(text(f"SELECT pg_try_advisory_lock({_LOCK_KEY})"))
                await connection.commit()
                if taken:
                    break
                await asyncio.sleep(0.1)
            else:
                raise TimeoutError("another process is migrating the database")
            try:
                await connection.run_sync(_upgrade)
                await connection.commit()
            finally:
                await connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK_KEY})"))
                await connection.commit()
    finally:
        await engine.dispose()


def sqlalchemy_url(dsn: str) -> str:
    """The same address for SQLAlchemy's asyncpg dialect. Raises ValueError where it cannot be read."""
    try:
        check_dsn(dsn)
    except ValueError as error:
        raise ValueError(f"DATABASE_URL {error}") from None
    return "postgresql+asyncpg://" + dsn.partition("://")[2]


def _upgrade(connection: Connection) -> None:
    with as_file(files("pulse_adapters.postgres") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def main() -> int:
    dsn = os.environ.get("DATABASE_URL", "")
    try:
        asyncio.run(migrate(dsn))
    except (ValueError, OSError, SQLAlchemyError) as error:
        # The driver's text may repeat the address, password included: only its kind is told.
        reason = str(error) if isinstance(error, ValueError | TimeoutError) else type(error).__name__
        print(f"migrate: {reason}", file=sys.stderr)  # noqa: T201  # a command's one-line answer
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
