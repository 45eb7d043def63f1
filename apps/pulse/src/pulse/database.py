"""The database, for commands that work on it without a service."""

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pulse.errors import BadInput, CommandError
from pulse.state import state_folder
from pulse_domain.errors import StorageRejected, StorageUnavailable

if TYPE_CHECKING:  # the driver takes its time, which other commands need not wait for
    from pulse_adapters.postgres.pool import Database

_T = TypeVar("_T")


def database_url(what: str) -> str:
    """DATABASE_URL, for a command that works on `what` there.

    Raises:
        BadInput: it is not set.
    """
    dsn = os.environ.get("DATABASE_URL", "")
    if not dsn:
        raise BadInput(f"DATABASE_URL is not set: it names the database that the {what} are stored in")
    return dsn


def database_here(what: str) -> str:
    """As `database_url`; where that is not set, the address of the database that `pulse up` runs here.

    Raises:
        BadInput: there is neither.
    """
    from pulse_adapters.embedded.postgres import running_dsn

    own = None if os.environ.get("DATABASE_URL") else running_dsn(state_folder(os.environ) / "postgres")
    return own or database_url(what)


async def with_database(dsn: str, use: "Callable[[Database], Awaitable[_T]]") -> _T:
    """Open the database for one use of it.

    Raises:
        BadInput: the address cannot be read.
        CommandError: it cannot be reached, or is not migrated.
    """
    import asyncpg

    from pulse_adapters.postgres.pool import Database, check_dsn, create_pool

    try:
        check_dsn(dsn)
    except ValueError as error:
        raise BadInput(f"DATABASE_URL {error}") from None
    pool = await create_pool(dsn, size=1)
    try:
        return await use(Database(pool))
    except (StorageUnavailable, StorageRejected) as error:
        raise CommandError(f"{error.code}: {error.message}") from error
    except asyncpg.UndefinedTableError as error:
        raise CommandError(
            "the database has no such table: run `python -m pulse_adapters.postgres.migrate`"
        ) from error
    except asyncpg.PostgresError as error:  # refused: the server's text may hold parts of the address
        raise CommandError(f"DATABASE_ERROR: {type(error).__name__}") from error
    finally:
        await pool.close()
