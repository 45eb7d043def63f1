"""What the service is made of, put together by plain calls."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from msgspec import Struct
from prometheus_client import Counter

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.queue.dramatiq import DramatiqQueue
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.queue.redis_broker import redis_broker
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_api.journal_feed import JournalFeed
from pulse_api.market import VIRTUAL, MarketSettings
from pulse_api.postbacks import Postbacks
from pulse_api.settings import Settings
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.work_queue import WorkQueue
from pulse_domain.splitting import PaceLimits
from pulse_domain.use_cases.accept import AcceptOrder
from pulse_domain.use_cases.cancel import RequestCancel
from pulse_domain.use_cases.halt import HaltTrading, ResumeTrading
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.market_gate import MarketGate
from pulse_domain.use_cases.pause import PauseOrder
from pulse_domain.use_cases.preview import PreviewOrder
from pulse_domain.use_cases.read import ReadOrders
from pulse_domain.use_cases.resolve import ResolveExecution
from pulse_domain.use_cases.review import ReviewTrading
from service_kit import Metrics
from service_kit.dramatiq_trace import CarryIds

WATCHING_CONNECTIONS = 4


class Ports(Struct, frozen=True, kw_only=True):
    """watched: the store that event streams read, on connections of its own, so that many watchers cannot hold
    up an acceptance or a halt.
    closing_auction: whether a share takes part in it, where somebody knows."""

    store: OrderStore
    watched: OrderStore
    queue: WorkQueue
    master: InstrumentMaster
    clock: Clock
    ids: Ids
    closing_auction: Callable[[Instrument], Awaitable[bool | None]] | None = None


class Services(Struct, frozen=True, kw_only=True):
    accept: AcceptOrder
    preview: PreviewOrder
    read: ReadOrders
    cancel: RequestCancel
    halt: HaltTrading
    resume: ResumeTrading
    kill: KillTrading
    pause: PauseOrder
    resolve: ResolveExecution
    review: ReviewTrading
    feed: JournalFeed
    postbacks: Postbacks
    store: OrderStore
    clock: Clock


def services(
    ports: Ports, limits: PaceLimits, market: MarketSettings, zerodha_api_secret: str | None
) -> Services:
    store, clock = ports.store, ports.clock
    gate = MarketGate(market.rules, DatedCalendar(market.calendar, ports.closing_auction))
    halt = HaltTrading(store, clock)
    return Services(
        accept=AcceptOrder(store, ports.master, ports.queue, clock, ports.ids, limits, gate),
        preview=PreviewOrder(ports.master, clock, ports.ids, limits, gate),
        read=ReadOrders(store),
        cancel=RequestCancel(store, ports.queue),
        halt=halt,
        resume=ResumeTrading(store),
        kill=KillTrading(store, ports.queue, halt),
        pause=PauseOrder(store, ports.queue),
        resolve=ResolveExecution(store, ports.queue),
        review=ReviewTrading(store, ports.queue),
        feed=JournalFeed(ports.watched, clock),
        postbacks=Postbacks(zerodha_api_secret, ports.queue),
        store=store,
        clock=clock,
    )


def limits_of(settings: Settings) -> PaceLimits:
    return PaceLimits(
        per_second=settings.orders_per_second,
        per_minute=settings.orders_per_minute,
        per_day=settings.orders_per_day,
    )


def listed_instruments(
    market: MarketSettings, database: Database, clock: Clock
) -> PostgresInstrumentMaster | None:
    """Those of a real broker; the virtual one has every instrument."""
    if market.broker == VIRTUAL:
        return None
    return PostgresInstrumentMaster(database, clock, market.broker, reading=market.freeze_reading)


@asynccontextmanager
async def open_ports(settings: Settings, metrics: Metrics) -> AsyncIterator[Ports]:
    """The real ports; without REDIS_URL hints go nowhere and the workers find the orders by polling.

    A real broker's instruments are those that `pulse instruments sync` has stored.
    """
    clock = SystemClock()
    pool = await create_pool(settings.database_url, size=settings.database_pool_size)
    watching = await create_pool(settings.database_url, size=WATCHING_CONNECTIONS)
    queue: WorkQueue = InProcessQueue()
    if settings.redis_url is not None:
        dropped = Counter(
            "work_hints_dropped", "Hints to the workers that the queue did not take.", registry=metrics.registry
        )
        queue = DramatiqQueue(redis_broker(settings.redis_url, CarryIds()), on_drop=dropped.inc)
    listed = listed_instruments(settings.market, Database(pool), clock)
    try:
        yield Ports(
            store=PostgresOrderStore(Database(pool)),
            watched=PostgresOrderStore(Database(watching)),
            queue=queue,
            master=listed or VirtualInstrumentMaster(),
            clock=clock,
            ids=RandomIds(clock),
            closing_auction=listed.closing_auction if listed else None,
        )
    finally:
        await queue.close()
        await watching.close()
        await pool.close()
