"""Ticks, freeze quantities, the intraday cut-off."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pulse_domain.errors import InvalidPrice, InvalidQuantity, InvalidSettings
from pulse_domain.market import (
    FreezeReading,
    MisCutoff,
    TradingSegment,
    index_freeze_quantity,
    largest_order,
    mis_cutoff,
    nse_share_tick,
    parse_mis_cutoffs,
    round_passive,
    round_trigger,
)
from pulse_domain.orders.model import Side
from pulse_domain.units import INDIA

TICKS = st.sampled_from([Decimal(text) for text in ("0.01", "0.0025", "0.05", "0.1", "0.2", "0.5", "1", "5")])
PRICES = st.decimals("0.0001", "100000", places=4)


# --- ticks


@pytest.mark.parametrize(
    ("price", "tick", "side", "rounded"),
    [
        ("100.07", "0.05", Side.BUY, "100.05"),
        ("100.07", "0.05", Side.SELL, "100.10"),
        ("100.05", "0.05", Side.BUY, "100.05"),
        ("3787.05", "0.10", Side.BUY, "3787.00"),
        ("3787.05", "0.10", Side.SELL, "3787.10"),
        ("0.30", "0.1", Side.BUY, "0.3"),
        ("0.03", "0.05", Side.SELL, "0.05"),
    ],
)
def test_prices_are_rounded_in_the_passive_direction(price: str, tick: str, side: Side, rounded: str) -> None:
    assert round_passive(Decimal(price), Decimal(tick), side) == Decimal(rounded)


@given(price=PRICES, tick=TICKS, side=st.sampled_from(Side))
def test_rounding_gives_the_nearest_price_that_is_no_worse(price: Decimal, tick: Decimal, side: Side) -> None:
    assume(side is Side.SELL or price >= tick)

    rounded = round_passive(price, tick, side)

    assert rounded % tick == 0
    better = price - rounded if side is Side.BUY else rounded - price
    assert 0 <= better < tick
    assert round_passive(rounded, tick, side) == rounded


@given(price=PRICES, tick=TICKS, side=st.sampled_from(Side))
def test_triggers_fire_no_earlier(price: Decimal, tick: Decimal, side: Side) -> None:
    assume(side is Side.BUY or price >= tick)

    rounded = round_trigger(price, tick, side)

    assert rounded % tick == 0
    assert rounded >= price if side is Side.BUY else rounded <= price


@pytest.mark.parametrize(("price", "tick"), [("0.03", "0.05"), ("-1", "0.05"), ("NaN", "0.05"), ("1", "0")])
def test_prices_that_cannot_be_rounded_are_refused(price: str, tick: str) -> None:
    with pytest.raises(InvalidPrice):
        round_passive(Decimal(price), Decimal(tick), Side.BUY)


@pytest.mark.parametrize(
    ("close", "day", "tick"),
    [
        ("249.99", date(2025, 4, 15), "0.01"),
        ("250", date(2025, 4, 15), "0.05"),
        ("3787.05", date(2025, 4, 14), "0.05"),
        ("3787.05", date(2025, 4, 15), "0.10"),
        ("20000", date(2026, 1, 1), "5.00"),
        ("3787.05", date(2024, 6, 9), None),
    ],
)
def test_ticks_of_shares_by_day(close: str, day: date, tick: str | None) -> None:
    assert nse_share_tick(Decimal(close), day) == (None if tick is None else Decimal(tick))


# --- freeze quantities


@pytest.mark.parametrize(
    ("printed", "lot", "safe", "as_limit"),
    [
        (1800, 65, 1755, 1755),
        (1801, 65, 1755, 1755),  # as the file of 2026-08-28 has it
        (1756, 65, 1755, 1755),  # as the master of July 2026 has it
        (1755, 65, 1690, 1755),  # a legal order itself: being safe costs a lot
        (601, 30, 600, 600),
        (600, 30, 570, 600),
        (40592, 1, 40591, 40592),
        (65, 65, 65, 65),
        (66, 65, 65, 65),
    ],
)
def test_the_largest_order_is_right_under_both_readings(
    printed: int, lot: int, safe: int, as_limit: int
) -> None:
    assert largest_order(printed, lot) == safe
    assert largest_order(printed, lot, FreezeReading.LIMIT) == as_limit


@given(printed=st.integers(1, 10_000_000), lot=st.integers(1, 10_000))
def test_no_order_trips_the_freeze_and_one_lot_more_may(printed: int, lot: int) -> None:
    assume(printed >= lot)

    largest = largest_order(printed, lot)

    assert largest % lot == 0
    assert lot <= largest <= printed
    assert largest + lot > printed - 1
    if printed != lot:
        assert largest < printed


def test_a_freeze_quantity_below_one_lot_is_refused() -> None:
    with pytest.raises(InvalidQuantity):
        largest_order(64, 65)


@pytest.mark.parametrize(
    ("underlying", "day", "quantity"),
    [
        ("BANKNIFTY", date(2025, 8, 31), 600),
        ("BANKNIFTY", date(2025, 9, 1), 900),
        ("BANKNIFTY", date(2025, 11, 3), 600),
        ("FINNIFTY", date(2025, 12, 15), 1200),
        ("FINNIFTY", date(2026, 11, 20), 1800),
        ("SENSEX", date(2026, 11, 20), None),
        ("NIFTY", date(2025, 6, 30), None),
    ],
)
def test_freeze_quantities_of_indices_by_day(underlying: str, day: date, quantity: int | None) -> None:
    assert index_freeze_quantity(underlying, day) == quantity


# --- intraday orders


def close(hour: int, minute: int) -> datetime:
    return datetime(2026, 11, 20, hour, minute, tzinfo=INDIA)


@pytest.mark.parametrize(
    ("segment", "ends_at", "cutoff"),
    [
        (TradingSegment.CASH, close(15, 30), close(15, 20)),
        (TradingSegment.CASH_WITH_AUCTION, close(15, 15), close(15, 5)),
        (TradingSegment.OPTIONS, close(15, 40), close(15, 20)),
        (TradingSegment.CURRENCY, close(17, 0), close(16, 40)),
        (TradingSegment.COMMODITY, close(23, 55), close(23, 25)),
        # A short session ends before the cut-off of a whole day.
        (TradingSegment.CASH, close(12, 30), close(12, 30)),
    ],
)
def test_cutoffs(segment: TradingSegment, ends_at: datetime, cutoff: datetime) -> None:
    assert mis_cutoff(segment, ends_at) == cutoff


def test_cutoffs_can_be_set() -> None:
    tables = parse_mis_cutoffs("CASH=15:10, COMMODITY=-45")

    assert mis_cutoff(TradingSegment.CASH, close(15, 30), tables) == close(15, 10)
    assert mis_cutoff(TradingSegment.COMMODITY, close(23, 30), tables) == close(22, 45)
    assert mis_cutoff(TradingSegment.OPTIONS, close(15, 40), tables) == close(15, 20)
    assert parse_mis_cutoffs("") == parse_mis_cutoffs(" , ")


@pytest.mark.parametrize("text", ["EQUITY=15:10", "CASH", "CASH=noon", "CASH=-x", "CASH=25:00"])
def test_cutoffs_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(InvalidSettings):
        parse_mis_cutoffs(text)


def test_a_cutoff_is_one_thing() -> None:
    with pytest.raises(InvalidSettings):
        MisCutoff()
    with pytest.raises(InvalidSettings):
        MisCutoff(at=time(15, 0), before_close=timedelta(minutes=1))
