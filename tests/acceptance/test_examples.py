"""The examples run as their first lines say, on made-up candles and on a file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pulse_domain.backtest import synthetic_candles
from tests.acceptance.conftest import PULSE

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*command: str | Path, folder: Path, seconds: float = 60) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def candle_file(folder: Path, days: int, seed: int = 0) -> Path:
    rows = [
        f"{it.start.isoformat()},{it.open},{it.high},{it.low},{it.close},{it.volume}"
        for it in synthetic_candles("NSE:TCS", days=days, seed=seed)
    ]
    path = folder / "candles.csv"
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows, ""]))
    return path


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"live", "macd_trend", "nifty_freeze", "twap_study"}


@pytest.mark.parametrize("with_file", [False, True])
def test_macd_trend_trades_and_shows_what_came_of_it(with_file: bool, tmp_path: Path) -> None:
    given = [candle_file(tmp_path, days=20)] if with_file else []

    said = run(sys.executable, EXAMPLES / "macd_trend.py", *given, folder=tmp_path)

    assert re.search(r"^equity +1,000,000.00 to \d", said, re.MULTILINE)
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d  SELL 100 at \d+\.\d\d$", said, re.MULTILINE)


@pytest.mark.parametrize("with_file", [False, True])
def test_twap_study_compares_three_ways_to_buy(with_file: bool, tmp_path: Path) -> None:
    given = [candle_file(tmp_path, days=30)] if with_file else []

    said = run(sys.executable, EXAMPLES / "twap_study.py", *given, folder=tmp_path)

    costs = {line[:7]: float(line.split("±")[1].split()[-1]) for line in said.splitlines()[3:]}
    assert costs.keys() == {"at once", "TWAP, 2", "VWAP, 2"}
    assert costs["at once"] > 2 * max(costs["TWAP, 2"], costs["VWAP, 2"]), said


def test_twap_study_says_when_there_are_too_few_days(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "twap_study.py"), str(candle_file(tmp_path, days=5))]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr == "there must be more than 21 days of candles\n"


@pytest.mark.parametrize("with_file", [False, True])
def test_nifty_freeze_keeps_to_lots_and_to_the_freeze_quantity(with_file: bool, tmp_path: Path) -> None:
    given = [candle_file(tmp_path, days=1)] if with_file else []

    said = run(sys.executable, EXAMPLES / "nifty_freeze.py", *given, folder=tmp_path)

    sent = [int(size.replace(",", "")) for size in re.findall(r"slice \d\.\d +([\d,]+) at", said)]
    assert sent == [1800, 450] * 8
    assert (tmp_path / "nifty_freeze.html").exists()


@pytest.mark.parametrize(
    ("example", "options"),
    [
        ("macd_trend", "--charges zerodha"),
        ("twap_study", "--slippage-bps 2 --capital 100000000000"),
        ("nifty_freeze", "--lot 75 --tick 0.05 --freeze 1800 --capital 300000000"),
    ],
)
def test_the_command_runs_what_has_a_strategy_or_orders(example: str, options: str, tmp_path: Path) -> None:
    candles = f"NFO:NIFTY26JANFUT={candle_file(tmp_path, days=30)}"
    file = EXAMPLES / f"{example}.py"

    said = run(PULSE, "backtest", "run", file, "--candles", candles, *options.split(), folder=tmp_path)

    assert re.search(r"^orders +[1-9]", said, re.MULTILINE)


def test_one_strategy_runs_in_a_backtest_and_live(tmp_path: Path) -> None:
    given = candle_file(tmp_path, days=1, seed=11)

    said = run(sys.executable, EXAMPLES / "live.py", given, folder=tmp_path, seconds=90).splitlines()

    # Side, quantity, and twice the time and price of a trade.
    rows = [line.split() for line in said[2:]]
    both = [row for row in rows if len(row) == 6]
    assert both, said
    _, _, _, tested, _, lived = both[0]
    assert abs(float(tested) - float(lived)) < 5
