"""What a market desk is made of, put together alike in a process of its own and in the all-in-one."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter

from pulse_adapters.bus.in_process import InProcessEventBus
from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.market_settings import VIRTUAL
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.postgres.ticks import PostgresTickStore
from pulse_adapters.queue.dramatiq import DramatiqQueue
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.queue.redis_broker import redis_broker
from pulse_adapters.risk_gate import build_risk_gate
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_background.alerts import Notify
from pulse_background.market.desk import DeskPorts, DeskSettings, MarketDesk
from pulse_background.market.feeds import OpenFeed, open_circuits, open_feed
from pulse_background.market_metrics import BusMetrics, DeskMetrics, RecorderMetrics
from pulse_background.settings import Settings, feed_instruments, pace_limits, words
from pulse_background.telegram import open_telegram
from pulse_background.workers.slice_executor import always_open
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.orders.model import NewOrder
from pulse_domain.ports.circuit_reads import CircuitReads
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.ports.work_queue import JobKind, WorkQueue
from pulse_domain.splitting import PaceLimits
from pulse_domain.use_cases.accept import AcceptOrder, SendAtOnce
from pulse_domain.use_cases.cancel import RequestCancel
from pulse_domain.use_cases.market_gate import MarketGate
from service_kit import Metrics
from service_kit.dramatiq_trace import CarryIds


def desk_settings(settings: Settings) -> DeskSettings:
    """What of the settings concerns the desk."""
    return DeskSettings(
        instruments=feed_instruments(settings),
        source=settings.market_feed.partition(":")[0],
        capital=Decimal(settings.strategy_capital),
        fresh_s=settings.strategy_fresh_seconds,
        call_timeout_s=settings.strategy_call_timeout_seconds,
        processes=frozenset(words(settings.strategy_processes)),
    )


def make_desk(
    settings: Settings,
    opened: OpenFeed,
    database: Database,
    clock: Clock,
    queue: WorkQueue,
    notify: Notify,
    *,
    master: InstrumentMaster | None = None,
    latest: dict[Instrument, Tick] | None = None,
    exchange: VirtualExchange | None = None,
    circuits: CircuitReads | None = None,
    registry: CollectorRegistry | None = None,
    send_at_once: SendAtOnce | None = None,
) -> MarketDesk:
    """Put a desk together.

    master: of the virtual exchange, where its ticks are those of a feed.
    latest, circuits: as in `DeskPorts`. registry: where its figures are shown.
    exchange: of this process, which is to fill by the ticks.
    send_at_once: of the workers of this process.
    """
    store, ids, market = PostgresOrderStore(database), RandomIds(clock), settings.market
    listed = None
    if market.broker != VIRTUAL:
        listed = PostgresInstrumentMaster(database, clock, market.broker, reading=market.freeze_reading)
    terms = listed or master or VirtualInstrumentMaster()
    calendar = DatedCalendar(market.calendar, listed.closing_auction if listed else None)
    board, candles = PostgresPriceBoard(database), PostgresCandleStore(database)
    refused: Callable[[str], object] = lambda rule: None  # noqa: E731
    if registry is not None:
        counter = Counter(
            "signals_refused", "Orders of strategies that a risk rule refused.", ["rule"], registry=registry
        )
        refused = lambda rule: counter.labels(rule).inc()  # noqa: E731
    gate, limits = MarketGate(market.rules, calendar), pace_limits(settings) or PaceLimits()

    def accept(on_new: Callable[[NewOrder], None], prices: PriceBoard) -> AcceptOrder:
        risk = build_risk_gate(
            settings.risk.limits,
            store,
            prices,
            candles,
            PostgresAuditLog(database),
            calendar,
            clock,
            charges=market.charges,
            on_refused=refused,
        )
        return AcceptOrder(store, terms, queue, clock, ids, limits, gate, risk, on_new, send_at_once)

    nothing: Callable[[object], None] = lambda prices: None  # noqa: E731
    bus = InProcessEventBus(clock)
    desk = MarketDesk(
        DeskPorts(
            bus=bus,
            feed=opened.feed,
            hours_at=opened.hours_at,
            store=store,
            strategies=PostgresStrategyStore(database),
            candles=candles,
            board=board,
            master=terms,
            accept=accept,
            cancel=RequestCancel(store, queue),
            clock=clock,
            recorded=opened.recorded,
            is_made_up=opened.is_made_up,
            # A recording is one already.
            ticks=None if opened.recorded is not None else PostgresTickStore(database),
            circuits=circuits,
            notify=notify,
            latest={} if latest is None else latest,
            on_ticks=nothing if exchange is None else exchange.on_ticks,
            on_backfill=nothing if exchange is None else exchange.on_candles,
        ),
        desk_settings(settings),
    )
    if registry is not None:
        BusMetrics(bus, registry)
        DeskMetrics(desk, registry)
        if desk.recorder is not None:
            RecorderMetrics(desk.recorder.figures, registry)
    return desk


@asynccontextmanager
async def open_desk(
    settings: Settings,
    metrics: Metrics,
    *,
    wake: Callable[[JobKind], None] = lambda kind: None,
    send_at_once: SendAtOnce | None = None,
    exchange: VirtualExchange | None = None,
) -> AsyncIterator[MarketDesk]:
    """A desk with connections of its own.

    wake, send_at_once: of the workers of this process, where there are any. Others are told of its orders
        through Redis; without REDIS_URL they find them by polling.
    exchange: as in `make_desk`.
    """
    clock = SystemClock()
    pool = await create_pool(settings.database_url, size=settings.database_pool_size)
    queue: WorkQueue
    if settings.redis_url is not None:
        queue = DramatiqQueue(redis_broker(settings.redis_url, CarryIds()))
    else:
        queue = own = InProcessQueue()
        for kind in JobKind:
            own.listen(kind, lambda job: wake(job.kind))
    try:
        database = Database(pool)
        opened = await open_feed(settings, database, clock)
        async with (
            open_circuits(settings, database, clock) as circuits,
            open_telegram(
                settings.telegram,
                PostgresOrderStore(database),
                database,
                always_open,
                clock,
                broker=settings.virtual_broker_reads or settings.broker_type,
            ) as telegram,
        ):
            yield make_desk(
                settings,
                opened,
                database,
                clock,
                queue,
                telegram.notify,
                exchange=exchange,
                circuits=circuits,
                registry=metrics.registry,
                send_at_once=send_at_once,
            )
    finally:
        await queue.close()
        await pool.close()
