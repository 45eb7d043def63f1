from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.real_broker.protection import protected_limit
from pulse_adapters.zerodha.protection import (
    AUTOMATIC,
    Kind,
    Protection,
    band_percent,
    kind_of,
)
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Side

TODAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("kind", "price", "percent"),
    [
        (Kind.PLAIN, "0.05", "2"),
        (Kind.PLAIN, "99.95", "2"),
        (Kind.PLAIN, "100", "1"),
        (Kind.PLAIN, "500", "1"),
        (Kind.PLAIN, "500.05", "0.5"),
        (Kind.PLAIN, "90000", "0.5"),
        (Kind.OPTION, "9.95", "5"),
        (Kind.OPTION, "10", "3"),
        (Kind.OPTION, "99.95", "3"),
        (Kind.OPTION, "100", "2"),
        (Kind.OPTION, "500", "2"),
        (Kind.OPTION, "500.05", "1"),
    ],
)
def test_bands(kind: Kind, price: str, percent: str) -> None:
    assert band_percent(kind, Decimal(price), TODAY) == Decimal(percent)


def test_bands_have_a_first_day() -> None:
    assert band_percent(Kind.PLAIN, Decimal(100), date(2026, 4, 1)) == 1
    assert band_percent(Kind.PLAIN, Decimal(100), date(2026, 3, 31)) is None


@pytest.mark.parametrize(
    ("instrument", "kind"),
    [
        ("NSE:RELIANCE", Kind.PLAIN),
        ("NSE:PRICE", Kind.PLAIN),  # ends like a call
        ("NSE:NIFTY26NOV25000CE", Kind.PLAIN),  # no options are traded there
        ("NFO:NIFTY26NOVFUT", Kind.PLAIN),
        ("NFO:NIFTY26NOV25000CE", Kind.OPTION),
        ("BFO:SENSEX26N1985000PE", Kind.OPTION),
        ("MCX:CRUDEOIL26DEC6000PE", Kind.OPTION),
        ("MCX:CRUDEOIL26DECFUT", Kind.PLAIN),
    ],
)
def test_options_are_known_by_their_symbol(instrument: str, kind: Kind) -> None:
    assert kind_of(Instrument.parse(instrument)) is kind


@pytest.mark.parametrize(
    ("side", "price", "percent", "tick", "limit"),
    [
        (Side.BUY, "812.35", "0.5", "0.05", "816.45"),
        (Side.SELL, "812.35", "0.5", "0.05", "808.25"),
        (Side.BUY, "100", "1", "0.05", "101"),  # on the grid already
        (Side.SELL, "100", "1", "0.05", "99"),
        (Side.BUY, "0.05", "5", "0.05", "0.10"),  # always a tick of room
        (Side.SELL, "0.05", "5", "0.05", "0.05"),  # and never free
        (Side.BUY, "25012.3", "0.5", "0.1", "25137.4"),
    ],
)
def test_limits(side: Side, price: str, percent: str, tick: str, limit: str) -> None:
    band = Decimal(price) * Decimal(percent) / 100
    assert protected_limit(side, Decimal(price), band, Decimal(tick)) == Decimal(limit)


prices = st.integers(1, 10_000_000).map(lambda ticks: ticks * Decimal("0.05"))
percents = st.sampled_from(["0.5", "1", "2", "3", "5"]).map(Decimal)


@given(prices, percents, st.sampled_from(Side))
def test_a_limit_is_on_the_grid_and_less_than_a_tick_beyond_the_band(
    price: Decimal, percent: Decimal, side: Side
) -> None:
    tick = Decimal("0.05")
    band = price * percent / 100
    limit = protected_limit(side, price, band, tick)

    away = (limit - price) if side is Side.BUY else (price - limit)
    assert limit > 0
    assert limit % tick == 0
    assert 0 <= away < band + tick


def test_what_the_broker_is_told() -> None:
    assert AUTOMATIC.broker_value == "-1"
    assert Protection(percent=Decimal("2.50")).broker_value == "2.5"
    assert Protection(percent=Decimal(100)).broker_value == "100"
