"""When the shipped strategies order: at which candle's close, and at none before."""

from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pulse_domain.backtest import CandleSeries, TickSeries
from pulse_domain.matching import Candle, Tick
from pulse_domain.strategies import STRATEGIES, RsiMomentum, make_strategy
from pulse_domain.strategy import strategy_from
from pulse_domain.units import INDIA
from tests.unit.strategies import make
from tests.unit.strategies.make import INFY, MACD, OPENS_AT, RSI, TCS, candles, orders, run, sides
from tests.unit.strategies.naive import expected_orders

# A rise with a dip in it: the MACD falls below its signal, crosses above it at candle 10, with the close above
# the EMA, and is below it again at candle 14.
DIP = [100, 101, 102, 103, 105, 108, 111, 110, 109.5, 111, 115, 120, 124, 126, 126.5, 126, 125, 124]
# A fall with a bounce in it, the same upside down. It crosses above at candle 7, below the EMA.
BOUNCE = [200 - close for close in DIP]
CALM = [1000] * len(DIP)


def loud(*places: int) -> list[int]:
    return [5000 if place in places else volume for place, volume in enumerate(CALM)]


@pytest.mark.parametrize(
    ("name", "closes", "volumes", "parameters", "expected"),
    [
        ("crossing, on volume", DIP, loud(10), {}, [(10, "BUY"), (14, "SELL")]),
        ("crossing, without volume", DIP, CALM, {}, []),
        ("volume a candle early", DIP, loud(9), {}, []),
        ("volume a candle late", DIP, loud(11), {}, []),
        ("just the factor", DIP, loud(10), {"volume_factor": 15 / 7}, []),
        ("just above the factor", DIP, loud(10), {"volume_factor": 2.1}, [(10, "BUY"), (14, "SELL")]),
        ("volume is not looked at", DIP, CALM, {"use_volume": False}, [(10, "BUY"), (14, "SELL")]),
        ("an index", DIP, [0] * len(DIP), {}, []),
        ("an index as it should be", DIP, [0] * len(DIP), {"use_volume": False}, [(10, "BUY"), (14, "SELL")]),
        ("below the trend", BOUNCE[:13], loud(7), {}, []),
        ("a fall, sold short", BOUNCE, loud(10), {"short": True}, [(10, "SELL"), (14, "BUY")]),
        ("trend is not known yet", DIP, loud(10), {"trend": 12}, []),
        ("trend is known just now", DIP, loud(10), {"trend": 11}, [(10, "BUY"), (14, "SELL")]),
        ("range is not known yet", DIP, loud(10), {"atr_length": 11}, []),
        ("range is known just now", DIP, loud(10), {"atr_length": 10}, [(10, "BUY"), (14, "SELL")]),
        ("volume is not known yet", DIP, loud(10), {"volume_length": 12}, []),
        ("volume is known just now", DIP, loud(10), {"volume_length": 11}, [(10, "BUY"), (14, "SELL")]),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_macd(
    name: str, closes: list[float], volumes: list[int], parameters: dict[str, Any], expected: list[Any]
) -> None:
    assert sides(run("macd", candles(closes, volumes), MACD | parameters)) == expected


# To and fro, then a rise: the RSI crosses 60 at candle 5, and falls below 50 at candle 11.
RISE = [100, 100.5, 100, 100.5, 100, 100.5, 101.5, 103, 104, 104, 103, 102, 101, 100, 99, 98]
FALL = [200 - close for close in RISE]


@pytest.mark.parametrize(
    ("name", "closes", "parameters", "expected"),
    [
        ("crossing", RISE, {}, [(5, "BUY"), (11, "SELL")]),
        ("a higher level", RISE, {"enter": 80}, [(6, "BUY"), (11, "SELL")]),
        ("held for longer", RISE, {"leave": 30}, [(5, "BUY"), (12, "SELL")]),
        ("held for one candle", RISE, {"hold_candles": 1}, [(5, "BUY"), (6, "SELL")]),
        ("held for three candles", RISE, {"hold_candles": 3}, [(5, "BUY"), (8, "SELL")]),
        ("trend is not known yet", RISE, {"trend": 7}, []),
        ("trend is known just now", RISE, {"trend": 6}, [(5, "BUY"), (11, "SELL")]),
        ("range is not known yet", RISE, {"atr_length": 6}, []),
        ("a fall is left alone", FALL[:11], {}, []),
        ("a fall, sold short", FALL, {"short": True}, [(5, "SELL"), (11, "BUY")]),
        ("a fall, held for longer", FALL, {"short": True, "leave": 30}, [(5, "SELL"), (12, "BUY")]),
        ("below the trend", [120, 119, 118, 117, 116, 117.5, 118, 117, 116], {"trend": 6}, []),
        ("nothing moves", [100] * 16, {}, []),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_rsi(name: str, closes: list[float], parameters: dict[str, Any], expected: list[Any]) -> None:
    assert sides(run("rsi", candles(closes), RSI | parameters)) == expected


MOVES = st.lists(st.integers(-200, 200), min_size=1, max_size=70)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["macd", "rsi"]),
    moves=MOVES,
    volumes=st.lists(st.integers(0, 5000), min_size=70, max_size=70),
    short=st.booleans(),
    use_volume=st.booleans(),
    stop_atrs=st.sampled_from([0.5, 1.0, 3.0]),
    hold_candles=st.integers(0, 5),
    flat_at=st.sampled_from(["never", "09:40", "10:05"]),
)
def test_orders_are_those_of_the_rules_over_whole_columns(
    kind: str, moves: list[int], volumes: list[int], short: bool, use_volume: bool, stop_atrs: float,
    hold_candles: int, flat_at: str,
) -> None:  # fmt: skip
    closes = [300 + sum(moves[: place + 1]) / 100 for place in range(len(moves))]
    series = candles(closes, volumes[: len(closes)], reach=0.25)
    chosen: dict[str, Any] = {"short": short, "stop_atrs": stop_atrs, "flat_at": flat_at, "max_quantity": 7}
    chosen |= {"risk_percent": 100}
    if kind == "macd":
        chosen = MACD | chosen | {"use_volume": use_volume, "volume_factor": 1.2}
    else:
        chosen = RSI | chosen | {"hold_candles": hold_candles, "enter": 60.0, "leave": 50.0}

    expected = expected_orders(kind, series, chosen)

    assume(expected is not None)
    assert orders(run(kind, series, chosen)) == expected


# --- the stop ----------------------------------------------------------------------------------


STILL = RSI | {"leave": 0.1, "stop_atrs": 1, "short": True}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([101.5, 99.01, 103], [(5, "BUY")]),
        ([101.5, 99.0, 98], [(5, "BUY"), (7, "SELL")]),
        ([101.5, 90.0, 89], [(5, "BUY"), (7, "SELL")]),
        # The range grows to several times of what it was, which moves nothing.
        ([120, 140, 99.01, 103], [(5, "BUY")]),
        ([120, 140, 99.0, 103], [(5, "BUY"), (8, "SELL")]),
    ],
)
def test_a_close_at_the_stop_or_beyond_ends_a_position(after: list[float], expected: list[Any]) -> None:
    # Entered at 100.5, where the average true range is 1.5.
    closes = [*RISE[:6], *after]

    assert sides(run("rsi", candles(closes), STILL)) == expected
    mirrored = [(number, make.opposite(side)) for number, side in expected]
    assert sides(run("rsi", candles([200 - close for close in closes]), STILL)) == mirrored


def test_what_happens_within_a_candle_gives_no_order() -> None:
    *rows, last = candles([*RISE[:6], 101.5])
    deep = Candle(TCS, last.start, last.open, last.high, Decimal(60), last.close, last.volume)
    series = CandleSeries.from_candles([*rows, deep], interval=timedelta(minutes=1))

    assert sides(run("rsi", series, STILL)) == [(5, "BUY")]


@pytest.mark.parametrize("kind", STRATEGIES)
def test_ticks_give_no_order(kind: str) -> None:
    short = MACD if kind == "macd" else RSI
    ticks = [
        Tick(TCS, OPENS_AT + timedelta(minutes=place), Decimal(close)) for place, close in enumerate(DIP * 5)
    ]

    assert orders(run(kind, [TickSeries.from_ticks(ticks), candles(CALM, instrument=INFY)], short)) == []


# --- the day -----------------------------------------------------------------------------------


def test_positions_are_closed_and_none_opened_from_an_hour_on() -> None:
    quiet = {"leave": 0.1}

    # Candle 5 ends at 09:21, candle 7 at 09:23.
    assert sides(run("rsi", candles(RISE), RSI | quiet | {"flat_at": "09:23"})) == [(5, "BUY"), (7, "SELL")]
    assert sides(run("rsi", candles(RISE), RSI | quiet | {"flat_at": "09:22"})) == [(5, "BUY"), (6, "SELL")]
    assert sides(run("rsi", candles(RISE), RSI | quiet | {"flat_at": "09:21"})) == []


def test_by_default_all_is_closed_in_the_afternoon() -> None:
    opens_at = datetime(2026, 1, 5, 15, 5, tzinfo=INDIA)
    result = run("rsi", candles([*RISE[:9], *range(105, 115)], opens_at=opens_at), RSI)

    assert [fill.at.time() for fill in result.fills] == [time(15, 11), time(15, 15)]
    assert [position.quantity for position in result.positions] == [0]


def test_a_position_is_kept_over_night_where_it_is_never_flat() -> None:
    closes = [*RISE[:9], *range(105, 405)]
    chosen = RSI | {"flat_at": "never", "candle_minutes": 5}

    result = run("rsi", candles(closes, minutes=5), chosen)

    assert orders(result, minutes=5)[:1] == [(5, "BUY", 666)]
    assert len(result.orders) == 1


# --- instruments and lengths -------------------------------------------------------------------


def test_instruments_are_independent_of_one_another() -> None:
    rise, fall = candles(RISE), candles(FALL, instrument=INFY)
    chosen = RSI | {"short": True, "max_quantity": 10}

    both = run("rsi", [rise, fall], chosen)

    assert orders(both, TCS) == orders(run("rsi", rise, chosen), TCS) == [(5, "BUY", 10), (11, "SELL", 10)]
    assert orders(both, INFY) == orders(run("rsi", fall, chosen), INFY) == [(5, "SELL", 10), (11, "BUY", 10)]


def test_only_its_instruments_are_traded() -> None:
    strategy = make_strategy("rsi", [INFY], RSI)

    result = run(strategy, [candles(RISE), candles(RISE, instrument=INFY)])

    assert (orders(result, TCS), len(orders(result, INFY))) == ([], 2)


def test_longer_candles_are_taken_as_they_come() -> None:
    result = run("rsi", candles(RISE, minutes=15), RSI | {"candle_minutes": "15"})

    assert [number for number, *_ in orders(result, minutes=15)] == [5, 11]


def test_candles_of_the_past_are_looked_at_and_not_traded() -> None:
    series = candles(RISE)
    past, now = list(series)[:4], list(series)[4:]

    class Told(RsiMomentum):
        def on_start(self) -> None:
            super().on_start()
            make.told(self, past)

    told = strategy_from(Told, (), RSI)
    whole = CandleSeries.from_candles(now, interval=timedelta(minutes=1))

    assert sides(run(told, whole)) == [(5, "BUY"), (11, "SELL")]
    assert sides(run("rsi", whole, RSI)) == []


@pytest.mark.parametrize("kind", STRATEGIES)
def test_enough_of_the_past_is_asked_for(kind: str) -> None:
    longest = {"trend": 300, "atr_length": 14}
    strategy = make_strategy(kind, [TCS], longest)

    assert strategy.past_candles == 1200
    strategy.on_start()
    make.told(strategy, candles([100 + place % 7 for place in range(1200)]))
    assert '"value": null' not in str(strategy.snapshot()).replace("None", "null").replace("'", '"')
