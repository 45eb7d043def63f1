"""What acceptance asks of the market."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_domain.errors import CalendarUnknown, MarketClosed, NotOffered
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.market import CAPABILITIES, CalendarAdditions, PhaseKind, market_sessions, trading_segment
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, SplitConfig, Validity
from pulse_domain.units import INDIA
from pulse_domain.use_cases.market_gate import MarketGate, MarketRules, OutsideSession

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
MARGIN = timedelta(seconds=10)
REJECT, QUEUE = OutsideSession.REJECT, OutsideSession.QUEUE


def at(day: date, text: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(text), INDIA)


def request(instrument: str = "NFO:NIFTY26NOVFUT", minutes: int | None = None, **given: Any) -> OrderRequest:
    fields: dict[str, Any] = {"side": Side.BUY, "total_quantity": 1200}
    if minutes is not None:
        fields["split_config"] = SplitConfig(num_splits=2, duration_minutes=minutes)
    return OrderRequest(instrument=Instrument.parse(instrument), **fields | given).normalised()


def gate(
    outside: OutsideSession = REJECT, *, additions: tuple[CalendarAdditions, ...] = (), **rules: Any
) -> MarketGate:
    return MarketGate(MarketRules(outside_session=outside, **rules), DatedCalendar(additions))


async def refused(asked: OrderRequest, now: datetime, **rules: Any) -> MarketClosed:
    with pytest.raises(MarketClosed) as raised:
        await gate(**rules).fit(asked, now)
    return raised.value


# --- without rules


async def test_without_rules_the_market_is_always_open() -> None:
    for open_gate in (MarketGate(), gate(OutsideSession.ACCEPT)):
        midnight = at(MONDAY, "00:00")
        open_gate.check_offered(request("MCX:GOLD26DECFUT", validity=Validity.IOC), midnight)

        assert await open_gate.fit(request(minutes=1440), midnight) is None


# --- reject


@pytest.mark.parametrize(
    ("instrument", "open_at", "closed_at"),
    [
        ("NFO:NIFTY26NOVFUT", "15:39", "15:40"),
        ("NSE:TCS", "15:14", "15:15"),
        ("MCX:GOLD26DECFUT", "23:54", "23:55"),
        ("MCX:KAPAS26DECFUT", "16:59", "17:00"),
    ],
)
async def test_orders_outside_the_session_are_refused(instrument: str, open_at: str, closed_at: str) -> None:
    assert await gate().fit(request(instrument), at(FRIDAY, open_at)) is None

    error = await refused(request(instrument), at(FRIDAY, closed_at))

    assert error.code == "MARKET_CLOSED"
    opens = "09:00" if instrument.startswith("MCX") else "09:15"
    assert error.details["next_open"] == at(MONDAY, opens).isoformat()


async def test_a_share_that_is_not_in_the_auction_trades_until_half_past_three() -> None:
    async def in_auction(instrument: Instrument) -> bool | None:
        return instrument.symbol == "TCS"

    knowing = MarketGate(MarketRules(outside_session=REJECT), DatedCalendar((), in_auction))

    assert await knowing.fit(request("NSE:SMALLCO"), at(FRIDAY, "15:29")) is None
    with pytest.raises(MarketClosed):
        await knowing.fit(request("NSE:TCS"), at(FRIDAY, "15:29"))


async def test_the_start_counts_and_not_the_present() -> None:
    night = at(FRIDAY, "23:00")

    assert await gate().fit(request(start_at=at(MONDAY, "10:00")), night) is None
    assert (await refused(request(start_at=at(MONDAY, "16:00")), night)).details["reason"] == "closed"


async def test_a_window_that_ends_after_the_session_is_refused_with_what_fits() -> None:
    assert await gate().fit(request(minutes=30), at(FRIDAY, "15:09")) is None

    error = await refused(request(minutes=60), at(FRIDAY, "15:09"))

    assert error.details["reason"] == "window"
    assert error.details["feasible_minutes"] == 30
    assert error.details["session_ends_at"] == (at(FRIDAY, "15:40") - MARGIN).isoformat()


async def test_the_last_seconds_of_a_session_are_too_late() -> None:
    assert (await refused(request(), at(FRIDAY, "15:39:55"))).details["reason"] == "too_late"


async def test_intraday_orders_have_a_cutoff() -> None:
    mis = request(product=Product.MIS)

    assert await gate().fit(mis, at(FRIDAY, "15:19")) is None
    error = await refused(mis, at(FRIDAY, "15:20"))
    assert error.details["reason"] == "too_late"
    assert "MIS" in error.message
    assert (await refused(request(product=Product.MIS, minutes=30), at(FRIDAY, "15:00"))).details[
        "reason"
    ] == "window"
    assert await gate().fit(request(), at(FRIDAY, "15:20")) is None


async def test_an_unknown_day_counts_as_closed() -> None:
    error = await refused(request(), at(date(2027, 1, 4), "10:00"))
    assert isinstance(error, CalendarUnknown)
    assert error.code == "MARKET_CLOSED"
    assert error.details["reason"] == "unknown"
    assert "next_open" not in error.details

    sunday = await refused(request(), at(date(2026, 11, 8), "18:30"))
    assert sunday.details["next_open"] == at(date(2026, 11, 9), "09:15").isoformat()


async def test_what_an_operator_added_is_open() -> None:
    evening = CalendarAdditions(market="EQUITY", sessions={date(2026, 11, 8): ((time(18), time(19)),)})

    assert await gate(additions=(evening,)).fit(request(), at(date(2026, 11, 8), "18:30")) is None


async def test_currency_is_closed_until_its_days_are_known() -> None:
    assert isinstance(await refused(request("CDS:USDINR26NOVFUT"), at(FRIDAY, "10:00")), CalendarUnknown)


# --- phases


async def test_other_phases_are_for_those_who_ask_for_them() -> None:
    phases = frozenset({PhaseKind.CONTINUOUS, PhaseKind.PRE_OPEN, PhaseKind.CLOSING_AUCTION})
    share = request("NSE:TCS")

    await refused(share, at(FRIDAY, "09:05"))
    assert await gate(phases=phases).fit(share, at(FRIDAY, "09:05")) is None
    assert await gate(phases=phases).fit(share, at(FRIDAY, "15:22")) is None
    # Entry may end at any moment of the last minute.
    assert (await refused(share, at(FRIDAY, "09:07:30"), phases=phases)).details["reason"] == "too_late"
    # From 15:25 on limit orders only; IOC and schedules never.
    assert (await refused(share, at(FRIDAY, "15:26"), phases=phases)).details["reason"] == "order_type"
    ioc = request("NSE:TCS", validity=Validity.IOC)
    assert (await refused(ioc, at(FRIDAY, "09:05"), phases=phases)).details["reason"] == "order_type"
    assert (await refused(request("NSE:TCS", 1), at(FRIDAY, "09:05"), phases=phases)).details[
        "reason"
    ] == "closed"
    # What is bought in the closing auction cannot be squared off on the day.
    mis = request("NSE:TCS", product=Product.MIS)
    assert (await refused(mis, at(FRIDAY, "15:22"), phases=phases)).details["reason"] == "closed"


# --- queue


@pytest.mark.parametrize(
    ("asked", "now", "window"),
    [
        (request(), at(FRIDAY, "18:00"), (at(MONDAY, "09:15"), at(MONDAY, "09:15"))),
        (request(minutes=60), at(FRIDAY, "08:00"), (at(FRIDAY, "09:15"), at(FRIDAY, "10:15"))),
        (request(minutes=60), at(FRIDAY, "10:00"), None),
        # Most of it fits: it ends with the session.
        (request(minutes=60), at(FRIDAY, "15:00"), (at(FRIDAY, "15:00"), at(FRIDAY, "15:40") - MARGIN)),
        # Hardly any does: it would be sent in a rush.
        (request(minutes=60), at(FRIDAY, "15:35"), (at(MONDAY, "09:15"), at(MONDAY, "10:15"))),
        # No session is as long.
        (request(minutes=1440), at(FRIDAY, "18:00"), (at(MONDAY, "09:15"), at(MONDAY, "15:40") - MARGIN)),
        (request(product=Product.MIS), at(FRIDAY, "15:20"), (at(MONDAY, "09:15"), at(MONDAY, "09:15"))),
        (request(start_at=at(date(2026, 11, 22), "12:00")), at(FRIDAY, "18:00"), (at(MONDAY, "09:15"),) * 2),
        (request(), at(date(2026, 11, 8), "12:00"), (at(date(2026, 11, 9), "09:15"),) * 2),
    ],
    ids=["evening", "before the open", "fits", "cut", "too little is left", "longer than a day", "intraday",
         "starts on a sunday", "unknown day"],
)  # fmt: skip
async def test_queued_orders_wait_for_the_open(
    asked: OrderRequest, now: datetime, window: tuple[datetime, datetime] | None
) -> None:
    assert await gate(QUEUE).fit(asked, now) == window


async def test_queued_orders_are_refused_where_no_open_is_known() -> None:
    with pytest.raises(CalendarUnknown):
        await gate(QUEUE).fit(request(), at(date(2026, 12, 31), "18:00"))


async def test_a_short_session_of_a_drill_is_used_as_it_is() -> None:
    saturday = date(2024, 3, 2)

    moved = await gate(QUEUE).fit(request(minutes=30), at(saturday, "09:40"))
    later = await gate(QUEUE).fit(request(minutes=30), at(saturday, "09:58"))

    assert moved == (at(saturday, "09:40"), at(saturday, "10:00") - MARGIN)
    assert later == (at(saturday, "11:30"), at(saturday, "12:00"))


SESSIONS = market_sessions()


@given(
    instrument=st.sampled_from(["NSE:TCS", "NFO:NIFTY26NOVFUT", "BFO:SENSEX26NOV80000CE", "MCX:GOLD26DECFUT"]),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 20)),
    minutes=st.none() | st.integers(1, 1440),
    product=st.sampled_from([Product.NRML, Product.MIS]),
)
async def test_whatever_is_queued_lies_in_one_continuous_session(
    instrument: str, now: datetime, minutes: int | None, product: Product
) -> None:
    moment = now.replace(tzinfo=INDIA)
    if instrument.startswith("NSE") and product is Product.NRML:
        product = Product.CNC
    asked = request(instrument, minutes, product=product)

    fitted = await gate(QUEUE).fit(asked, moment)

    starts, ends = fitted or (moment, moment + timedelta(minutes=minutes or 0))
    sessions = SESSIONS[trading_segment(asked.instrument)]
    session = sessions.session_at(starts)
    assert session is not None
    assert session.kind is PhaseKind.CONTINUOUS
    assert moment <= starts <= ends < session.ends_at
    assert ends - starts <= timedelta(minutes=minutes or 0)
    # What the strict rule takes is left as it is.
    assert await gate(QUEUE).fit(asked, starts) in (None, (starts, ends))


# --- what is offered


def test_an_unconfirmed_exchange_takes_nothing() -> None:
    closed = gate(unconfirmed=frozenset({Exchange.MCX}), capabilities=CAPABILITIES["zerodha"])

    with pytest.raises(NotOffered) as raised:
        closed.check_offered(request("MCX:GOLD26DECFUT"), at(FRIDAY, "10:00"))

    assert raised.value.details["setting"] == "UNITS_CONFIRMED"
    closed.check_offered(request("NSE:TCS"), at(FRIDAY, "10:00"))
    gate(capabilities=CAPABILITIES["zerodha"]).check_offered(request("MCX:GOLD26DECFUT"), at(FRIDAY, "10:00"))


def test_capabilities_are_those_of_the_day_of_the_start() -> None:
    stop = request(order_type=OrderType.SL_M, trigger_price=Decimal(1))

    with pytest.raises(NotOffered):
        gate(capabilities=CAPABILITIES["kotak"]).check_offered(stop, at(FRIDAY, "10:00"))
    gate(capabilities=CAPABILITIES["zerodha"]).check_offered(stop, at(FRIDAY, "10:00"))
