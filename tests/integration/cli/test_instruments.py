"""`pulse instruments` against a real database, and the real files where they are."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pulse.cli import main
from tests.unit.instruments.made_up import (
    kite_dump,
    kite_future,
    kite_row,
    kotak_contract,
    kotak_dump,
    kotak_row,
)

REAL = Path(__file__).parents[4] / "shared/data/instruments"
KITE = kite_dump(
    kite_row(11, "TCS", "TATA CONSULTANCY", tick="0.1"),
    kite_row(1001, "NIFTY 50", "NIFTY 50", tick="0.0", lot="0", segment="INDICES"),
    kite_row(12, "BROKEN", tick="0"),
    kite_future(13, "TCS30DECFUT", "TCS", "2030-12-31", lot="175"),
)
KOTAK = kotak_dump(
    kotak_row(11, "TCS", tick="10", freeze="9000"),
    kotak_contract(13, "TCS30DECFUT", "TCS", expiry=1609425000, lot="175", freeze="5000"),
)


@pytest.fixture(autouse=True)
def dsn(migrated_dsn: str, database: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty tables, and the command told where they are."""
    monkeypatch.setenv("DATABASE_URL", migrated_dsn)


async def run(*arguments: str) -> int:
    # The command has an event loop of its own.
    return await asyncio.to_thread(main, list(arguments))


def write(path: Path, lines: list[str]) -> str:
    path.write_text("".join(lines))
    return str(path)


async def test_sync_reports_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "kite.csv", KITE)

    assert await run("instruments", "sync", "--file", file) == 0

    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["line 4: BROKEN: tick size 0: nothing can be traded on it; left out"]
    assert "skipped 1: index" in captured.out
    assert "zerodha: 2 instruments of 4 rows, 1 bad; 2 added, 0 changed, 0 ended" in captured.out


async def test_sync_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "kite.csv", KITE)
    await run("instruments", "sync", "--file", file)
    capsys.readouterr()

    assert await run("instruments", "sync", "--file", file, "--json") == 0

    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in ("rows", "listed", "added", "changed", "ended", "unchanged")} == {
        "rows": 4, "listed": 2, "added": 0, "changed": 0, "ended": 0, "unchanged": 2,
    }  # fmt: skip
    assert told["bad"] == [
        {"line": 4, "symbol": "BROKEN", "reason": "tick size 0: nothing can be traded on it"}
    ]


async def test_one_exchange_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "kite.csv", KITE)

    assert await run("instruments", "sync", "--file", file, "--exchange", "NFO") == 0

    assert "1 instruments of 4 rows" in capsys.readouterr().out
    assert await run("instruments", "show", "NSE:TCS") == 1


async def test_show_has_the_terms_of_every_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await run("instruments", "sync", "--file", write(tmp_path / "kite.csv", KITE))
    await run("instruments", "sync", "--broker", "kotak", "--file", write(tmp_path / "kotak.csv", KOTAK))
    capsys.readouterr()

    assert await run("instruments", "show", "NSE:TCS", "--json") == 0

    zerodha, kotak = json.loads(capsys.readouterr().out)
    assert (zerodha["broker_symbol"], kotak["broker_symbol"]) == ("TCS", "TCS-EQ")
    assert (zerodha["tick_size"], zerodha["closing_auction"]) == ("0.1", True)
    # Kite prints no freeze quantity: it is Kotak's, less what may trip it.
    assert (zerodha["freeze_quantity"], zerodha["largest_order"]) == (9000, 8999)

    assert await run("instruments", "show", "NSE:TCS") == 0
    assert "TCS-EQ" in capsys.readouterr().out


async def test_what_no_broker_lists_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("instruments", "show", "NSE:NOSUCH") == 1
    assert capsys.readouterr().err.startswith("INVALID_INSTRUMENT: NSE:NOSUCH is not listed")


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
async def test_the_real_files(capsys: pytest.CaptureFixture[str]) -> None:
    for broker, name in (
        ("zerodha", "kite_nse.csv"),
        ("zerodha", "kite_nfo_sample.csv"),
        ("kotak", "kotak_nse_cm_sample.csv"),
    ):
        assert await run("instruments", "sync", "--broker", broker, "--file", str(REAL / name)) == 0
    assert capsys.readouterr().err == ""

    assert await run("instruments", "show", "NSE:RELIANCE", "--json") == 0

    zerodha, kotak = json.loads(capsys.readouterr().out)
    assert (zerodha["tick_size"], kotak["tick_size"]) == ("0.1", "0.05")
    assert zerodha["closing_auction"] is True
