"""A worker with the market desk in its process: what strategies order is accepted and sent in one step."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from pulse_adapters.clock import SystemClock
from pulse_adapters.instruments import Source, fetch
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_domain.market.sessions import indian_day
from pulse_domain.orders import events as ev
from tests.integration.feeds.making import SECRETS
from tests.integration.market.desk_process import TCS, Desk
from tests.integration.simulator.process import API_KEY, API_SECRET, KiteProcess

ORDERS = 5
ON_TICKS = f"""
from pulse_domain.strategy import Strategy

class OnTicks(Strategy):
    def __init__(self):
        super().__init__()
        self.asked = 0

    def on_tick(self, tick):
        if self.asked < {ORDERS}:
            self.asked += 1
            self.buy(tick.instrument, self.asked)

    def snapshot(self):
        return {{"asked": self.asked}}

    def restore(self, state):
        self.asked = state["asked"]
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KiteProcess]:
    process = KiteProcess(tmp_path, limits=True).start()
    yield process
    process.stop()


@pytest_asyncio.fixture
async def desk(
    database: asyncpg.Pool, migrated_dsn: str, tmp_path: Path, broker: KiteProcess
) -> AsyncIterator[Desk]:
    dump = await asyncio.to_thread(fetch, Source(broker="zerodha", url=broker.url), frozenset())
    listed = [each for each in dump.listings if each.instrument == TCS]
    await PostgresInstrumentSync(Database(database))("zerodha", listed, indian_day(SystemClock().now()))
    made = Desk(
        migrated_dsn,
        database,
        tmp_path,
        MARKET_DESK="here",
        MARKET_FEED="zerodha",
        BROKER_TYPE="zerodha",
        OUTSIDE_SESSION="accept",
        BROKER_SESSION_SECRETS=SECRETS[0],
        ZERODHA_API_KEY=API_KEY,
        ZERODHA_API_SECRET=API_SECRET,
        ZERODHA_BASE_URL=broker.url,
        ZERODHA_TICKER_URL=broker.ticker_url,
        ZERODHA_ACCESS_TOKEN=broker.access_token(),
    )
    yield made
    made.close()


async def test_its_strategies_orders_are_sent_by_the_step_that_accepts_them(
    desk: Desk, broker: KiteProcess, tmp_path: Path
) -> None:
    (tmp_path / "ticks.py").write_text(ON_TICKS)
    await desk.want(f"{tmp_path}/ticks.py:OnTicks")
    worker = desk.start("pulse_background")

    steps = count()

    async def are_there() -> bool:
        # Prices that stand still are not told.
        await asyncio.to_thread(broker.pin, str(TCS), f"{3000 + Decimal(next(steps) % 2) / 10}")
        orders = await desk.orders()
        return len(orders) == ORDERS and not any(view.summary.quantities.unsent for view in orders)

    await desk.until(are_there)
    worker.terminate()

    assert worker.wait(30) == 0
    journals = [
        await desk.store.journal(view.order.order_id, after_seq=0, limit=4) for view in await desk.orders()
    ]
    claims = [journal[3].event for journal in journals if len({entry.at for entry in journal}) == 1]
    assert all(isinstance(claim, ev.ExecutionClaimed) for claim in claims)
    # The first ones may come before the worker has read the broker's book.
    assert claims, "none was claimed by the step that accepted it"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"BROKER_TYPE": "virtual"}, "MARKET_DESK=here needs a real BROKER_TYPE"),
        ({"MARKET_DESK": "there"}, "MARKET_DESK must be apart or here"),
    ],
)
def test_a_wrong_setting_is_one_line(environ: dict[str, str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pulse_background"],
        env={**os.environ, "DATABASE_URL": "postgresql://nowhere", "MARKET_DESK": "here", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"pulse_background: {said}")
    assert len(ended.stderr.splitlines()) == 1
