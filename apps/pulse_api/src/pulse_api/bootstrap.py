"""What the service is made of, put together by plain calls."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from msgspec import Struct
from prometheus_client import Counter

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.market_settings import VIRTUAL, MarketSettings
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.queue.dramatiq import DramatiqQueue
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.queue.redis_broker import redis_broker
from pulse_adapters.risk_gate import build_risk_gate
from pulse_adapters.risk_settings import RiskSettings, SquareOff
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_api.journal_feed import JournalFeed
from pulse_api.postbacks import Postbacks
from pulse_api.settings import Settings
from pulse_domain.instruments import Instrument
from pulse_domain.ports.audit_log import AuditLog
from pulse_domain.ports.candle_store import CandleStore
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.ports.strategy_store import StrategyStore
from pulse_domain.ports.work_queue import WorkQueue
from pulse_domain.splitting import PaceLimits
from pulse_domain.use_cases.accept import AcceptOrder
from pulse_domain.use_cases.cancel import RequestCancel
from pulse_domain.use_cases.halt import HaltTrading, ResumeTrading
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.ledger import ReadLedger
from pulse_domain.use_cases.market_gate import MarketGate
from pulse_domain.use_cases.pause import PauseOrder
from pulse_domain.use_cases.positions import ReadPositions
from pulse_domain.use_cases.preview import PreviewOrder
from pulse_domain.use_cases.read import ReadOrders
from pulse_domain.use_cases.resolve import ResolveExecution
from pulse_domain.use_cases.review import ReviewTrading
from pulse_domain.use_cases.strategies import ManageStrategies, shipped_only
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
    strategies: StrategyStore
    audit: AuditLog
    prices: PriceBoard | None = None
    candles: CandleStore | None = None
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
    strategies: ManageStrategies
    positions: ReadPositions
    ledger: ReadLedger
    store: OrderStore
    clock: Clock


def services(
    ports: Ports,
    limits: PaceLimits,
    market: MarketSettings,
    zerodha_api_secret: str | None,
    risk: RiskSettings | None = None,
    on_refused: Callable[[str], object] = lambda rule: None,
) -> Services:
    """on_refused: told of every rule of the risk gate that refused an order."""
    store, clock = ports.store, ports.clock
    risk = risk or RiskSettings()
    calendar = DatedCalendar(market.calendar, ports.closing_auction)
    gate = MarketGate(market.rules, calendar)
    risk_gate = build_risk_gate(
        risk.limits,
        store,
        ports.prices,
        ports.candles,
        ports.audit,
        calendar,
        clock,
        charges=market.charges,
        watched=ports.watched,
        on_refused=on_refused,
    )
    halt = HaltTrading(store, clock)
    return Services(
        accept=AcceptOrder(store, ports.master, ports.queue, clock, ports.ids, limits, gate, risk_gate),
        preview=PreviewOrder(ports.master, clock, ports.ids, limits, gate, risk_gate),
        read=ReadOrders(store),
        cancel=RequestCancel(store, ports.queue),
        halt=halt,
        resume=ResumeTrading(store),
        kill=KillTrading(store, ports.queue, halt, squares_off=risk.square_off is SquareOff.MARKET),
        pause=PauseOrder(store, ports.queue),
        resolve=ResolveExecution(store, ports.queue),
        review=ReviewTrading(store, ports.queue),
        feed=JournalFeed(ports.watched, clock),
        postbacks=Postbacks(zerodha_api_secret, ports.queue),
        strategies=ManageStrategies(ports.strategies, ports.audit, shipped_only),
        # They read much: not on the connections that acceptances wait for.
        positions=ReadPositions(ports.watched, ports.prices, market.charges, ports.candles),
        ledger=ReadLedger(ports.watched),
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
            strategies=PostgresStrategyStore(Database(pool)),
            audit=PostgresAuditLog(Database(pool)),
            prices=PostgresPriceBoard(Database(pool)),
            candles=PostgresCandleStore(Database(watching)),
            closing_auction=listed.closing_auction if listed else None,
        )
    finally:
        await queue.close()
        await watching.close()
        await pool.close()
