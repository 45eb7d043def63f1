"""What a background process is made of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Histogram

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.leader import PostgresLeadership
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_background.background import BackgroundPorts
from pulse_background.kotak import open_kotak
from pulse_background.settings import Settings
from pulse_background.traffic import MeteredLimiter, TrafficMetrics, create_limiter
from pulse_background.virtual import open_market
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
    traffic = TrafficMetrics(metrics.registry)
    pool = await create_pool(settings.database_url, size=settings.database_pool_size)
    try:
        async with _open_broker(settings, Database(pool), clock) as opened:
            store, executor_id = PostgresOrderStore(Database(pool)), RandomIds(clock).executor_id()
            limiter = create_limiter(settings, store, clock, executor_id)
            if not isinstance(limiter, Unlimited):
                limiter = MeteredLimiter(limiter, traffic, clock)
            try:
                yield BackgroundPorts(
                    store=store,
                    broker=opened.broker,
                    clock=clock,
                    leadership=PostgresLeadership(settings.database_url),
                    executor_id=executor_id,
                    on_sent=lateness.observe,
                    is_open=opened.is_open,
                    limiter=limiter,
                    on_breaker=traffic.show_breaker,
                )
            finally:
                await limiter.close()
    finally:
        await pool.close()


@asynccontextmanager
async def _open_broker(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[OpenBroker]:
    if settings.zerodha is not None:
        async with open_zerodha(settings.zerodha, database, clock) as zerodha:
            yield zerodha
    elif settings.kotak is not None:
        async with open_kotak(settings.kotak, database, clock) as kotak:
            yield kotak
    else:
        async with open_market(settings.market_feed, settings.feed_speed, clock) as market:
            yield OpenBroker(market.exchange, always_open)
