"""`pulse ticks` and `pulse candles` against a real database: what is exported is what a backtest reads."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from pulse.cli import main
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.ticks import PostgresTickStore
from pulse_domain.backtest.files import read_candles, read_ticks
from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.tick_store import TickBatch

TCS = Instrument.parse("NSE:TCS")
OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)
FORMATS = ["ticks.csv", "ticks.csv.gz", "ticks.parquet", "TICKS.CSV"]


@pytest.fixture(autouse=True)
def dsn(migrated_dsn: str, database: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty tables, and the command told where they are."""
    monkeypatch.setenv("DATABASE_URL", migrated_dsn)


async def run(*arguments: str) -> int:
    # The command has an event loop of its own.
    return await asyncio.to_thread(main, list(arguments))


async def store_ticks(database: asyncpg.Pool, count: int = 12_000) -> list[Tick]:
    ticks = [
        Tick(
            TCS, OPEN + timedelta(microseconds=1, seconds=number), Decimal(300_000 + number).scaleb(-2),
            Decimal("2999.95") if number % 2 else None, Decimal("4000.0025") if number % 3 else None,
            number * 10,
        )
        for number in range(count)
    ]  # fmt: skip
    store = PostgresTickStore(Database(database))
    recording = await store.begin("synthetic")
    await store.save(TickBatch(recording=recording, first=1, ticks=ticks))
    return ticks


async def store_candles(database: asyncpg.Pool, minutes: int, count: int = 40) -> list[Candle]:
    low, opens, closes, high = (Decimal(text) for text in ("2999.95", "3000.05", "3001.50", "3002.00"))
    candles = [
        Candle(TCS, OPEN + timedelta(minutes=minutes * number), opens, high, low, closes, number + 1)
        for number in range(count)
    ]
    await PostgresCandleStore(Database(database)).save(
        [ClosedCandle(TCS, minutes, candle.start, candle) for candle in candles]
    )
    return candles


@pytest.mark.parametrize("name", FORMATS)
async def test_exported_ticks_are_read_back_as_they_were(
    database: asyncpg.Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ticks = await store_ticks(database)

    assert await run("ticks", "export", "NSE:TCS", str(tmp_path / name)) == 0

    assert capsys.readouterr().out.startswith("12000 ticks of NSE:TCS in ")
    assert list(read_ticks(tmp_path / name, TCS)) == ticks
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", FORMATS)
async def test_exported_candles_are_read_back_as_they_were(
    database: asyncpg.Pool, tmp_path: Path, name: str
) -> None:
    await store_candles(database, 1)
    fives = await store_candles(database, 5)

    assert await run("candles", "export", "NSE:TCS", str(tmp_path / name), "--minutes", "5") == 0

    found = list(read_candles(tmp_path / name, TCS, interval=timedelta(minutes=5)))
    assert [(it.start, it.open, it.high, it.low, it.close, it.volume) for it in found] == [
        (it.start, it.open, it.high, it.low, it.close, it.volume) for it in fives
    ]


async def test_a_range_is_exported_by_days_or_instants(
    database: asyncpg.Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await store_ticks(database, 100)

    async def exported(*bounds: str) -> int:
        code = await run("ticks", "export", "NSE:TCS", str(tmp_path / "t.csv"), "--json", "--force", *bounds)
        assert code == 0
        rows: int = json.loads(capsys.readouterr().out)["rows"]
        return rows

    assert await exported("--from", "2026-01-20", "--to", "2026-01-20") == 100
    assert await exported("--from", "2026-01-20T09:15:10+05:30") == 90
    assert await exported("--to", "2026-01-20T09:15:10+05:30") == 10


async def test_nothing_stored_is_one_line_and_leaves_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run("ticks", "export", "NSE:TCS", str(tmp_path / "t.parquet")) == 1
    assert await run("candles", "export", "NSE:TCS", str(tmp_path / "c.csv")) == 1

    assert capsys.readouterr().err.splitlines() == [
        "no ticks of NSE:TCS are stored in that time",
        "no candles of 1 min of NSE:TCS are stored in that time",
    ]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["TCS", "t.csv"], "instrument must be written EXCHANGE:SYMBOL"),
        (["NSE:TCS", "t.xlsx"], "t.xlsx must end in one of .csv, .csv.gz, .parquet"),
        (["NSE:TCS", ".csv"], "must end in one of"),
        (["NSE:TCS", "there.csv"], "there.csv exists already: --force replaces it"),
        (["NSE:TCS", "nowhere/t.csv"], "nowhere is no folder"),
        (["NSE:TCS", "t.csv", "--from", "today"], "--from must be ISO 8601"),
        (["NSE:TCS", "t.csv", "--from", "2026-01-21", "--to", "2026-01-20"], "--from must be before --to"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("precious")

    assert main(["ticks", "export", *arguments]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert Path("there.csv").read_text() == "precious"


async def test_without_a_database_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    assert await run("candles", "export", "NSE:TCS", str(tmp_path / "c.csv"), "--minutes", "5") == 2
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/nowhere")
    assert await run("ticks", "recordings") == 1

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("DATABASE_URL is not set")
    assert lines[1].startswith("DATABASE_ERROR: ")
    assert "secret" not in "".join(lines)


async def test_recordings_show_what_was_lost(
    database: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    store, tick = PostgresTickStore(Database(database)), Tick(TCS, OPEN, Decimal(1))
    killed, ended = await store.begin("synthetic"), await store.begin("zerodha")
    for recording in (killed, ended):
        for first in (1, 4):
            await store.save(TickBatch(recording=recording, first=first, ticks=[tick, tick]))
    await store.end(ended, 9)

    assert await run("ticks", "recordings", "--json") == 0
    one, other = json.loads(capsys.readouterr().out)
    assert (one["source"], one["ended_at"], one["received"], one["stored"], one["lost"]) == (
        "synthetic", "not ended", 5, 4, 1
    )  # fmt: skip
    assert (other["source"], other["received"], other["stored"], other["lost"]) == ("zerodha", 9, 4, 5)

    assert await run("ticks", "recordings") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-3:] for line in lines[1:] if line.split()[-1:] in (["1"], ["5"])] == [
        ["5", "4", "1"], ["9", "4", "5"]
    ]  # fmt: skip
