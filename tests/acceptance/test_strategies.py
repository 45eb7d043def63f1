"""`pulse up --strategy`: a day of ticks becomes candles, signals, risk decisions, orders, fills, messages."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from pulse_adapters.embedded import EmbeddedPostgres
from pulse_adapters.feeds.recordings import FeedFile
from pulse_adapters.feeds.replay_feed import ReplayMarketFeed
from pulse_domain.backtest import BacktestSettings, CandleSeries, run_backtest
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.matching import Candle
from pulse_domain.strategies import make_strategy
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.units import to_time
from tests.acceptance.conftest import pulse_up
from tests.integration.market.desk_process import TCS, candles_of, made_day, write_day
from tests.integration.telegram.fake_bot_api import TOKEN, FakeBotApi, bot_api_served

SHARED = Path(__file__).parents[3] / "shared/data/nse-ticks"
PARAMETERS = {
    "fast": "3", "slow": "6", "signal": "3", "trend": "6", "use_volume": "false", "max_quantity": "25",
}  # fmt: skip
# By their file: an hour of a future, and a whole session of an index, which is traded as it is shipped but for
# the volume that it does not have.
REAL_DAYS = {
    "hour": ("NFO-FUT_MCX-RELIND-TCS-TRENT_ticks_2025-11-17.csv.gz", PARAMETERS),
    "session": ("NIFTY50-INDEX_1s_2022-11-09.csv.gz", {"use_volume": "false", "max_quantity": "25"}),
}
PATIENCE_S = 180.0
_REFUSED = "SELECT detail FROM audit_log WHERE outcome = 'refused'"
_FILLS = "SELECT order_unique_key, price, quantity FROM fills JOIN orders USING (order_id) ORDER BY entry"


class Order(NamedTuple):
    at: datetime
    side: str
    quantity: int


class Day(NamedTuple):
    """What a day left: orders by key, fills with the key of their order, and what else is there of it."""

    orders: dict[str, Order]
    states: list[str]
    candles: dict[datetime, tuple[Any, ...]]
    fills: list[tuple[str, Decimal, int]]
    ledger: list[asyncpg.Record]
    refused: list[str]
    told: list[str]


@pytest.fixture(params=["generated", *REAL_DAYS])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file of ticks, and the parameters of the strategy."""
    if request.param == "generated":
        return write_day(tmp_path / "TCS.csv", made_day(75)), PARAMETERS
    name, parameters = REAL_DAYS[request.param]
    if not (SHARED / name).exists():
        pytest.skip("the shared ticks are not on this machine")
    return SHARED / name, parameters


def replayed_candles(file: Path) -> list[Candle]:
    """The minutes of the file's ticks as the feed gives them."""
    feed = ReplayMarketFeed(FakeClock(), {}, FeedFile(file))
    feed.subscribe([TCS])
    return candles_of(list(feed.ticks()))


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres) -> AsyncIterator[str]:
    name = f"day_{time.monotonic_ns()}"
    connection = await asyncpg.connect(server.dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    yield (
        server.dsn.rpartition("/")[0]
        + f"/{name}"
        + ("?" + server.dsn.partition("?")[2] if "?" in server.dsn else "")
    )


async def play(
    server: EmbeddedPostgres,
    bot: FakeBotApi,
    file: Path,
    last: datetime,
    parameters: Mapping[str, str] = PARAMETERS,
    /,
    **limits: str,
) -> Day:
    """A day on a state of its own, until its last candle was worked on."""
    told_before = len(bot.sent)
    options = [f"--param={name}={value}" for name, value in parameters.items()]
    async with fresh_database(server) as dsn:
        started = pulse_up(
            "--feed", f"replay:{file}", "--feed-speed", "3000", "--strategy", "macd:NSE:TCS", *options,
            DATABASE_URL=dsn, TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_CHAT_IDS="7", TELEGRAM_API_URL=bot.url,
            **limits,
        )  # fmt: skip
        # In a thread, as the bot is to be answered meanwhile.
        await asyncio.to_thread(started.__enter__)
        try:
            connection = await asyncpg.connect(dsn)
            await _until_over(connection, last)
            day = await read_day(connection)
            await connection.close()
        finally:
            # What is still to be told is told at the end.
            await asyncio.to_thread(started.__exit__, None, None, None)
    return day._replace(told=[sent.text for sent in bot.sent[told_before:]])


async def _until_over(connection: asyncpg.Connection, last: datetime) -> None:
    over = (
        "SELECT (state -> 'seat' -> 'candles' ->> 'NSE:TCS')::timestamptz = $1 FROM strategy_checkpoints"
        " WHERE name = 'macd'"
    )
    undone = "SELECT count(*) FROM order_slices WHERE stage <> 'PROCESSED'"
    deadline = time.monotonic() + PATIENCE_S
    while not await connection.fetchval(over, last) or await connection.fetchval(undone):
        assert time.monotonic() < deadline, "the day does not end"
        await asyncio.sleep(0.2)


async def read_day(connection: asyncpg.Connection) -> Day:
    orders = await connection.fetch("SELECT * FROM orders ORDER BY created_at")
    return Day(
        orders={row["order_unique_key"]: _order(row) for row in orders},
        states=[row["source"] for row in orders],
        candles={
            row["start"]: (row["open"], row["high"], row["low"], row["close"], row["volume"])
            for row in await connection.fetch(
                "SELECT * FROM candles WHERE instrument = 'NSE:TCS' AND minutes = 1 ORDER BY start"
            )
        },
        fills=[tuple(row) for row in await connection.fetch(_FILLS)],
        ledger=await connection.fetch("SELECT status, strategy_tag FROM order_ledger"),
        refused=[row["detail"] for row in await connection.fetch(_REFUSED)],
        told=[],
    )


def _order(row: asyncpg.Record) -> Order:
    instant = row["order_unique_key"].split(".")[2]
    return Order(
        datetime.strptime(instant, "%Y%m%dT%H%M%S").replace(tzinfo=UTC), row["side"], row["total_quantity"]
    )


async def test_a_day_of_ticks_is_traded_alike_twice_and_as_in_a_backtest(
    own_postgres: EmbeddedPostgres, recording: tuple[Path, dict[str, str]]
) -> None:
    file, parameters = recording
    candles = replayed_candles(file)
    limits = {"RISK_MAX_ORDER_QUANTITY": parameters["max_quantity"], "RISK_MAX_OPEN_ORDERS": "1"}
    async with bot_api_served() as bot:
        day = await play(own_postgres, bot, file, candles[-1].start, parameters, **limits)
        again = await play(own_postgres, bot, file, candles[-1].start, parameters, **limits)

    assert {
        each.start: (each.open, each.high, each.low, each.close, each.volume) for each in candles
    } == day.candles
    assert len(day.orders) >= 2, "a day on which nothing is traded shows nothing"
    assert len(day.fills) >= len(day.orders)
    assert {(row["status"], row["strategy_tag"]) for row in day.ledger} == {("TRADED", "macd")}
    assert set(day.states) == {"strategy"}
    assert any("Strategy macd: runs macd" in text for text in day.told)
    assert sum(text.count("Fill NSE:TCS") for text in day.told) == len(day.fills)
    assert again.orders == day.orders, "the same orders, by instant, side, quantity and key"

    result = run_backtest(
        make_strategy("macd", (TCS,), parameters),
        CandleSeries.from_candles(candles),
        settings=BacktestSettings(default_terms=InstrumentTerms(tick_size=Decimal("0.05"))),
    )
    assert list(day.orders.values()) == [
        Order(to_time(each.arrived_us).astimezone(UTC), str(each.request.side), each.request.total_quantity)
        for each in result.tracked_orders
    ]


async def test_a_limit_refuses_what_is_beyond_it(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    file = write_day(tmp_path / "TCS.csv", made_day(60))
    last = replayed_candles(file)[-1].start
    limits = {"RISK_MAX_ORDERS": "3", "RISK_ORDERS_WINDOW_SECONDS": "3600"}
    async with bot_api_served() as bot:
        day = await play(own_postgres, bot, file, last, **limits)

    assert len(day.orders) == 3
    assert day.refused
    assert all("ORDER_RATE" in refused for refused in day.refused)
