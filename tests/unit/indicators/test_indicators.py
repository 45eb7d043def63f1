"""Indicators equal those of TA-Lib, whatever they are fed, and go on from a snapshot as if nothing had been."""

import json
from collections.abc import Callable, Sequence
from math import isclose, isnan
from typing import Any, Protocol

import msgspec
import numpy
import pytest
import talib
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pulse_domain.backtest import synthetic_candles
from pulse_domain.errors import InvalidSettings
from pulse_domain.indicators import Atr, Ema, Macd, Rsi, Sma

# Rupees in paise, and volumes: what a candle has. Few of them, so that equal ones come often, or many.
PRICES = st.one_of(
    st.lists(st.integers(100, 110), min_size=1, max_size=120), st.lists(st.integers(5, 10**7), max_size=120)
).map(lambda paise: [it / 100 for it in paise])
VOLUMES = st.lists(st.integers(0, 10**9), max_size=120).map(lambda units: [float(it) for it in units])
LENGTHS = st.integers(2, 30)

Values = list[float | None]


class Indicator(Protocol):
    value: float | None

    def add(self, value: float, /) -> float | None: ...
    def snapshot(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


def fed(indicator: Indicator, values: Sequence[float]) -> Values:
    told = []
    for value in values:
        told.append(indicator.add(value))
        assert told[-1] == indicator.value
    return told


def from_library(column: Any) -> Values:
    return [None if isnan(value) else float(value) for value in column]


def same(ours: Values, theirs: Values, scale: float) -> bool:
    """Whether all are the same, but for rounding on values of such a size."""
    return len(ours) == len(theirs) and all(
        us is them or (us is not None and them is not None and isclose(us, them, abs_tol=scale * 1e-11))
        for us, them in zip(ours, theirs, strict=True)
    )


def array(values: Sequence[float]) -> Any:
    return numpy.array(values, dtype=float)


def scale_of(values: Sequence[float]) -> float:
    return max(values, default=1.0)


# --- against the library -----------------------------------------------------------------------


@given(st.one_of(PRICES, VOLUMES), LENGTHS)
def test_sma_is_that_of_the_library(values: list[float], length: int) -> None:
    theirs = from_library(talib.SMA(array(values), length)) if values else []

    assert same(fed(Sma(length), values), theirs, scale_of(values))


@given(PRICES, LENGTHS)
def test_ema_is_that_of_the_library(values: list[float], length: int) -> None:
    theirs = from_library(talib.EMA(array(values), length)) if values else []

    assert same(fed(Ema(length), values), theirs, scale_of(values))


@given(PRICES, st.integers(2, 12), st.integers(1, 12), st.integers(2, 9))
@example([100 + (i * 7 % 11) / 10 for i in range(120)], 12, 14, 9)
def test_macd_is_that_of_the_library(values: list[float], fast: int, more: int, signal: int) -> None:
    slow = fast + more
    macd = Macd(fast, slow, signal)
    ours: list[tuple[float | None, ...]] = []
    for value in values:
        macd.add(value)
        ours.append((macd.value, macd.signal, macd.histogram))

    theirs = (
        [from_library(column) for column in talib.MACD(array(values), fast, slow, signal)] if values else []
    )

    known = [row for row in ours if row[2] is not None]
    assert len(ours) - len(known) == min(len(values), slow + signal - 2)
    assert [row[0] is not None for row in ours] == [place >= slow - 1 for place in range(len(values))]
    for place, column in enumerate(theirs):
        # The library tells none of the three before there are all.
        told = [row[place] if row[2] is not None else None for row in ours]
        assert same(told, column, scale_of(values))


@given(PRICES, LENGTHS)
@example([100.0] * 40, 14)
@example([100.0] * 20 + [101.0] * 20, 14)
def test_rsi_is_that_of_the_library_but_for_a_price_that_never_moved(values: list[float], length: int) -> None:
    theirs = from_library(talib.RSI(array(values), length)) if values else []

    still = [it is not None and len(set(values[: place + 1])) == 1 for place, it in enumerate(theirs)]
    expected = [50.0 if is_still else it for is_still, it in zip(still, theirs, strict=True)]
    assert same(fed(Rsi(length), values), expected, 1e4)


CANDLES = st.lists(
    st.tuples(st.integers(100, 10**6), st.integers(0, 500), st.integers(0, 500), st.floats(0, 1)), max_size=80
)


@given(CANDLES, st.integers(1, 30))
def test_atr_is_that_of_the_library(rows: list[tuple[int, int, int, float]], length: int) -> None:
    highs = [(price + up) / 100 for price, up, _, _ in rows]
    lows = [max(1, price - down) / 100 for price, _, down, _ in rows]
    closes = [low + (high - low) * at for high, low, (*_, at) in zip(highs, lows, rows, strict=True)]
    atr = Atr(length)

    ours = [atr.add(*row) for row in zip(highs, lows, closes, strict=True)]

    theirs = from_library(talib.ATR(array(highs), array(lows), array(closes), length)) if rows else []
    assert same(ours, theirs, scale_of(highs))


def test_months_of_minutes_stay_with_the_library() -> None:
    candles = list(synthetic_candles("NSE:TCS", days=60, seed=5))
    closes = array([float(it.close) for it in candles])
    highs, lows = array([float(it.high) for it in candles]), array([float(it.low) for it in candles])
    macd, atr = Macd(), Atr()
    for candle in candles:
        macd.add(float(candle.close))
        atr.add(float(candle.high), float(candle.low), float(candle.close))

    assert macd.histogram == pytest.approx(talib.MACD(closes)[2][-1], abs=1e-9)
    assert atr.value == pytest.approx(talib.ATR(highs, lows, closes)[-1], abs=1e-9)
    assert fed(Rsi(), list(closes))[-1] == pytest.approx(talib.RSI(closes)[-1], abs=1e-9)
    assert fed(Ema(200), list(closes))[-1] == pytest.approx(talib.EMA(closes, 200)[-1], abs=1e-9)
    assert fed(Sma(20), list(closes))[-1] == pytest.approx(talib.SMA(closes, 20)[-1], abs=1e-9)


def test_a_mean_forgets_what_was_large() -> None:
    sma = Sma(3)

    fed(sma, [1e17, 0.1, 0.2, 0.3])
    fed(sma, [0.1, 0.2, 0.3])

    assert sma.value == pytest.approx(0.2, abs=1e-15)


# --- warm-up -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indicator", "needed"), [(Sma(20), 20), (Ema(200), 200), (Macd(12, 26, 9), 26), (Rsi(14), 15)]
)
def test_there_is_no_value_before_there_is_enough(indicator: Indicator, needed: int) -> None:
    told = fed(indicator, [100 + i % 7 for i in range(needed + 5)])

    assert [value is not None for value in told] == [False] * (needed - 1) + [True] * 6


def test_the_range_needs_a_close_before_it() -> None:
    atr = Atr(3)

    told = [atr.add(high, 9.0, 9.5) for high in (99.0, 11.0, 12.0, 13.0)]

    assert told == [None, None, None, 3.0]


def test_a_gap_counts_as_range() -> None:
    atr = Atr(1)
    atr.add(10.0, 9.0, 9.5)

    assert atr.add(15.0, 14.0, 14.5) == 5.5
    assert atr.add(15.0, 14.0, 14.5) == 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sma(0),
        lambda: Ema(-1),
        lambda: Rsi(0),
        lambda: Atr(0),
        lambda: Macd(12, 12, 9),
        lambda: Macd(12, 26, 0),
        lambda: Ema(2.5),  # type: ignore[arg-type]
    ],
)
def test_lengths_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidSettings):
        make()


# --- snapshots ---------------------------------------------------------------------------------

KINDS: list[Callable[[], Indicator]] = [
    lambda: Sma(5), lambda: Ema(5), lambda: Macd(3, 6, 4), lambda: Rsi(5), lambda: Closes(5),
]  # fmt: skip


class Closes:
    """An `Atr` that is fed with closes: each reaches a paisa around itself."""

    def __init__(self, length: int) -> None:
        self.atr = Atr(length)

    @property
    def value(self) -> float | None:
        return self.atr.value

    @value.setter
    def value(self, value: float | None) -> None:
        self.atr.value = value

    def add(self, value: float, /) -> float | None:
        return self.atr.add(value + 0.01, value - 0.01, value)

    def snapshot(self) -> dict[str, Any]:
        return self.atr.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        self.atr.restore(state)


@pytest.mark.parametrize("make", KINDS, ids=["sma", "ema", "macd", "rsi", "atr"])
@pytest.mark.parametrize("codec", [json, msgspec.json], ids=["json", "msgspec"])
@settings(max_examples=60)
@given(values=PRICES, cut=st.integers(0, 120))
def test_a_snapshot_at_any_point_changes_nothing(
    make: Callable[[], Indicator], codec: Any, values: list[float], cut: int
) -> None:
    whole, first, second = make(), make(), make()

    written = codec.dumps if codec is json else codec.encode
    read = codec.loads if codec is json else codec.decode
    fed(first, values[:cut])
    second.restore(read(written(first.snapshot())))

    assert second.value == first.value
    assert second.snapshot() == first.snapshot()
    assert fed(whole, values)[cut:] == fed(second, values[cut:])
    assert second.snapshot() == whole.snapshot()


def test_what_restores_a_macd_knows_all_three_values() -> None:
    macd, again = Macd(3, 6, 4), Macd(3, 6, 4)
    for value in range(30):
        macd.add(value * value % 17)

    again.restore(macd.snapshot())

    assert (again.value, again.signal, again.histogram) == (macd.value, macd.signal, macd.histogram)


@pytest.mark.parametrize("make", KINDS, ids=["sma", "ema", "macd", "rsi", "atr"])
def test_a_snapshot_is_of_its_moment(make: Callable[[], Indicator]) -> None:
    indicator = make()
    fed(indicator, [1.0, 2.0, 3.0])
    snapshot = indicator.snapshot()
    then = json.dumps(snapshot)

    fed(indicator, [4.0, 5.0, 6.0])

    assert json.dumps(snapshot) == then


@pytest.mark.parametrize("make", KINDS, ids=["sma", "ema", "macd", "rsi", "atr"])
def test_a_store_may_write_whole_floats_as_whole_numbers(make: Callable[[], Indicator]) -> None:
    whole, again = make(), make()
    values = [float(100 + place * place % 13) for place in range(40)]
    fed(whole, values[:20])

    again.restore(json.loads(json.dumps(whole.snapshot()).replace(".0,", ",").replace(".0}", "}")))

    told = fed(again, values[20:])
    assert told == fed(whole, values[20:])
    assert {type(value) for value in told} == {float}
