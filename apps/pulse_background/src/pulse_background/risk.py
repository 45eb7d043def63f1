"""The kill switch in the leader: where that is set it trips by itself, and positions are squared off."""

from collections.abc import Awaitable, Callable

from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.market_settings import VIRTUAL
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.risk_settings import SquareOff as SquareOffBy
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_background.alerts import Notify
from pulse_background.settings import Settings, pace_limits
from pulse_background.workers.risk_watch import RiskWatch
from pulse_domain.ports.broker_reads import BrokerReads
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.work_queue import WorkQueue
from pulse_domain.splitting import PaceLimits
from pulse_domain.use_cases.halt import HaltTrading
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.market_gate import MarketGate
from pulse_domain.use_cases.positions import DayResult, ReadPositions
from pulse_domain.use_cases.square_off import SquareOff


def risk_loops(
    settings: Settings,
    store: OrderStore,
    database: Database,
    clock: Clock,
    ids: Ids,
    queue: WorkQueue,
    notify: Notify,
    reads: BrokerReads | None,
) -> tuple[Callable[[], Awaitable[None]], ...]:
    """What the leader runs for the kill switch; nothing where neither is set.

    reads: the account at a real broker that takes our orders.
    """
    risk, market = settings.risk, settings.market
    squares_off = risk.square_off is SquareOffBy.MARKET
    if not squares_off and not risk.kill_on_daily_loss:
        return ()
    prices = PostgresPriceBoard(database)
    audit = PostgresAuditLog(database)
    listed = None
    if market.broker != VIRTUAL:
        listed = PostgresInstrumentMaster(database, clock, market.broker, reading=market.freeze_reading)
    calendar = DatedCalendar(market.calendar, listed.closing_auction if listed else None)
    square_off = None
    if squares_off:
        square_off = SquareOff(
            store,
            ReadPositions(store, prices, market.charges),
            listed or VirtualInstrumentMaster(),
            queue,
            ids,
            pace_limits(settings) or PaceLimits(),
            MarketGate(market.rules, calendar),
            audit,
            reads,
        )
    watch = RiskWatch(
        store,
        DayResult(store, prices, market.charges, PostgresCandleStore(database)),
        KillTrading(store, queue, HaltTrading(store, clock), squares_off=squares_off),
        square_off,
        clock,
        audit,
        notify,
        max_daily_loss=risk.limits.max_daily_loss if risk.kill_on_daily_loss else None,
        result_max_age=risk.limits.result_max_age,
    )
    return (watch.run,)
