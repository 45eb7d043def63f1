"""How fast market data goes through one process: bus, candles, subscribers, and COPY into Postgres.

Every round sends the same ticks, in packets as a feed does, through a bus: candles are built of them and kept,
a virtual exchange keeps the latest quote of each instrument, a strategy looks at every tick, and the recorder
stores all of them. A round ends when everything is stored, and nothing may be dropped: the feed waits where it
would be. In turns with that, on one Postgres with fsync on: the bare COPY of the same rows, at once and made
beforehand; the same with a strategy in a worker process that computes without a pause; the same with one more
subscriber that never returns from its first call.
"""

import argparse
import asyncio
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing import get_context

import asyncpg
import uvloop

from pulse_adapters.bus.in_process import InProcessEventBus
from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.tables import market_ticks
from pulse_adapters.postgres.tick_partitions import TickPartitions
from pulse_adapters.postgres.ticks import NUMBERS_EACH, PostgresTickStore
from pulse_background.market.seat_worker import give_way
from pulse_background.workers.tick_recorder import TickRecorder
from pulse_domain.candles import CandleBuilder, ClosedCandle, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.event_bus import CANDLES, TICKS, Overflow
from tests.benchmarks.report import median, report

# Many short rounds: what else the machine does then falls on all sides alike.
TICKS_EACH, ROUNDS = 50_000, 21
INSTRUMENTS, MINUTES, PACKET = 200, 10, 100
# The feed waits while more are unsaved: the recorder would drop ticks above 20,000.
UNSAVED = 18_000
# They may fall behind: one never ends, the other is content with the latest.
APART = ("asleep", "computing")

Subscribe = Callable[[InProcessEventBus], None]


def make_ticks(count: int) -> list[Tick]:
    rng = random.Random(7)
    began = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    instruments = [Instrument.parse(f"NSE:S{number:03}") for number in range(INSTRUMENTS)]
    prices = [rng.randint(2_000, 60_000) for _ in instruments]  # steps of 5 paise
    volumes = [0] * INSTRUMENTS
    step = timedelta(minutes=MINUTES) / count
    ticks = []
    for number in range(count):
        which = rng.randrange(INSTRUMENTS)
        prices[which] += rng.choice((-1, 0, 1))
        volumes[which] += rng.randint(1, 500)
        last, bid, ask = (Decimal(5 * (prices[which] + away)).scaleb(-2) for away in (0, -1, 1))
        ticks.append(Tick(instruments[which], began + number * step, last, bid, ask, volumes[which]))
    return ticks


class Exchange:
    """The latest quotes."""

    def __init__(self) -> None:
        self.quotes: dict[Instrument, Tick] = {}

    async def __call__(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            self.quotes[tick.instrument] = tick


class Strategy:
    """Looks at every tick, and counts how often the price is above the one before."""

    def __init__(self) -> None:
        self._last: dict[Instrument, Decimal] = {}
        self.seen = self.rises = 0

    async def __call__(self, ticks: Sequence[Tick]) -> None:
        last = self._last
        for tick in ticks:
            if tick.price > last.get(tick.instrument, tick.price):
                self.rises += 1
            last[tick.instrument] = tick.price
        self.seen += len(ticks)


class Market:
    """One database, and the ticks of every round."""

    def __init__(self, pool: asyncpg.Pool, count: int) -> None:
        self._pool = pool
        self._database = Database(pool)
        self._ticks = make_ticks(count)
        self._rows: list[tuple[object, ...]] = []
        self._candles = 0

    async def prepare(self) -> None:
        days = {tick.at.date() for tick in self._ticks}
        await TickPartitions(self._database).create(days)
        await self.through_the_process()
        rows = await self._pool.fetch("SELECT instrument, token FROM tick_instruments")
        tokens = {row["instrument"]: row["token"] for row in rows}
        self._rows = [
            (
                tick.at, tokens[str(tick.instrument)], 999 * NUMBERS_EACH + number, tick.price, tick.bid,
                tick.ask, tick.volume, tick.day_low, tick.day_high,
            )
            for number, tick in enumerate(self._ticks)
        ]  # fmt: skip

    async def bare(self) -> float:
        """Ticks per second by one COPY."""
        await self._pool.execute("TRUNCATE market_ticks")
        columns = [column.name for column in market_ticks.columns]
        began = time.perf_counter()
        async with self._pool.acquire() as connection:
            await connection.copy_records_to_table(
                "market_ticks", records=self._rows, columns=columns, timeout=120
            )
        return len(self._rows) / (time.perf_counter() - began)

    async def through_the_process(self, *more: Subscribe) -> float:
        """Ticks per second from the first packet to the last row."""
        await self._pool.execute("TRUNCATE market_ticks, candles")
        clock = SystemClock()
        bus = InProcessEventBus(clock)
        recorder = TickRecorder(PostgresTickStore(self._database), clock, "bench")
        hours = SessionHours(self._ticks[0].at, self._ticks[0].at + timedelta(minutes=MINUTES))
        builder = CandleBuilder(lambda instrument, at: hours)
        strategy, exchange = Strategy(), Exchange()
        candle_store = PostgresCandleStore(self._database)

        async def build(ticks: Sequence[Tick]) -> None:
            for tick in ticks:
                if closed := builder.on_tick(tick):
                    bus.publish(CANDLES, *closed)

        async def store_candles(candles: Sequence[ClosedCandle]) -> None:
            await candle_store.save(candles)

        bus.subscribe(TICKS, "candles", build, batch_max=1000)
        bus.subscribe(TICKS, "recorder", recorder.take, batch_max=1000)
        bus.subscribe(TICKS, "strategy", strategy, batch_max=1000)
        bus.subscribe(TICKS, "exchange", exchange, overflow=Overflow.LATEST, batch_max=1000)
        bus.subscribe(CANDLES, "candle store", store_candles, size_max=100_000, batch_max=10_000)
        for subscribe in more:
            subscribe(bus)
        recording = asyncio.create_task(recorder.run())

        began = time.perf_counter()
        for at in range(0, len(self._ticks), PACKET):
            while recorder.figures().unsaved > UNSAVED:  # noqa: ASYNC110  # as a socket would be read no further
                await asyncio.sleep(0.0005)
            bus.publish(TICKS, *self._ticks[at : at + PACKET])
            await asyncio.sleep(0)
        while any(each.depth for each in bus.figures() if each.subscriber not in APART):  # noqa: ASYNC110
            await asyncio.sleep(0)
        recorder.stop()
        await recording
        took_s = time.perf_counter() - began

        dropped = {each.subscriber: each.dropped for each in bus.figures() if each.subscriber not in APART}
        assert not any(dropped.values()), dropped
        assert recorder.figures().stored == strategy.seen == len(self._ticks), recorder.figures()
        assert len(exchange.quotes) == INSTRUMENTS
        await bus.close(timeout_s=0.5)
        await self._check()
        return len(self._ticks) / took_s

    async def _check(self) -> None:
        stored = await self._pool.fetchval("SELECT count(*) FROM market_ticks")
        assert stored == len(self._ticks), f"{stored} ticks are stored"
        candles = await self._pool.fetchval("SELECT count(*) FROM candles")
        assert candles == (self._candles or candles) > 0, f"{candles} candles are stored"
        self._candles = candles


def asleep(bus: InProcessEventBus) -> None:
    async def sleep(ticks: Sequence[Tick]) -> None:
        await asyncio.get_running_loop().create_future()

    bus.subscribe(TICKS, "asleep", sleep)


def computing(pool: ProcessPoolExecutor, done: list[int]) -> Subscribe:
    """Who hands the latest prices to the worker process, and waits for what it makes of them."""

    async def hand_over(ticks: Sequence[Tick]) -> None:
        prices = [float(tick.price) for tick in ticks]
        done.append(await asyncio.get_running_loop().run_in_executor(pool, compute, prices))

    def subscribe(bus: InProcessEventBus) -> None:
        bus.subscribe(TICKS, "computing", hand_over, overflow=Overflow.LATEST, batch_max=1000)

    return subscribe


def compute(prices: Sequence[float]) -> int:
    """A fifth of a second of nothing but computing."""
    until, turns = time.perf_counter() + 0.2, 0
    while time.perf_counter() < until:
        turns += 1
        sum(math.sqrt(price * turns) for price in prices)
    return turns


async def run(count: int, rounds: int) -> None:
    workers = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=give_way)
    with EmbeddedPostgres.start(None, durable=True) as server, workers:
        await migrate(server.dsn)
        pool = await create_pool(server.dsn, command_timeout_s=120)
        market, turns = Market(pool, count), list[int]()
        await asyncio.get_running_loop().run_in_executor(workers, compute, [1.0])
        await market.prepare()

        async def beside_computing() -> float:
            rate = await market.through_the_process(computing(workers, turns))
            await asyncio.get_running_loop().run_in_executor(workers, abs, 0)  # it ends what it is at
            return rate

        measures: dict[str, Callable[[], Awaitable[float]]] = {
            "copy": market.bare,
            "process": market.through_the_process,
            "computing": beside_computing,
            "asleep": lambda: market.through_the_process(asleep),
        }
        rates: dict[str, list[float]] = {name: [] for name in measures}
        order, rng = list(measures), random.Random(11)
        for _ in range(rounds):
            rng.shuffle(order)  # so that none always follows the same one
            for name in order:
                rates[name].append(await measures[name]())
            shown = "   ".join(f"{name} {rates[name][-1]:8.0f}/s" for name in measures)
            print(shown, file=sys.stderr, flush=True)
        await pool.close()
    assert turns, "the strategy in the worker process has computed"

    def against(name: str, other: str) -> list[float]:
        return [a / b for a, b in zip(rates[name], rates[other], strict=True)]

    compared = {
        "vs_copy": against("process", "copy"),
        "with_cpu_strategy": against("computing", "process"),
        "with_sleeping_subscriber": against("asleep", "process"),
    }
    report(
        "ticks",
        {name: median(ratios) for name, ratios in compared.items()},
        {
            "ticks_per_s": round(median(rates["process"])),
            "copy_rows_per_s": round(median(rates["copy"])),
            "ticks_per_s_with_cpu_strategy": round(median(rates["computing"])),
            "ticks_per_s_with_sleeping_subscriber": round(median(rates["asleep"])),
            "ticks_each": count,
            "instruments": INSTRUMENTS,
            "ratio_per_round": {name: [round(each, 3) for each in ratios] for name, ratios in compared.items()},
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=TICKS_EACH)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    uvloop.run(run(options.ticks, options.rounds))
