"""From a tick that is received to the order that the broker receives, through strategy and risk gate.

The desk and the workers are in one process, as with `MARKET_DESK=here`, on Postgres with fsync on. Orders go
out by the adapter that places them at Zerodha, on the vendor's SDK; the broker is a stub of its wire in a
process of its own that notes when it received what, by the clock of the machine. A strategy orders at every
tick, the risk gate has limits that read prices, orders and positions, and calls are counted by the limiter.

Between any two ticks other paths are walked, of which each leaves something out:

- bare: one hop through an asyncio queue, and the HTTP call as the same adapter makes it;
- durable: the same with one committed update before the call, which is the least that an order must cost that
  is not lost by a crash;
- socket: the hop, and the same request written to a kept connection by hand, without any client.
"""

import argparse
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from urllib.parse import urlencode

import asyncpg
import structlog
import uvloop
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.ids import RandomIds
from pulse_adapters.limits.in_process import InProcessGate
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.session_locks import PostgresPresence
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.zerodha.broker import ZerodhaBroker
from pulse_adapters.zerodha.tickets import order_fields
from pulse_background.background import Background, BackgroundPorts
from pulse_background.market.bootstrap import make_desk
from pulse_background.market.feeds import OpenFeed
from pulse_background.market.hours import around_the_clock
from pulse_background.scheduler import SoleProcess
from pulse_background.settings import read_settings
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Tick
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import Broker, OrderTicket
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.splitting import PaceLimits
from pulse_domain.strategies import STRATEGIES
from pulse_domain.strategy import Strategy
from pulse_domain.testing.memory_feed import InMemoryFeed
from pulse_domain.testing.memory_sessions import InMemorySessions
from pulse_domain.traffic import LaneRules
from pulse_domain.use_cases.count_calls import CountCalls
from service_kit.collector import settle
from tests.benchmarks.report import median, report
from tests.benchmarks.servers import free_port
from tests.benchmarks.stub_desk import StubDesk, stub_broker
from tests.benchmarks.stub_line import Lines
from tests.unit.zerodha.make import SETTINGS, session, sessions

TICKS, PAUSE_S, WARM_UP = 600, 0.05, 200
PATIENCE_S = 60.0
TCS = Instrument.parse("NSE:TCS")
LIMITS = {
    "RISK_MAX_ORDER_QUANTITY": "100",
    "RISK_MAX_ORDER_VALUE": "1000000",
    "RISK_FAT_FINGER_PERCENT": "20",
    "RISK_MAX_OPEN_ORDERS": "100000",
    "RISK_MAX_OPEN_POSITIONS": "10",
    "RISK_MAX_ORDERS": "100",
    "RISK_ORDERS_WINDOW_SECONDS": "1",
}
LIMIT_PRICE = Decimal(3010)
TICKET = OrderTicket(
    tag="",
    instrument=TCS,
    side=Side.BUY,
    quantity=10,
    order_type=OrderType.LIMIT,
    product=Product.CNC,
    validity=Validity.IOC,
    limit_price=LIMIT_PRICE,
    trigger_price=None,
    terms=InstrumentTerms(),
)
# Far above what is sent, so that nobody waits for leave; every call is counted all the same.
RULES = LaneRules(limits=PaceLimits(per_second=1_000, per_minute=50_000, per_day=1_000_000))
_HEADERS = "Content-Type: application/x-www-form-urlencoded\r\n"

Call = Callable[[str], Awaitable[object]]
CREATE_BARE = "CREATE TABLE bare_orders (id int PRIMARY KEY, claimed boolean NOT NULL)"
CLAIM_BARE = "UPDATE bare_orders SET claimed = true WHERE id = $1 AND NOT claimed"
ORDERS = "SELECT l.tag, o.order_unique_key FROM order_ledger l JOIN orders o USING (order_id)"


class EveryTick(Strategy):
    def on_tick(self, tick: Tick) -> None:
        self.buy(
            tick.instrument, 10, order_type=OrderType.LIMIT, limit_price=LIMIT_PRICE, validity=Validity.IOC
        )


def p99(values: Sequence[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


class Prices:
    """Gives a tick now and then, stamped with the instant of its giving."""

    def __init__(self, feed: InMemoryFeed) -> None:
        self._feed = feed
        self._count = 0

    def give(self) -> datetime:
        self._count += 1
        at = datetime.now(UTC)
        self._feed.give(Tick(TCS, at, Decimal(3000) + Decimal(self._count % 20) / 20, volume=self._count * 100))
        return at


class Bare:
    """A queue, whoever waits at it, and the call. pool: where a commit comes before it."""

    def __init__(self, name: str, call: Call, pool: asyncpg.Pool | None = None) -> None:
        self.name = name
        self._call = call
        self._pool = pool
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._task = asyncio.create_task(self._serve())

    def give(self, number: int) -> float:
        at = time.time()
        self._queue.put_nowait(number)
        return at

    async def _serve(self) -> None:
        while True:
            number = await self._queue.get()
            if self._pool is not None:
                await self._pool.execute(CLAIM_BARE, number)
            await self._call(tag_of(self.name, number))

    def close(self) -> None:
        self._task.cancel()


def tag_of(name: str, number: int) -> str:
    return f"{name.upper()}{number:0{20 - len(name)}d}"


def by_socket(lines: Lines) -> Call:
    """The request without a client."""

    async def call(tag: str) -> object:
        fields = order_fields(replace(TICKET, tag=tag))
        return await lines.ask("POST", "/orders/regular", urlencode(fields))

    return call


def by_adapter(broker: Broker) -> Call:
    async def call(tag: str) -> object:
        return await broker.place(replace(TICKET, tag=tag), timeout_s=10.0)

    return call


async def open_adapter(url: str, clock: SystemClock) -> ZerodhaBroker:
    store = InMemorySessions()
    await store.save(session(clock=clock))
    return ZerodhaBroker(replace(SETTINGS, base_url=url), sessions(store, clock), clock, Random(1))


async def measure(
    pool: asyncpg.Pool,
    board: PriceBoard,
    prices: Prices,
    bares: Sequence[Bare],
    desk: StubDesk,
    args: argparse.Namespace,
) -> tuple[list[float], list[list[float]]]:
    """Seconds from the tick to the receipt: through the desk, and on each of the bare paths."""
    given: list[datetime] = []
    bare_at: dict[str, list[float]] = {bare.name: [] for bare in bares}
    await pool.execute(CREATE_BARE)
    await pool.execute(
        "INSERT INTO bare_orders SELECT n, false FROM generate_series(0, $1) n", args.ticks + WARM_UP
    )
    while await board.price(TCS) is None:  # without a price the risk gate lets nothing pass
        prices.give()
        await asyncio.sleep(0.1)
    for number in range(args.ticks + WARM_UP):
        given.append(prices.give())
        await asyncio.sleep(args.pause / 2)
        for bare in bares:
            bare_at[bare.name].append(bare.give(number))
            await asyncio.sleep(args.pause / 6)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        received = {what: at for kind, what, at in desk.ask("receipts") if kind == "place"}
        # The key tells the instant of the tick.
        by_tick = {
            ".".join(row["order_unique_key"].split(".")[2:4]): received.get(row["tag"])
            for row in await pool.fetch(ORDERS)
        }
        instants = [by_tick.get(f"{at:%Y%m%dT%H%M%S.%f}") for at in given]
        if None not in instants:
            break
        assert time.monotonic() < deadline, f"{instants.count(None)} of {len(given)} orders have not come"
        await asyncio.sleep(0.1)
    ours = [came - at.timestamp() for came, at in zip(instants, given, strict=True) if came is not None]
    theirs = [
        [received[tag_of(name, number)] - at for number, at in enumerate(instants)][WARM_UP:]
        for name, instants in bare_at.items()
    ]
    return ours[WARM_UP:], theirs


async def run(args: argparse.Namespace, dsn: str, broker_port: int, limits: Mapping[str, str]) -> None:
    clock, queue, stop = SystemClock(), InProcessQueue(), asyncio.Event()
    settings = read_settings({"DATABASE_URL": dsn, **limits})
    pool = await create_pool(dsn, size=settings.database_pool_size)
    database, feed = Database(pool), InMemoryFeed()
    # Each has threads and connections of its own.
    line, other = [await open_adapter(f"http://127.0.0.1:{broker_port}", clock) for _ in range(2)]
    executor_id, store = RandomIds(clock).executor_id(), PostgresOrderStore(database)
    strategies = PostgresStrategyStore(database)
    await strategies.put(
        "bench",
        kind="every-tick",
        instruments=(TCS,),
        parameters={},
        mode=StrategyMode.LIVE,
        changed_by="bench",
    )
    await strategies.want("bench", StrategyState.RUNNING, "bench")
    desk = make_desk(
        settings,
        OpenFeed(feed=feed, hours_at=around_the_clock),
        database,
        clock,
        queue,
        lambda told: None,
        send_at_once=lambda new, limits: background.accept_at_once(new, limits),
    )
    background = Background(
        BackgroundPorts(
            store=store,
            broker=line,
            clock=clock,
            leadership=SoleProcess(),
            presence=PostgresPresence(dsn, executor_id),
            executor_id=executor_id,
            limiter=GatedLimiter(
                InProcessGate(RULES, clock), clock, RULES, CountCalls(store, clock), name="bench"
            ),
            on_booked=lambda order, event: desk.wake(),
        ),
        settings,
    )
    for kind in JobKind:
        queue.listen(kind, lambda job: background.wake(job.kind))
    working = [asyncio.create_task(background.run(stop)), asyncio.create_task(desk.run())]
    stub = StubDesk(broker_port)
    lines = Lines("127.0.0.1", broker_port, _HEADERS)
    bares = (
        Bare("bare", by_adapter(other)),
        Bare("durable", by_adapter(other), pool),
        Bare("socket", by_socket(lines)),
    )
    await stub.ready(0)
    while not feed.figures().connected:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.05)
    settle()  # as a worker does
    prices = Prices(feed)
    ours, (theirs, durable, socket) = await measure(
        pool, PostgresPriceBoard(database), prices, bares, stub, args
    )
    for bare in bares:
        bare.close()
    stop.set()
    working[1].cancel()
    await asyncio.gather(*working, return_exceptions=True)
    lines.close()
    await line.close()
    await other.close()
    await pool.close()

    def ms(seconds: float) -> float:
        return round(seconds * 1000, 2)

    report(
        "tick_to_trade",
        {
            "p99_vs_bare": p99(ours) / p99(theirs),
            "median_vs_bare": median(ours) / median(theirs),
            "p99_vs_durable": p99(ours) / p99(durable),
            "durable_p99_vs_bare": p99(durable) / p99(theirs),
            "p99_vs_socket": p99(ours) / p99(socket),
        },
        {
            "ticks": len(ours),
            "median_ms": ms(median(ours)),
            "p99_ms": ms(p99(ours)),
            "max_ms": ms(max(ours)),
            "bare_median_ms": ms(median(theirs)),
            "bare_p99_ms": ms(p99(theirs)),
            "bare_max_ms": ms(max(theirs)),
            "durable_median_ms": ms(median(durable)),
            "durable_p99_ms": ms(p99(durable)),
            "socket_median_ms": ms(median(socket)),
            "socket_p99_ms": ms(p99(socket)),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-tick-to-trade")
    parser.add_argument("--ticks", type=int, default=TICKS)
    parser.add_argument("--pause", type=float, default=PAUSE_S)
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    STRATEGIES["every-tick"] = EveryTick
    broker_port = free_port()
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres.start(None, durable=True))
        asyncio.run(migrate(postgres.dsn))
        stack.enter_context(stub_broker(broker_port, "stub_kite"))
        uvloop.run(run(args, postgres.dsn, broker_port, LIMITS))


if __name__ == "__main__":
    main()
