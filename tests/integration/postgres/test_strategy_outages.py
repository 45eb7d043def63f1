"""The store of strategies while its server is away, and when it is back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio

from pulse_adapters.embedded import EmbeddedPostgres
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_domain.errors import StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import Checkpoint, StrategyMode, StrategyState, StrategyStore
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_strategies import InMemoryStrategyStore

_AT = datetime(2026, 1, 20, 4, tzinfo=UTC)


def _put(store: StrategyStore) -> Awaitable[Any]:
    return store.put(
        "macd-tcs",
        kind="macd",
        instruments=(Instrument.parse("NSE:TCS"),),
        parameters={"fast": 12},
        mode=StrategyMode.PAPER,
        changed_by="asha",
    )


METHODS: dict[str, Callable[[StrategyStore], Awaitable[Any]]] = {
    "put": _put,
    "want": lambda store: store.want("macd-tcs", StrategyState.RUNNING, "asha"),
    "report": lambda store: store.report("macd-tcs", 1, StrategyState.FAILED, "why"),
    "rows": lambda store: store.rows(),
    "save_checkpoint": lambda store: store.save_checkpoint(
        Checkpoint(name="macd-tcs", version=1, at=_AT, state={"seen": 1})
    ),
    "checkpoint": lambda store: store.checkpoint("macd-tcs", 1),
}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(None, durable=False) as running:
        await migrate(running.dsn)
        yield running


async def answers(store: StrategyStore) -> dict[str, str]:
    found = {}
    for name, call in METHODS.items():
        try:
            await call(store)
            found[name] = "answered"
        except Exception as error:
            found[name] = type(error).__name__
    return found


def test_every_method_of_the_port_is_tried_here() -> None:
    assert METHODS.keys() == {name for name in vars(StrategyStore) if not name.startswith("_")}


async def test_server_that_is_away_is_a_named_error_in_every_method(server: EmbeddedPostgres) -> None:
    pool = await create_pool(server.dsn)
    store = PostgresStrategyStore(Database(pool))
    try:
        before = await answers(store)
        server.halt("immediate")
        away = await answers(store)
        server.resume()
        back = await answers(store)
        [row] = await store.rows()
    finally:
        pool.terminate()

    assert before == back == dict.fromkeys(METHODS, "answered")
    assert away == dict.fromkeys(METHODS, StorageUnavailable.__name__)
    assert (row.plan.version, row.state) == (1, StrategyState.FAILED)


async def test_store_in_memory_fails_the_same_way() -> None:
    store = InMemoryStrategyStore(FakeClock())
    await _put(store)
    store.down = True

    assert set((await answers(store)).values()) == {StorageUnavailable.__name__}

    store.down = False
    assert len(await store.rows()) == 1
