"""Rows that are encoded by hand are what Postgres reads."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import asyncpg
import pytest

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.tables import market_ticks
from pulse_adapters.postgres.tick_rows import COLUMNS, TickRows, encode_numeric
from pulse_adapters.postgres.ticks import PostgresTickStore
from pulse_domain.errors import StorageRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.tick_store import TickBatch

TCS = Instrument.parse("NSE:TCS")
START = datetime(2026, 1, 20, tzinfo=UTC)


def prices() -> list[Decimal]:
    rng = Random(20)
    texts = [
        "0", "0.00", "-0", "1", "-1", "10000", "9999.9999", "0.0001", "0.00010000", "0.05", "1E+5", "1.50E+2",
        "12345678901234567890.1234", "-3000.05", "99999999.99990000", "1E-20",
    ]  # fmt: skip
    made = [Decimal(rng.randint(-(10**12), 10**12)).scaleb(-rng.randint(0, 6)) for _ in range(2000)]
    return [Decimal(text) for text in texts] + made


async def test_every_number_is_read_as_it_was(database: asyncpg.Pool) -> None:
    store, known = PostgresTickStore(Database(database)), prices()
    ticks = [
        Tick(TCS, START + timedelta(seconds=number), price, day_low=price) for number, price in enumerate(known)
    ]
    recording = await store.begin("synthetic")
    await store.save(TickBatch(recording=recording, first=1, ticks=ticks))

    found = await database.fetch(
        "SELECT ltp, bid, day_low, CAST(ltp AS text) AS told FROM market_ticks ORDER BY seq"
    )

    assert [row["ltp"] for row in found] == [row["day_low"] for row in found] == known
    assert all(row["bid"] is None for row in found)
    told = dict(zip(known, (row["told"] for row in found), strict=True))
    assert (told[Decimal("0.05")], told[Decimal(10_000)], told[Decimal("0.0001")]) == (
        "0.05",
        "10000.00",
        "0.0001",
    )


async def test_instants_are_exact_to_the_microsecond(database: asyncpg.Pool) -> None:
    store = PostgresTickStore(Database(database))
    instants = [START, START + timedelta(microseconds=1), START + timedelta(days=1, microseconds=-1)]
    recording = await store.begin("synthetic")
    await store.save(
        TickBatch(recording=recording, first=1, ticks=[Tick(TCS, at, Decimal(1)) for at in instants])
    )

    assert [row[0] for row in await database.fetch("SELECT timestamp FROM market_ticks ORDER BY 1")] == instants


def test_the_columns_are_those_of_the_table() -> None:
    assert tuple(column.name for column in market_ticks.columns) == COLUMNS


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+400", "1E-400", "1" * 40])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(StorageRejected):
        TickRows().encode([Tick(TCS, START, Decimal(text))], {TCS: 1}, 1)


@pytest.mark.parametrize("volume", [2**63, -(2**63) - 1])
def test_a_volume_out_of_range_is_refused(volume: int) -> None:
    with pytest.raises(StorageRejected):
        TickRows().encode([Tick(TCS, START, Decimal(1), volume=volume)], {TCS: 1}, 1)


def test_equal_prices_are_written_alike() -> None:
    assert len({encode_numeric(Decimal(text)) for text in ("100", "100.0", "100.00", "1E+2", "100.0000")}) == 1
