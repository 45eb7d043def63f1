"""Minute candles over REST: what the broker answers, and what becomes of answers that are none."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from pulse_adapters.clock import SystemClock
from pulse_adapters.zerodha.history import MinuteHistory
from pulse_adapters.zerodha.line import Line
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from tests.integration.feeds.making import INFY, KITE_TOKENS, UNLISTED, tokens_of, zerodha_sessions
from tests.unit.zerodha.kite_server import KiteServer, failure, kite_server, success

TEN = datetime.fromisoformat("2026-01-20T10:00:00+05:30")


@pytest_asyncio.fixture
async def kite() -> AsyncIterator[KiteServer]:
    async with kite_server() as server:
        yield server


@pytest_asyncio.fixture
async def history(kite: KiteServer) -> AsyncIterator[MinuteHistory]:
    clock = SystemClock()
    history = MinuteHistory(zerodha_sessions("token", clock), tokens_of(KITE_TOKENS), clock)
    history.line = Line(api_key="key", base_url=kite.base_url, clock=clock, pool_size=1)
    yield history
    await history.line.close()


def row(minute: int, *cells: Any) -> list[Any]:
    start = TEN + timedelta(minutes=minute)
    return [start.strftime("%Y-%m-%dT%H:%M:%S%z"), *(cells or (1500.1, 1501, 1499.95, 1500.05, 120))]


async def read(history: MinuteHistory, instrument: Instrument = INFY) -> list[Candle]:
    return list(await history.read(instrument, TEN, TEN + timedelta(minutes=2)))


async def test_candles_are_read_without_what_was_not_asked_for(
    kite: KiteServer, history: MinuteHistory
) -> None:
    kite.then(success({"candles": [row(-1), row(0), row(1), row(2)]}))

    candles = await read(history)

    prices = [Decimal(text) for text in ("1500.1", "1501", "1499.95", "1500.05")]
    assert candles == [Candle(INFY, TEN + timedelta(minutes=n), *prices, 120) for n in range(2)]
    (request,) = kite.requests
    assert request.path.partition("?")[0] == "/instruments/historical/408065/minute"


@pytest.mark.parametrize(
    "data",
    [
        {}, {"candles": None}, {"candles": [["when", 1, 1, 1, 1, 1]]}, {"candles": [row(0, 1, 1, 1)]},
        {"candles": [row(0, "a", 1, 1, 1, 1)]}, {"candles": [row(0, -1, 1, 1, 1, 1)]},
        {"candles": [row(0, None, 1, 1, 1, 1)]}, {"candles": [row(0, 1, 1, 1, 1, "many")]}, [], None,
    ],
)  # fmt: skip
async def test_an_answer_that_makes_no_sense_is_none(
    kite: KiteServer, history: MinuteHistory, data: Any
) -> None:
    kite.then(success(data))

    with pytest.raises(BrokerUnavailable):
        await read(history)


@pytest.mark.parametrize(("status", "kind"), [(403, "TokenException"), (429, "NetworkException"), (400, None)])
async def test_a_refusal_is_told(
    kite: KiteServer, history: MinuteHistory, status: int, kind: str | None
) -> None:
    kite.then(failure(status, kind))

    with pytest.raises(BrokerUnavailable):
        await read(history)


async def test_what_the_broker_does_not_list_has_no_history(kite: KiteServer, history: MinuteHistory) -> None:
    with pytest.raises(BrokerUnavailable):
        await read(history, UNLISTED)

    assert kite.requests == []
