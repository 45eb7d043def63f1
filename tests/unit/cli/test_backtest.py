"""`pulse backtest run`, on made-up candles in the working folder."""

import csv
import gzip
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pulse.cli import main
from pulse_domain.backtest import CandleSeries, synthetic_candles
from pulse_domain.errors import MissingExtra
from pulse_domain.strategies import STRATEGIES

DIPS = """
from pulse_domain.backtest import Strategy

class Dips(Strategy):
    def on_candle(self, candle):
        if not self.position(candle.instrument) and candle.close < candle.open:
            self.buy(candle.instrument, 100)
        elif candle.close > candle.open and self.position(candle.instrument):
            self.sell(candle.instrument, 100)
"""
ORDERS = """
from datetime import datetime
from pulse_domain.backtest import TimedOrder
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import OrderRequest, Product, Side, SplitConfig

def at(text):
    return datetime.fromisoformat(f"2026-01-05T{text}+05:30")

def order(quantity=75, side="BUY", symbol="NSE:TCS", **more):
    instrument = Instrument.parse(symbol)
    return OrderRequest(instrument=instrument, side=Side(side), total_quantity=quantity, **more)
"""
TCS = "--candles NSE:TCS=tcs.csv"


def text_of(series: CandleSeries) -> str:
    rows = [f"{c.start.isoformat()},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in series]
    return "\n".join(["timestamp,open,high,low,close,volume", *rows, ""])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a strategy, and two days of candles and of ticks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    tcs, infy = (
        synthetic_candles(f"NSE:{name}", days=2, seed=seed) for seed, name in enumerate(["TCS", "INFY"])
    )
    (tmp_path / "dips.py").write_text(DIPS)
    (tmp_path / "tcs.csv").write_text(text_of(tcs))
    (tmp_path / "infy.csv.gz").write_bytes(gzip.compress(text_of(infy).encode()))
    (tmp_path / "local.csv").write_text(text_of(tcs).replace("+05:30", ""))
    rows = text_of(tcs).splitlines()
    (tmp_path / "broken.csv").write_text(
        "\n".join([*rows[:6], "2026-01-05T09:20:00+05:30,1,2,3,1,0", *rows[7:]])
    )
    ticks = [f"{candle.start.isoformat()},{candle.open}" for candle in tcs]
    (tmp_path / "ticks.csv").write_text("\n".join(["timestamp,price", *ticks, ""]))
    return tmp_path


def figures(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*f"backtest run {line} --json".split()]) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out.count("\n") == 1
    answer: dict[str, Any] = json.loads(said.out)
    return answer


def orders_file(folder: Path, text: str) -> None:
    (folder / "orders.py").write_text(ORDERS + text)


def failure(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with code 2."""
    assert main(f"backtest run {line}".split()) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    return said.err.rstrip("\n")


# --- what is shown -----------------------------------------------------------------------------


def test_a_strategy_is_run_and_its_figures_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"backtest run dips.py {TCS}".split()) == 0

    said = capsys.readouterr()
    shown = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert said.err == ""
    assert list(shown) == ["candles", "time", "equity", "result", "drawdown", "ratios", "orders", "trades"]
    assert shown["candles"] == "750 of NSE:TCS"
    assert shown["time"] == "2026-01-05 09:15 to 2026-01-06 15:30, 2 days"
    assert shown["equity"].startswith("10,000,000.00 to ")


def test_of_few_orders_the_quality_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders_file(folder, "orders = [TimedOrder(request=order(), at=at('10:00'))]")

    assert main(f"backtest run orders.py {TCS}".split()) == 0

    rows = capsys.readouterr().out.splitlines()
    assert rows[-1].split()[:5] == ["order-1", "BUY", "75", "NSE:TCS", "FILLED"]
    assert "arrival" in rows[-3]


def test_json_is_all_that_is_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dips.py").write_text(DIPS.replace("        if", "        print('hello')\n        if", 1))

    answer = figures(f"dips.py {TCS}", capsys)

    assert answer.keys() == {
        "series", "seed", "statistics", "funds", "positions", "orders", "fills_digest",
    }  # fmt: skip
    assert answer["series"] == [{"instrument": "NSE:TCS", "kind": "candles", "rows": 750, "dropped": []}]
    assert answer["statistics"]["orders"] == len(answer["orders"])
    assert answer["orders"][0]["instrument"] == "NSE:TCS"
    assert answer["orders"][0]["quality"]["filled_quantity"] == 100
    assert len(answer["fills_digest"]) == 64


def test_the_same_run_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert figures(f"dips.py {TCS}", capsys) == figures(f"dips.py {TCS}", capsys)


def test_fills_are_written_to_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = figures(f"dips.py {TCS} --fills fills.csv", capsys)

    with (folder / "fills.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == answer["statistics"]["fills"]
    assert rows[0]["at"] == "2026-01-05T09:20:00+05:30"
    assert {row["instrument"] for row in rows} == {"NSE:TCS"}
    assert {row["side"] for row in rows} == {"BUY", "SELL"}
    value = sum(Decimal(row["price"]) * int(row["quantity"]) for row in rows)
    assert value == Decimal(answer["statistics"]["turnover"])


def test_a_report_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"backtest run dips.py {TCS} --report report.html".split()) == 0

    assert "<html" in (folder / "report.html").read_text()
    assert capsys.readouterr().err == ""


def test_without_plotly_the_figures_are_shown_and_the_report_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)

    assert main(f"backtest run dips.py {TCS} --report report.html".split()) == 2

    said = capsys.readouterr()
    assert "Sharpe" in said.out
    assert said.err == f"{MissingExtra('plotly', 'report')}\n"


def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"backtest run dips.py {TCS}".split()) == 0
    assert capsys.readouterr().err == ""

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(f"backtest run dips.py {TCS}".split()) == 0
    said = capsys.readouterr()
    assert "backtest" in said.err
    assert "━" in said.err
    assert "candles" in said.out

    monkeypatch.setenv("TERM", "dumb")
    assert main(f"backtest run dips.py {TCS}".split()) == 0
    assert capsys.readouterr().err == ""


# --- the user's file ---------------------------------------------------------------------------


def test_one_of_several_strategies_is_chosen_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "two.py").write_text(DIPS + "class Nothing(Dips):\n    def on_candle(self, candle): pass\n")

    assert figures(f"two.py {TCS} --strategy Nothing", capsys)["statistics"]["orders"] == 0
    assert figures(f"two.py {TCS} --strategy Dips", capsys)["statistics"]["orders"] > 0


def test_imported_and_private_strategies_do_not_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "base.py").write_text(DIPS)
    (folder / "mine.py").write_text(
        "from base import Dips\n"
        "class _Base(Dips): pass\n"
        "class Mine(_Base):\n"
        "    def on_candle(self, candle): pass\n"
    )

    assert figures(f"mine.py {TCS}", capsys)["statistics"]["orders"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "orders = [TimedOrder(request=order(), at=at('10:00'))]",
        "orders = (order(start_at=at('10:00')),)",
        "def orders():\n    return [TimedOrder(request=order(), at=at('10:00'))]",
        "def orders():\n    yield TimedOrder(request=order(), at=at('10:00'))",
        "def orders(data):\n"
        "    [candles] = data\n"
        "    assert len(candles.days()) == 2\n"
        "    return [TimedOrder(request=order(symbol=str(candles.instrument)), at=at('10:00'))]",
    ],
)
def test_orders_are_a_list_or_a_function(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders_file(folder, text)

    [order] = figures(f"orders.py {TCS}", capsys)["orders"]

    assert (order["instrument"], order["side"], order["state"]) == ("NSE:TCS", "BUY", "FILLED")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "user.py:1: invalid syntax"),
        ("\n\nimport numbers_of_mine\n", "user.py:3: ModuleNotFoundError: No module named 'numbers_of_mine'"),
        ("from pulse_domain.backtest import Strategist\n", "user.py:1: ImportError: cannot import name"),
        ("x = 1\nx / 0\n", "user.py:2: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "user.py:1: SystemExit: 3"),
        ("import beside\n", "beside.py:1: invalid syntax"),
        ("", "there is no strategy and no `orders`"),
        ("orders = 7\n", "`orders` is no list of orders, but of type int"),
        ("orders = ['buy']\n", "order 1 is neither a TimedOrder nor an OrderRequest, but of type str"),
        ("def orders():\n    yield 1 / 0\n", "user.py:2: ZeroDivisionError"),
        (DIPS + "class More(Dips): pass\n", "there are Dips, More: choose a strategy with --strategy"),
        (DIPS + "orders = []\n", "there are Dips, `orders`: choose a strategy with --strategy"),
        (
            DIPS + "    def __init__(self, fast, *, slow, mid=3): pass\n",
            "Dips cannot be made without fast, slow: give them defaults",
        ),
        (DIPS + "    def __init__(self):\n        self.x = {}['x']\n", "user.py:11: KeyError: 'x'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_that_says_where(
    text: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "beside.py").write_text("def :\n")
    (folder / "user.py").write_text(text)

    assert said in failure(f"user.py {TCS}", capsys)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nowhere.py", "nowhere.py: there is no such file"),
        (".", "cannot be read"),
        ("dips.py --strategy Peaks", "there is no strategy Peaks; there is Dips"),
        ("dips.py --strategy Strategy", "there is no strategy Strategy; there is Dips"),
    ],
)
def test_a_file_or_strategy_that_is_not_there(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in failure(f"{line} {TCS}", capsys)


# --- strategies that are shipped, and parameters ------------------------------------------------


def test_a_shipped_strategy_is_run_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in STRATEGIES:
        answer = figures(f"{kind} {TCS} --param short=true --param max_quantity=7", capsys)

        assert answer["statistics"]["trades"] > 0
        assert {order["quality"]["filled_quantity"] for order in answer["orders"]} == {7}


def test_a_report_of_a_shipped_strategy_has_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"backtest run rsi {TCS} --report report.html".split()) == 0

    assert "<title>rsi" in (folder / "report.html").read_text()


CHOOSING = """
from msgspec import Struct
from pulse_domain.backtest import Strategy

class Choosing(Strategy):
    class Parameters(Struct, frozen=True):
        quantity: int = 100

    def on_candle(self, candle):
        if not self.position(candle.instrument):
            self.buy(candle.instrument, self.parameters.quantity)
"""


def test_parameters_are_given_to_the_strategy_of_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "choosing.py").write_text(CHOOSING)

    [by_default] = figures(f"choosing.py {TCS}", capsys)["orders"]
    [chosen] = figures(f"choosing.py {TCS} --param quantity=3", capsys)["orders"]

    assert by_default["quality"]["filled_quantity"] == 100
    assert chosen["quality"]["filled_quantity"] == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"macd {TCS} --param fast", "--param fast must be written NAME=VALUE"),
        (f"macd {TCS} --param =3", "--param =3 must be written NAME=VALUE"),
        (f"macd {TCS} --param fast=3 --param fast=4", "--param fast is given twice"),
        (f"macd {TCS} --param fast=x", "parameter fast cannot be 'x': expected int, got str"),
        (f"macd {TCS} --param length=3", "there is no parameter 'length'; there are candle_minutes, "),
        (f"rsi {TCS} --param product=NRML", "NSE:TCS: product NRML is for derivatives only"),
        (f"rsi {TCS} --param candle_minutes=5", "those of NSE:TCS last 0:01:00: set candle_minutes to theirs"),
        (f"rsi {TCS} --strategy Rsi", "--strategy is for a file, and rsi is a strategy"),
        ("rsi --ticks NSE:TCS=ticks.csv", "rsi looks at candles: --candles is needed"),
        (f"mac {TCS}", "mac: there is no such file, and no strategy of that name; there are macd, rsi"),
        (f"dips.py {TCS} --param quantity=3", "there is no parameter 'quantity': it has none"),
        (f"choosing.py {TCS} --param quantity=x", "parameter quantity cannot be 'x': expected int, got str"),
        (
            f"orders.py {TCS} --param quantity=x",
            "orders.py: --param is for a strategy, and the file has orders",
        ),
    ],
)
def test_a_parameter_that_cannot_be_is_one_line(
    line: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "choosing.py").write_text(CHOOSING)
    orders_file(folder, "orders = []")

    assert said in failure(line, capsys)


FAILING = DIPS.replace("            self.buy(candle.instrument, 100)", "            self.enter(candle)") + (
    "    def enter(self, candle):\n        self.buy(candle.instrument, {quantity})\n"
)


def test_a_strategy_that_raises_is_one_line_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "dips.py").write_text(FAILING.format(quantity="self.quantity"))
    assert failure(f"dips.py {TCS}", capsys) == (
        "Dips.on_candle failed at 2026-01-05T09:20:00+05:30: "
        "AttributeError: 'Dips' object has no attribute 'quantity' (dips.py:11)"
    )

    (folder / "dips.py").write_text(FAILING.format(quantity=0))
    assert failure(f"dips.py {TCS}", capsys).endswith(
        "total_quantity must be between 1 and 1000000000 (dips.py:11)"
    )


@pytest.mark.parametrize("text", [FAILING.format(quantity="self.quantity"), "x = 1\nx / 0\n"])
def test_traceback_shows_the_whole_way(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dips.py").write_text(text)

    assert main(f"backtest run dips.py {TCS} --traceback".split()) == 2

    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Traceback (most recent call last):"
    assert any('File "dips.py", line' in line for line in said)
    assert "dips.py:" in said[-1]


# --- data --------------------------------------------------------------------------------------


TCS_CANDLES, TCS_TICKS, INFY_CANDLES = ("NSE:TCS", "candles"), ("NSE:TCS", "ticks"), ("NSE:INFY", "candles")


@pytest.mark.parametrize(
    ("line", "series"),
    [
        ("--candles tcs.csv --instrument NSE:TCS", [TCS_CANDLES]),
        ("--candles NSE:TCS=tcs.csv --candles NSE:INFY=infy.csv.gz", [TCS_CANDLES, INFY_CANDLES]),
        ("--candles infy.csv.gz --candles NSE:TCS=tcs.csv --instrument NSE:INFY", [INFY_CANDLES, TCS_CANDLES]),
        ("--ticks ticks.csv --instrument NSE:TCS", [TCS_TICKS]),
        ("--ticks NSE:TCS=ticks.csv --candles NSE:INFY=infy.csv.gz", [INFY_CANDLES, TCS_TICKS]),
        ("--candles NSE:TCS=local.csv --zone Asia/Kolkata", [TCS_CANDLES]),
        ("--candles NSE:TCS=tcs.parquet", [TCS_CANDLES]),
    ],
)
def test_files_of_candles_and_ticks(
    line: str, series: list[tuple[str, str]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame(folder / "tcs.csv").write_parquet(folder / "tcs.parquet")

    answer = figures(f"dips.py {line}", capsys)

    assert [(each["instrument"], each["kind"]) for each in answer["series"]] == series
    assert {each["rows"] for each in answer["series"]} == {750}
    assert answer["statistics"]["first_at"] == "2026-01-05T09:15:00+05:30"


def frame(path: Path) -> Any:
    import polars

    return polars.read_csv(path, try_parse_dates=True)


@pytest.mark.parametrize(
    ("line", "rows", "first_at", "last_at"),
    [
        ("--from 2026-01-06", 375, "2026-01-06T09:15:00+05:30", "2026-01-06T15:30:00+05:30"),
        ("--to 2026-01-05", 375, "2026-01-05T09:15:00+05:30", "2026-01-05T15:30:00+05:30"),
        ("--from 2026-01-05 --to 2026-01-06", 750, "2026-01-05T09:15:00+05:30", "2026-01-06T15:30:00+05:30"),
        ("--from 2026-01-06T09:30:00+05:30", 360, "2026-01-06T09:30:00+05:30", "2026-01-06T15:30:00+05:30"),
        ("--to 2026-01-05T04:00:00Z", 15, "2026-01-05T09:15:00+05:30", "2026-01-05T09:30:00+05:30"),
    ],
)
def test_data_is_cut(
    line: str, rows: int, first_at: str, last_at: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = figures(f"dips.py {TCS} {line}", capsys)

    assert [each["rows"] for each in answer["series"]] == [rows]
    assert answer["statistics"]["first_at"] == first_at
    assert answer["statistics"]["last_at"] == last_at
    ticks = figures(f"dips.py --ticks NSE:TCS=ticks.csv {line}", capsys)
    assert [each["rows"] for each in ticks["series"]] == [rows]


def test_rows_that_cannot_be_are_dropped_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "broken.csv" in (said := failure("dips.py --candles NSE:TCS=broken.csv", capsys))
    assert "row 6" in said

    answer = figures("dips.py --candles NSE:TCS=broken.csv --defects drop", capsys)
    [series] = answer["series"]
    assert series["rows"] == 749
    assert [dropped["row"] for dropped in series["dropped"]] == [6]

    line = "backtest run dips.py --candles NSE:TCS=broken.csv --defects drop"
    assert main(line.split()) == 0
    first = " ".join(capsys.readouterr().out.splitlines()[0].split())
    assert first.startswith("candles 749 of NSE:TCS, 1 row dropped, the first row 6: ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "--candles or --ticks is needed"),
        ("--candles tcs.csv", "add --instrument EXCHANGE:SYMBOL, such as NSE:TCS, or write NSE:TCS=tcs.csv"),
        ("--candles tcs.csv --instrument TCS", "TCS: instrument must be written EXCHANGE:SYMBOL"),
        ("--candles tcs.csv --candles infy.csv.gz --instrument NSE:TCS", "tcs.csv and infy.csv.gz are both"),
        ("--candles LSE:TCS=tcs.csv", "LSE:TCS: exchange must be one of"),
        ("--candles NSE:TCS=", "names no file"),
        ("--candles NSE:TCS=tcs.csv --instrument NSE:TCS", "every file has its own"),
        ("--candles NSE:TCS=tcs.csv --ticks NSE:TCS=ticks.csv", "NSE:TCS is there twice"),
        ("--candles NSE:TCS=nowhere.csv", "nowhere.csv: there is no such file"),
        ("--candles NSE:TCS=ticks.csv", "ticks.csv: column open is missing"),
        ("--ticks NSE:TCS=tcs.csv", "tcs.csv: column price is missing"),
        ("--candles NSE:TCS=local.csv", "local.csv"),
        ("--candles NSE:TCS=local.csv --zone Asia/Nowhere", "--zone Asia/Nowhere is no time zone"),
        ("--candles NSE:TCS=local.csv --zone ../etc", "--zone ../etc is no time zone"),
        ("--candles NSE:TCS=local.csv --zone Asia", "--zone Asia is no time zone"),
        (f"{TCS} --from yesterday", "--from must be ISO 8601"),
        (f"{TCS} --to 2026-01-05T10:00:00", "--to needs an offset"),
        (f"{TCS} --to 9999-12-31", "--to is beyond the calendar"),
        (f"{TCS} --from 2026-02-01", "NSE:TCS: no row is within --from and --to"),
        (f"{TCS} --from 2026-01-06 --to 2026-01-05", "no row is within"),
        (f"{TCS} --defects mend", "--defects"),
        (f"{TCS} --capital much", "--capital must be a number"),
        (f"{TCS} --capital -5", "--capital must be a number"),
        (f"{TCS} --seed many", "--seed"),
        (f"{TCS} --charges dhan", "--charges"),
        (f"{TCS} --participation 10%", "--participation must be a number"),
        (f"{TCS} --participation 1.5", "participation must be above 0 and at most 1, not 1.5"),
        (f"{TCS} --slippage-ticks -1", "--slippage-ticks"),
        (f"{TCS} --slippage-bps nan", "--slippage-bps must be a number"),
        (f"{TCS} --slippage-bps 1 --slippage-ticks 1", "do not go together"),
        (f"{TCS} --square-off noon", "--square-off must be a time of day"),
        (f"{TCS} --square-off 15:15+05:30", "--square-off must be a time of day"),
        (f"{TCS} --lot 0", "--lot"),
        (f"{TCS} --lot 75", "total_quantity must be a multiple of the lot size 75"),
        (f"{TCS} --tick 0", "tick size"),
        (f"{TCS} --tick five", "--tick must be a number"),
        (f"{TCS} --freeze 0", "--freeze"),
        (f"{TCS} --lot 50 --freeze 40", "freeze quantity 40"),
        (f"{TCS} --report no/where.html", "no/where.html cannot be written: there is no such folder"),
        (f"{TCS} --fills no/where.csv", "no/where.csv cannot be written: there is no such folder"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_code_2(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in failure(f"dips.py {line}", capsys)


@pytest.mark.parametrize("option", ["--report", "--fills"])
def test_what_cannot_be_written_is_told_after_the_figures(
    option: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "taken").mkdir()

    assert main(f"backtest run dips.py {TCS} {option} taken".split()) == 2

    said = capsys.readouterr()
    assert "Sharpe" in said.out
    assert said.err.startswith("taken cannot be written: ")


def test_without_pyarrow_a_parquet_file_is_refused_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tcs.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert failure("dips.py --candles NSE:TCS=tcs.parquet", capsys) == str(MissingExtra("pyarrow", "parquet"))


# --- settings ----------------------------------------------------------------------------------


def test_capital_is_what_the_run_begins_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert figures(f"dips.py {TCS} --capital 250000.50", capsys)["statistics"]["starting_equity"] == "250000.50"
    states = {order["state"] for order in figures(f"dips.py {TCS} --capital 1000", capsys)["orders"]}
    assert states == {"REJECTED"}


def test_charges_are_those_of_the_broker(capsys: pytest.CaptureFixture[str]) -> None:
    assert figures(f"dips.py {TCS}", capsys)["statistics"]["charges"] == "0.00"
    assert Decimal(figures(f"dips.py {TCS} --charges zerodha", capsys)["statistics"]["charges"]) > 0


def test_charges_that_nobody_knows_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = failure("dips.py --candles MCX:GOLD26FEBFUT=tcs.csv --capital 10000000000 --charges zerodha", capsys)

    assert said.startswith("zerodha charges of 2026-01-05 have no rates for FUTURES at MCX")


def price_of(line: str, capsys: pytest.CaptureFixture[str]) -> Decimal:
    [order] = figures(f"orders.py {TCS} {line}", capsys)["orders"]
    return Decimal(order["quality"]["average_price"])


def test_slippage_is_in_ticks_or_basis_points(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Where a candle opens at its low, there is room for slippage within it.
    candle = next(it for it in synthetic_candles("NSE:TCS", days=1) if it.high - it.open > 1)
    orders_file(folder, f"orders = [TimedOrder(request=order(), at=at('{candle.start:%H:%M:%S}'))]")

    plain = price_of("", capsys)

    assert plain == candle.open
    assert price_of("--slippage-ticks 2", capsys) - plain == Decimal("0.10")
    assert price_of("--slippage-ticks 2 --tick 0.25", capsys) - plain >= Decimal("0.50")
    assert price_of("--slippage-bps 5", capsys) - plain == Decimal("0.50")


def test_participation_spreads_an_order_over_candles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders_file(folder, "orders = [TimedOrder(request=order(5000), at=at('10:00'))]")

    assert figures(f"orders.py {TCS}", capsys)["statistics"]["fills"] == 1
    assert figures(f"orders.py {TCS} --participation 0.1", capsys)["statistics"]["fills"] > 5


def test_lot_and_freeze_quantity_cut_an_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders_file(folder, "orders = [TimedOrder(request=order(4500), at=at('10:00'))]")

    answer = figures(f"orders.py {TCS} --lot 75 --freeze 1800", capsys)

    assert answer["statistics"]["fills"] == 3


def test_square_off_closes_what_is_intraday(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders_file(folder, "orders = [TimedOrder(request=order(product=Product.MIS), at=at('10:00'))]")

    assert figures(f"orders.py {TCS}", capsys)["positions"][0]["quantity"] == 75
    answer = figures(f"orders.py {TCS} --square-off 15:15", capsys)
    assert answer["positions"][0]["quantity"] == 0
    assert [order["side"] for order in answer["orders"]] == ["BUY", "SELL"]


def test_the_seed_decides_what_is_randomised(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = "SplitConfig(num_splits=5, duration_minutes=60)"
    orders_file(folder, f"orders = [TimedOrder(request=order(5000, split_config={split}), at=at('10:00'))]")

    digests = [figures(f"orders.py {TCS} --seed {n}", capsys)["fills_digest"] for n in (0, 0, 1)]

    assert digests[0] == digests[1] != digests[2]
    assert figures(f"orders.py {TCS} --seed 7", capsys)["seed"] == 7


def test_an_order_that_cannot_be_used_is_named_by_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders_file(
        folder,
        "other = order(symbol='NSE:INFY', start_at=at('10:00'))\n"
        "orders = [TimedOrder(request=order(), at=at('10:00')), other]\n",
    )

    assert failure(f"orders.py {TCS}", capsys) == "order 2: there is no data for NSE:INFY"


def test_without_a_command_there_is_help_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest"]) == 2

    assert "Usage: pulse backtest" in capsys.readouterr().out
