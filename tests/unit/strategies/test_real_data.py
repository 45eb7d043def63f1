"""The shipped strategies over real minutes and ticks, where those are at hand."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from pulse_domain.backtest import BacktestSettings, CandleSeries, run_backtest
from pulse_domain.backtest.files import read_candles, read_ticks
from pulse_domain.candles import CandleBuilder, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.strategies import STRATEGIES, make_strategy
from pulse_domain.units import INDIA
from tests.unit.strategies.make import Interrupted, run
from tests.unit.strategies.naive import expected_orders

DATA = Path(__file__).parents[4] / "shared/data"
INDEX = Instrument.parse("NSE:NIFTY50")
FILES = {
    "TCS_1min_2024-01_2024-02.csv.gz": ("NSE:TCS", 1),
    "NIFTY50-INDEX_1min_2024-01_2024-04.csv.gz": ("NSE:NIFTY50", 1),
    "RELIANCE_1min_2016-08_2016-09.csv.gz": ("NSE:RELIANCE", 1),
    "RELIANCE_5min_2019-11_2020-11.csv.gz": ("NSE:RELIANCE", 5),
}
TICKS = [f"NIFTY50-INDEX_1s_2022-11-{day}.csv.gz" for day in ("09", "10", "11", "14")]


def at_hand(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand")
    return path


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("name", FILES)
def test_orders_of_months_are_those_of_the_rules(name: str, kind: str) -> None:
    symbol, minutes = FILES[name]
    series = read_candles(at_hand(f"nse-1min/{name}"), Instrument.parse(symbol), zone=INDIA, defects="drop")
    chosen = {"candle_minutes": minutes, "short": True, "max_quantity": 1, "risk_percent": 100}
    if kind == "macd":
        chosen["use_volume"] = symbol != str(INDEX)
    strategy = make_strategy(kind, [series.instrument], chosen)
    parameters = {name: getattr(strategy.parameters, name) for name in strategy.parameters.__struct_fields__}

    result = run_backtest(strategy, series)

    result.check()
    sent = [
        (order.journal[0].at, order.request.side.value, order.request.total_quantity) for order in result.orders
    ]
    length = timedelta(minutes=minutes)
    expected = expected_orders(kind, series, parameters)
    assert expected is not None
    assert sent == [(series[place].start + length, *order) for place, *order in expected]
    assert len(sent) > 100


def hours_at(instrument: Instrument, at: datetime) -> SessionHours | None:
    day = at.astimezone(INDIA).date()
    return SessionHours(*(datetime.combine(day, it, INDIA) for it in (time(9, 15), time(15, 30))))


def minutes_of(names: Iterable[str]) -> list[Candle]:
    builder = CandleBuilder(hours_at, timeframes=())
    closed = []
    for name in names:
        for tick in read_ticks(at_hand(f"nse-ticks/{name}"), INDEX, zone=INDIA, defects="drop"):
            closed += builder.on_tick(tick)
    return [each.candle for each in closed if each.candle is not None]


@pytest.mark.parametrize("kind", STRATEGIES)
def test_minutes_built_of_ticks_are_traded_on(kind: str) -> None:
    series = CandleSeries.from_candles(minutes_of(TICKS), interval=timedelta(minutes=1))
    chosen = {"short": True, "max_quantity": 1} | ({"use_volume": False} if kind == "macd" else {})

    result = run(kind, series, chosen)

    result.check()
    assert len(series) > 1400
    assert result.statistics.trades > 10
    again = run_backtest(Interrupted(kind, chosen, cut=700), series, settings=BacktestSettings())
    assert again.digest() == result.digest()
