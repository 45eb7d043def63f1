"""The average of the last minute, against one that is computed anew for every tick."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.errors import DomainError
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.minute_vwap import MinuteVwap

TCS = Instrument.parse("NSE:TCS")
OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)


def tick(second: float, price: str | Decimal, volume: int, at: datetime = OPEN) -> Tick:
    return Tick(TCS, at + timedelta(seconds=second), Decimal(price), volume=volume)


def after(*ticks: Tick) -> MinuteVwap:
    vwap = MinuteVwap()
    for each in ticks:
        vwap.on_tick(each)
    return vwap


def test_prices_weigh_what_was_traded_at_them() -> None:
    vwap = after(tick(0, "100", 1000), tick(10, "101", 1030), tick(20, "102", 1040))

    assert vwap.vwap == Decimal("101.25")  # 30 at 101, 10 at 102


def test_the_first_tick_of_a_day_only_tells_where_the_total_stands() -> None:
    assert after(tick(0, "100", 1000)).vwap is None
    yesterday = (tick(0, "90", 10), tick(1, "90", 20))
    assert after(*yesterday, tick(86_400, "100", 5)).vwap is None


def test_the_minute_ends_with_the_latest_tick_and_begins_after_the_same_instant_before() -> None:
    ticks = (tick(0, "99", 0), tick(0, "100", 10), tick(30, "101", 20))

    assert after(*ticks, tick(59.999, "101", 20)).vwap == Decimal("100.5")
    assert after(*ticks, tick(60, "101", 20)).vwap == Decimal("101")


def test_an_index_has_the_plain_average_of_its_ticks() -> None:
    assert after(tick(0, "100", 0), tick(1, "100", 0), tick(2, "103", 0)).vwap == Decimal("101")


def test_an_instrument_with_volume_that_was_not_traded_in_the_minute_has_no_average() -> None:
    assert after(tick(0, "100", 10), tick(1, "101", 20), tick(70, "103", 20)).vwap is None


@pytest.mark.parametrize("again", [tick(1, "101", 20), tick(0.5, "50", 15), tick(1, "50", 7)])
def test_a_tick_told_twice_or_whose_total_steps_back_trades_nothing(again: Tick) -> None:
    assert after(tick(0, "100", 10), tick(1, "101", 20), again).vwap == Decimal("101")


def test_a_tick_without_volume_told_twice_counts_once_in_the_plain_average() -> None:
    assert after(tick(0, "100", 0), tick(1, "104", 0), tick(0, "100", 0)).vwap == Decimal("102")


def test_a_late_tick_counts_at_its_own_instant_and_is_not_the_last_price() -> None:
    vwap = after(tick(0, "100", 0), tick(30, "100", 10), tick(20, "104", 20))

    assert (vwap.vwap, vwap.last) == (Decimal("102"), tick(30, "100", 10))
    vwap.on_tick(tick(85, "100", 20))  # that of 20 s is out, that of 30 s is in
    assert vwap.vwap == Decimal("100")


def test_of_equal_instants_the_last_that_came_is_the_last_price() -> None:
    assert after(tick(0, "100", 10), tick(0, "101", 10)).last == tick(0, "101", 10)


def test_a_tick_that_is_a_minute_late_changes_nothing() -> None:
    vwap = after(tick(0, "100", 0), tick(70, "101", 10), tick(75, "103", 20))

    assert not vwap.on_tick(tick(15, "1", 10_000))
    assert (vwap.vwap, vwap.late) == (Decimal("102.8182"), 1)


def test_after_a_silence_the_price_is_there_and_weighs_next_to_nothing() -> None:
    silence = (tick(0, "100", 0), tick(1, "100", 10), tick(600, "110", 1_000_010))

    assert after(*silence).vwap == Decimal("110")
    assert after(*silence, tick(610, "120", 1_000_109)).vwap == Decimal("119.9")


def test_what_cannot_be_counted_is_refused_and_changes_nothing() -> None:
    vwap = after(tick(0, "100", 0), tick(1, "100", 10))

    for bad in ("NaN", "0.00001", "Infinity"):
        with pytest.raises(DomainError):
            vwap.on_tick(tick(2, bad, 20))

    assert (vwap.vwap, vwap.last) == (Decimal("100"), tick(1, "100", 10))


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(9_990, 10_010), st.integers(0, 50)), min_size=1, max_size=60
    )
)
def test_ticks_in_order_give_the_average_of_those_of_the_last_minute(steps: list[tuple[int, int, int]]) -> None:
    vwap, second, total = MinuteVwap(), 0, 1000
    traded: list[tuple[int, Decimal, int]] = []
    for number, (seconds, paise, units) in enumerate(steps):
        second, total = second + seconds, total + units
        price = Decimal(paise) / 100
        vwap.on_tick(tick(second, price, total))
        if number:
            traded.append((second, price, units))
        last = [(each, count) for at, each, count in traded if at > second - 60]
        count = sum(count for _, count in last)
        expected = sum((each * count for each, count in last), Decimal(0)) / count if count else None
        assert vwap.vwap == (expected and expected.quantize(Decimal("0.0001")))
