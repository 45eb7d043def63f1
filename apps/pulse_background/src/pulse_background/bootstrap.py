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
from pulse_background.settings import Settings
from pulse_background.virtual import open_market
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
    pool = await create_pool(settings.database_url, size=settings.database_pool_size)
    try:
        async with open_market(settings.market_feed, settings.feed_speed, clock) as market:
            yield BackgroundPorts(
                store=PostgresOrderStore(Database(pool)),
                broker=market.exchange,
                clock=clock,
                leadership=PostgresLeadership(settings.database_url),
                executor_id=RandomIds(clock).executor_id(),
                on_sent=lateness.observe,
            )
    finally:
        await pool.close()
