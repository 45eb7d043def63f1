"""A day that a live desk has recorded: exported by the commands of the product, and traded again alike."""

import asyncio
import csv
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import asyncpg

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded import EmbeddedPostgres
from pulse_adapters.ids import RandomIds
from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.session_locks import PostgresPresence
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.queue.memory import InProcessQueue
from pulse_background.background import Background, BackgroundPorts
from pulse_background.market.bootstrap import make_desk
from pulse_background.market.feeds import OpenFeed
from pulse_background.scheduler import SoleProcess
from pulse_background.settings import read_settings
from pulse_background.virtual import open_market
from pulse_domain.backtest.files import read_ticks
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.memory_feed import InMemoryFeed
from tests.acceptance.conftest import PULSE
from tests.acceptance.test_strategies import Order, fresh_database, play, read_day
from tests.integration.market.desk_process import OPEN, TCS
from tests.integration.telegram.fake_bot_api import bot_api_served

MINUTES = 40
PATIENCE_S = 60.0
DAY = "2026-01-20"
# Candles, their volumes too, decide on every order.
PARAMETERS = {
    "fast": "3", "slow": "6", "signal": "3", "trend": "6", "atr_length": "4", "volume_length": "3",
    "volume_factor": "0.9", "max_quantity": "25",
}  # fmt: skip
# At which a minute has ticks.
SECONDS = (1, 12, 23, 34, 34, 56.000001)


class MarketClock(SystemClock):
    """The time of a live market, which goes from tick to tick; waits take the time they take."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def minutes_of_ticks() -> Iterator[list[Tick]]:
    """Prices that go up and down, with all that ticks can have: quotes or none, one instant, another order."""
    rng, volume = Random(20), 0
    for minute in range(MINUTES):
        ticks, busy = list[Tick](), rng.randint(1, 9)
        for place, second in enumerate(SECONDS):
            number = minute * len(SECONDS) + place
            step = number % 54
            price = Decimal(3000) + min(step, 54 - step) + Decimal(rng.randint(0, 19)) / 20
            volume += busy * rng.randint(1, 30)
            bid, ask = (price, price + Decimal("0.05")) if number % 4 else (None, None)
            at = OPEN + timedelta(minutes=minute, seconds=second)
            ticks.append(Tick(TCS, at, price, bid, ask, volume))
        # They do not always come in the order of their instants.
        ticks[1], ticks[2] = ticks[2], ticks[1]
        yield ticks


@asynccontextmanager
async def live_desk(dsn: str, feed: InMemoryFeed, clock: MarketClock) -> AsyncIterator[Database]:
    """A desk on live prices and workers whose orders end at the virtual exchange."""
    settings = read_settings({"DATABASE_URL": dsn, "RISK_MAX_ORDER_QUANTITY": PARAMETERS["max_quantity"]})
    by_clock, queue, stop, latest = SystemClock(), InProcessQueue(), asyncio.Event(), dict[Instrument, Tick]()
    executor_id = RandomIds(by_clock).executor_id()
    pool = await create_pool(dsn, size=settings.database_pool_size)
    database = Database(pool)
    async with open_market(settings, by_clock, latest) as market:
        desk = make_desk(
            settings,
            OpenFeed(feed=feed, hours_at=DatedCalendar().hours_at),
            database,
            clock,
            queue,
            lambda told: None,
            latest=latest,
            exchange=market.exchange,
        )
        background = Background(
            BackgroundPorts(
                store=PostgresOrderStore(database),
                broker=market.exchange,
                clock=by_clock,
                leadership=SoleProcess(),
                presence=PostgresPresence(dsn, executor_id),
                executor_id=executor_id,
                on_booked=lambda order, event: desk.wake(),
            ),
            settings,
        )
        for kind in JobKind:
            queue.listen(kind, lambda job: background.wake(job.kind))
        working = [asyncio.create_task(background.run(stop)), asyncio.create_task(desk.run())]
        try:
            yield database
            assert not any(task.done() for task in working), working
        finally:
            # The desk stores what it still has.
            stop.set()
            working[1].cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await pool.close()


async def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, "it does not come"
        await asyncio.sleep(0.01)


async def record(dsn: str) -> list[Tick]:
    """Let a desk trade the day, and give its ticks as they came."""
    clock, feed, given = MarketClock(OPEN), InMemoryFeed(), list[Tick]()
    async with live_desk(dsn, feed, clock) as database:
        strategies = PostgresStrategyStore(database)
        await strategies.put(
            "macd", kind="macd", instruments=(TCS,), parameters=PARAMETERS, mode=StrategyMode.LIVE,
            changed_by="test",
        )  # fmt: skip
        await strategies.want("macd", StrategyState.RUNNING, "test")

        async def runs() -> bool:
            rows = await strategies.rows()
            return feed.figures().connected and [row.state for row in rows] == [StrategyState.RUNNING]

        await until(runs)
        for number, ticks in enumerate(minutes_of_ticks()):
            start = OPEN + timedelta(minutes=number)
            for tick in ticks:
                clock.at = max(clock.at, tick.at)
                feed.give(tick)
            given += ticks
            # No tick ends the minute: the clock does.
            clock.at = start + timedelta(minutes=1, seconds=1)

            async def is_worked_on(start: datetime = start) -> bool:
                kept = await strategies.checkpoint("macd", 1)
                if kept is None:
                    return False
                seat = kept.state["seat"]
                told = seat["candles"].get("NSE:TCS")
                ended = all(order["update"]["done"] for order in seat["orders"])
                return told is not None and datetime.fromisoformat(told) == start and ended

            # A minute is long: what was ordered by its candle has ended when the next price comes.
            await until(is_worked_on)
    return given


async def pulse(dsn: str, *arguments: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        [PULSE, *arguments],
        env={**os.environ, "DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_recorded_day_is_traded_again_with_the_same_orders(
    own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    ticks, candles, fills = (tmp_path / name for name in ("tcs.csv.gz", "tcs-1m.parquet", "fills.csv"))
    async with fresh_database(own_postgres) as dsn, bot_api_served() as bot:
        await migrate(dsn)
        given = await record(dsn)
        connection = await asyncpg.connect(dsn)
        live = await read_day(connection)
        await connection.close()
        for form in (ticks, tmp_path / "tcs.parquet"):
            await pulse(dsn, "ticks", "export", "NSE:TCS", str(form), "--from", DAY, "--to", DAY)
            by_instant = sorted(given, key=lambda tick: tick.at)
            assert list(read_ticks(form, TCS)) == by_instant, "every tick, as it came"
        await pulse(dsn, "candles", "export", "NSE:TCS", str(candles), "--from", DAY, "--to", DAY)
        replayed = await play(own_postgres, bot, ticks, max(live.candles), PARAMETERS)

    assert len(live.candles) == MINUTES
    assert len(live.orders) >= 4, "a day on which nothing is traded shows nothing"
    assert {order.side for order in live.orders.values()} == {"BUY", "SELL"}
    assert replayed.candles == live.candles
    assert replayed.orders == live.orders, "the same orders, by instant, side, quantity and key"
    assert sorted(replayed.fills) == sorted(live.fills), "at the same prices"

    options = [f"--param={name}={value}" for name, value in PARAMETERS.items()]
    files = ["--candles", f"NSE:TCS={candles}", "--fills", str(fills)]
    await pulse(dsn, "backtest", "run", "macd", *files, *options)
    with fills.open() as file:
        tested = [
            Order(datetime.fromisoformat(row["at"]), row["side"], int(row["quantity"]))
            for row in csv.DictReader(file)
        ]
    assert tested == list(live.orders.values())
