"""procrastinate: no-op jobs in Postgres. `schema`, `defer COUNT` and `work CONCURRENCY` are its parts."""

import asyncio
import os
import sys

import uvloop
from procrastinate import App, PsycopgConnector

_DEFER_AT_ONCE = 500

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"], min_size=4, max_size=20))


@app.task(name="noop")
async def noop() -> None:
    pass


async def main(verb: str, count: int) -> None:
    async with app.open_async():
        if verb == "schema":
            await app.schema_manager.apply_schema_async()
        elif verb == "defer":
            for _ in range(0, count, _DEFER_AT_ONCE):
                await noop.batch_defer_async(*({} for _ in range(_DEFER_AT_ONCE)))
        else:
            await app.run_worker_async(concurrency=count)


def start() -> None:
    """Not as a main module: jobs are known by the name of theirs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
