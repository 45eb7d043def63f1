"""What a background process is made of."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from prometheus_client import Counter, Gauge, Histogram

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.session_locks import PostgresLeadership, PostgresPresence
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.tick_partitions import TickPartitions
from pulse_adapters.queue.memory import InProcessQueue
from pulse_background.background import BackgroundPorts
from pulse_background.kotak import open_kotak
from pulse_background.risk import risk_loops
from pulse_background.settings import Settings
from pulse_background.telegram import open_telegram
from pulse_background.traffic import MeteredLimiter, TrafficMetrics, create_limiter
from pulse_background.virtual import open_market, open_virtual_broker
from pulse_background.workers.partition_keeper import PartitionKeeper
from pulse_background.workers.slice_executor import always_open
from pulse_background.zerodha import OpenBroker, open_zerodha
from pulse_domain.ports.clock import Clock
from pulse_domain.traffic import Unlimited
from service_kit import Metrics

_LATENESS_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60)


@asynccontextmanager
async def open_ports(settings: Settings, metrics: Metrics) -> AsyncIterator[BackgroundPorts]:
    clock = SystemClock()
    lateness = Histogram(
        "slice_lateness_seconds",
        "From the scheduled instant to the call at the broker.",
        registry=metrics.registry,
        buckets=_LATENESS_BUCKETS_S,
    )
    skew = Gauge(
        "clock_skew_seconds", "How far this process is ahead of the database.", registry=metrics.registry
    )
    quotes_failed = Counter(
        "quote_read_failures",
        "Reads of the quotes that the virtual broker fills by, and that failed.",
        registry=metrics.registry,
    )
    untold = Counter(
        "notifications_dropped",
        "Notifications of which a chat was not told.",
        registry=metrics.registry,
    )
    traffic = TrafficMetrics(metrics.registry)
    pool = await create_pool(settings.database_url, size=settings.database_pool_size)
    try:
        async with open_broker(settings, Database(pool), clock, quotes_failed.inc) as opened:
            store, executor_id = PostgresOrderStore(Database(pool)), RandomIds(clock).executor_id()
            limiter = create_limiter(settings, store, clock, executor_id)
            if not isinstance(limiter, Unlimited):
                limiter = MeteredLimiter(limiter, traffic, clock)
            try:
                async with open_telegram(
                    settings.telegram,
                    store,
                    Database(pool),
                    opened.is_open,
                    clock,
                    broker=settings.virtual_broker_reads or settings.broker_type,
                    on_drop=untold.inc,
                ) as telegram:
                    yield BackgroundPorts(
                        store=store,
                        broker=opened.broker,
                        clock=clock,
                        leadership=PostgresLeadership(settings.database_url),
                        presence=PostgresPresence(settings.database_url, executor_id),
                        executor_id=executor_id,
                        on_sent=lateness.observe,
                        is_open=opened.is_open,
                        limiter=limiter,
                        on_breaker=traffic.show_breaker,
                        on_skew=skew.set,
                        notify=telegram.notify,
                        leader_loops=(
                            *telegram.leader_loops,
                            tick_days(settings, Database(pool), clock),
                            *risk_loops(
                                settings,
                                store,
                                Database(pool),
                                clock,
                                RandomIds(clock),
                                # The loops find what is stored by their polls.
                                InProcessQueue(),
                                telegram.notify,
                                opened.reads,
                            ),
                        ),
                    )
            finally:
                await limiter.close()
    finally:
        await pool.close()


def tick_days(settings: Settings, database: Database, clock: Clock) -> Callable[[], Awaitable[None]]:
    """The leader's loop that makes and drops the days of ticks."""
    partitions = TickPartitions(database, retention_days=settings.tick_retention_days)
    return PartitionKeeper(partitions, clock).run


@asynccontextmanager
async def open_broker(
    settings: Settings, database: Database, clock: Clock, on_quotes_failed: Callable[[], object]
) -> AsyncIterator[OpenBroker]:
    """The broker that the settings choose.

    Raises:
        PulseError: it cannot be opened; the text says why.
    """
    if settings.zerodha is None and settings.kotak is None:
        async with open_market(settings, clock) as market:
            yield OpenBroker(market.exchange, always_open)
        return
    async with _open_real(settings, database, clock) as real:
        if settings.virtual_broker_reads is None:
            yield real
            return
        assert real.reads is not None, "a real broker has them"
        async with open_virtual_broker(
            settings, real.reads, clock, on_quotes_failed=on_quotes_failed
        ) as virtual:
            # Without a session there are no quotes, so nothing would come of an order.
            yield OpenBroker(virtual, real.is_open, circuits=real.circuits)


def _open_real(settings: Settings, database: Database, clock: Clock) -> AbstractAsyncContextManager[OpenBroker]:
    if settings.zerodha is not None:
        return open_zerodha(settings.zerodha, database, clock)
    assert settings.kotak is not None
    return open_kotak(settings.kotak, database, clock)
