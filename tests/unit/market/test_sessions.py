"""The phases of a day, per segment."""

from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.errors import CalendarUnknown, InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.market import (
    HOURS,
    MARKETS,
    Action,
    CalendarAdditions,
    PhaseKind,
    SegmentSessions,
    TradingSegment,
    market_sessions,
    trading_segment,
)
from pulse_domain.market.sessions import is_us_summer_time
from pulse_domain.orders.model import OrderType, Validity
from pulse_domain.splitting import Twap, Window, schedule_slices
from pulse_domain.units import INDIA

SESSIONS = market_sessions()
CASH, AUCTION = SESSIONS[TradingSegment.CASH], SESSIONS[TradingSegment.CASH_WITH_AUCTION]
FUTURES, OPTIONS = SESSIONS[TradingSegment.FUTURES], SESSIONS[TradingSegment.OPTIONS]
COMMODITY = SESSIONS[TradingSegment.COMMODITY]

BEFORE, AFTER = date(2026, 7, 31), date(2026, 8, 3)  # the closing auction began in between
EQUITY_SEGMENTS = [segment for segment, market in MARKETS.items() if market == "EQUITY"]


def at(day: date, text: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(text), INDIA)


def ends(sessions: SegmentSessions, day: date) -> list[tuple[str, str]]:
    return [(f"{start:%H:%M}", f"{end:%H:%M}") for start, end in sessions.intervals(day)]


@pytest.mark.parametrize(
    ("sessions", "day", "expected"),
    [
        (CASH, BEFORE, [("09:15", "15:30")]),
        (CASH, AFTER, [("09:15", "15:30")]),
        (AUCTION, BEFORE, [("09:15", "15:30")]),
        (AUCTION, AFTER, [("09:15", "15:15")]),
        (FUTURES, BEFORE, [("09:15", "15:30")]),
        (FUTURES, AFTER, [("09:15", "15:40")]),
        (OPTIONS, AFTER, [("09:15", "15:40")]),
        (COMMODITY, date(2026, 10, 30), [("09:00", "23:30")]),
        (COMMODITY, date(2026, 11, 2), [("09:00", "23:55")]),
        (COMMODITY, date(2026, 3, 6), [("09:00", "23:55")]),
        (COMMODITY, date(2026, 3, 9), [("09:00", "23:30")]),
        (SESSIONS[TradingSegment.COMMODITY_AGRI], date(2026, 11, 20), [("09:00", "17:00")]),
        (SESSIONS[TradingSegment.COMMODITY_AGRI_INTERNATIONAL], date(2026, 11, 20), [("09:00", "21:00")]),
        (CASH, date(2024, 1, 20), [("09:15", "15:30")]),
        (OPTIONS, date(2024, 3, 2), [("09:15", "10:00"), ("11:30", "12:30")]),
        (CASH, date(2025, 10, 21), [("13:45", "14:45")]),
        (CASH, date(2026, 11, 24), []),
        (CASH, date(2026, 11, 21), []),
    ],
)
def test_continuous_sessions(sessions: SegmentSessions, day: date, expected: list[tuple[str, str]]) -> None:
    assert ends(sessions, day) == expected


@pytest.mark.parametrize(
    ("sessions", "day", "moment", "kind", "actions"),
    [
        (CASH, AFTER, "08:59", None, ""),
        (CASH, AFTER, "09:00", PhaseKind.PRE_OPEN, "PMC"),
        (CASH, AFTER, "09:08", PhaseKind.PRE_OPEN_MATCHING, "X"),
        (CASH, AFTER, "09:12", PhaseKind.BUFFER, ""),
        (CASH, AFTER, "09:15", PhaseKind.CONTINUOUS, "PMCX"),
        (CASH, AFTER, "15:29:59", PhaseKind.CONTINUOUS, "PMCX"),
        (CASH, AFTER, "15:30", None, ""),
        (CASH, AFTER, "15:45", None, ""),
        (CASH, AFTER, "15:50", PhaseKind.POST_CLOSE, "PMCX"),
        (CASH, BEFORE, "15:45", PhaseKind.POST_CLOSE, "PMCX"),
        (CASH, AFTER, "16:00", None, ""),
        (AUCTION, AFTER, "15:14:59", PhaseKind.CONTINUOUS, "PMCX"),
        (AUCTION, AFTER, "15:15", PhaseKind.REFERENCE_PRICE, ""),
        (AUCTION, AFTER, "15:20", PhaseKind.CLOSING_AUCTION, "PMC"),
        (AUCTION, AFTER, "15:25", PhaseKind.CLOSING_AUCTION, "PMC"),
        (AUCTION, AFTER, "15:30", PhaseKind.CLOSING_MATCHING, "X"),
        (AUCTION, AFTER, "15:35", None, ""),
        (AUCTION, BEFORE, "15:20", PhaseKind.CONTINUOUS, "PMCX"),
        (FUTURES, AFTER, "09:05", PhaseKind.PRE_OPEN, "PMC"),
        (FUTURES, date(2025, 12, 5), "09:05", None, ""),
        (OPTIONS, AFTER, "09:05", None, ""),
        (OPTIONS, AFTER, "15:39", PhaseKind.CONTINUOUS, "PMCX"),
        (OPTIONS, BEFORE, "15:39", None, ""),
    ],
)
def test_what_may_be_done_when(
    sessions: SegmentSessions, day: date, moment: str, kind: PhaseKind | None, actions: str
) -> None:
    letters = {"P": Action.PLACE, "M": Action.MODIFY, "C": Action.CANCEL, "X": Action.MATCH}

    session = sessions.session_at(at(day, moment))

    assert (session and session.kind) == kind
    assert (session.actions if session else set()) == {letters[letter] for letter in actions}


def test_the_end_of_the_closing_auction_takes_limit_orders_only() -> None:
    first, last = AUCTION.session_at(at(AFTER, "15:21")), AUCTION.session_at(at(AFTER, "15:26"))
    assert first is not None
    assert last is not None

    assert first.allows(Action.CANCEL, order_type=OrderType.MARKET)
    assert not last.allows(Action.CANCEL, order_type=OrderType.MARKET)
    assert last.allows(Action.PLACE, order_type=OrderType.LIMIT, validity=Validity.DAY)
    assert last.certain_until == at(AFTER, "15:28")


def test_the_pre_open_takes_no_stop_loss_and_no_ioc() -> None:
    session = FUTURES.session_at(at(AFTER, "09:01"))
    assert session is not None

    assert session.allows(Action.PLACE, order_type=OrderType.LIMIT, validity=Validity.DAY)
    assert not session.allows(Action.PLACE, order_type=OrderType.SL)
    assert not session.allows(Action.PLACE, validity=Validity.IOC)


def test_instants_of_any_offset_are_understood() -> None:
    utc = datetime.fromisoformat("2026-11-20T04:00:00+00:00")

    assert CASH.session_at(utc) == CASH.session_at(at(date(2026, 11, 20), "09:30"))


# --- the next opening


@pytest.mark.parametrize(
    ("sessions", "instant", "expected"),
    [
        (CASH, at(date(2026, 11, 20), "08:00"), at(date(2026, 11, 20), "09:15")),
        (CASH, at(date(2026, 11, 20), "12:00"), at(date(2026, 11, 23), "09:15")),
        (CASH, at(date(2026, 11, 23), "15:30"), at(date(2026, 11, 25), "09:15")),
        (CASH, at(date(2024, 3, 1), "18:00"), at(date(2024, 3, 2), "09:15")),
        (CASH, at(date(2024, 3, 2), "10:00"), at(date(2024, 3, 2), "11:30")),
        # A Sunday with an hour that nobody has told us is passed over.
        (CASH, at(date(2026, 11, 6), "18:00"), at(date(2026, 11, 9), "09:15")),
        (COMMODITY, at(date(2026, 11, 20), "23:56"), at(date(2026, 11, 23), "09:00")),
    ],
)
def test_next_open(sessions: SegmentSessions, instant: datetime, expected: datetime) -> None:
    assert sessions.next_open(instant) == expected


def test_next_open_may_be_any_phase_that_is_asked_for() -> None:
    kinds = frozenset({PhaseKind.PRE_OPEN, PhaseKind.CONTINUOUS})

    assert CASH.next_open(at(AFTER, "08:00"), kinds) == at(AFTER, "09:00")


def test_there_is_no_next_open_past_the_end_of_the_calendar() -> None:
    with pytest.raises(CalendarUnknown, match="ends on 2026-12-31"):
        CASH.next_open(at(date(2026, 12, 31), "15:30"))
    with pytest.raises(CalendarUnknown):
        CASH.next_open(at(date(2027, 6, 1), "10:00"))
    with pytest.raises(CalendarUnknown):
        SESSIONS[TradingSegment.CURRENCY].next_open(at(date(2026, 11, 20), "10:00"))


@pytest.mark.parametrize("ask", ["sessions", "intervals"])
def test_an_unknown_day_has_no_sessions_to_give(ask: str) -> None:
    with pytest.raises(CalendarUnknown):
        getattr(CASH, ask)(date(2027, 1, 4))


def test_hours_that_an_operator_added_are_sessions() -> None:
    added = CalendarAdditions(market="EQUITY", sessions={date(2026, 11, 8): ((time(18), time(19)),)})
    sessions = market_sessions((added,))[TradingSegment.CASH]

    assert ends(sessions, date(2026, 11, 8)) == [("18:00", "19:00")]
    assert sessions.next_open(at(date(2026, 11, 6), "18:00")) == at(date(2026, 11, 8), "18:00")


@given(
    segment=st.sampled_from(EQUITY_SEGMENTS),
    instant=st.datetimes(datetime(2016, 1, 1), datetime(2026, 12, 25)),
)
def test_the_next_opening_is_later_and_open(segment: TradingSegment, instant: datetime) -> None:
    sessions, moment = SESSIONS[segment], instant.replace(tzinfo=INDIA)

    opens = sessions.next_open(moment)

    assert opens > moment
    session = sessions.session_at(opens)
    assert session is not None
    assert session.kind is PhaseKind.CONTINUOUS
    assert session.starts_at == opens


@given(segment=st.sampled_from(EQUITY_SEGMENTS), day=st.dates(date(2016, 1, 1), date(2026, 12, 31)))
def test_phases_of_a_day_ascend_and_do_not_overlap(segment: TradingSegment, day: date) -> None:
    try:
        sessions = SESSIONS[segment].sessions(day)
    except CalendarUnknown:
        return

    for session in sessions:
        assert session.starts_at < session.certain_until <= session.ends_at
    for one, other in pairwise(sessions):
        assert one.ends_at <= other.starts_at


@given(day=st.dates(date(2016, 1, 1), date(2026, 12, 31)), minute=st.integers(0, 1439))
def test_matching_is_possible_in_a_continuous_session_or_an_auction_only(day: date, minute: int) -> None:
    instant = datetime.combine(day, time(0), INDIA) + timedelta(minutes=minute)
    try:
        session = AUCTION.session_at(instant)
        inside = any(start <= instant < end for start, end in AUCTION.intervals(day))
    except CalendarUnknown:
        return

    assert inside == (session is not None and session.kind is PhaseKind.CONTINUOUS)


def test_every_segment_has_hours_and_a_market() -> None:
    assert set(HOURS) == set(MARKETS) == set(TradingSegment) == set(SESSIONS)


def test_schedules_take_the_intervals_of_a_day() -> None:
    drill = date(2024, 3, 2)
    window = Window(at(drill, "09:30"), at(drill, "12:00"), CASH.intervals(drill))

    slices = schedule_slices(Twap(11), 100, window)

    for slice_ in slices:
        assert CASH.session_at(slice_.at) is not None


# --- which segment


@pytest.mark.parametrize(
    ("name", "auction", "segment"),
    [
        ("NSE:RELIANCE", True, TradingSegment.CASH_WITH_AUCTION),
        ("NSE:RELIANCE", False, TradingSegment.CASH),
        # Not known: the earlier end.
        ("BSE:RELIANCE", None, TradingSegment.CASH_WITH_AUCTION),
        ("NFO:NIFTY26NOVFUT", None, TradingSegment.FUTURES),
        ("NFO:NIFTY2692221000PE", None, TradingSegment.OPTIONS),
        ("BFO:SENSEX26NOV80000CE", None, TradingSegment.OPTIONS),
        ("CDS:USDINR26NOVFUT", None, TradingSegment.CURRENCY),
        ("MCX:GOLD26DECFUT", None, TradingSegment.COMMODITY),
        ("MCX:GOLDM26DECFUT", None, TradingSegment.COMMODITY),
        ("MCX:CRUDEOIL26NOV5000CE", None, TradingSegment.COMMODITY),
        ("MCX:KAPAS26NOVFUT", None, TradingSegment.COMMODITY_AGRI),
    ],
)
def test_segments(name: str, auction: bool | None, segment: TradingSegment) -> None:
    assert trading_segment(Instrument.parse(name), closing_auction=auction) is segment


def test_a_derivative_of_no_known_kind_has_no_segment() -> None:
    with pytest.raises(InvalidInstrument):
        trading_segment(Instrument.parse("NFO:NIFTY"))


@pytest.mark.parametrize(
    ("day", "summer"),
    [
        (date(2026, 3, 7), False),
        (date(2026, 3, 8), True),
        (date(2026, 10, 31), True),
        (date(2026, 11, 1), False),
        (date(2027, 3, 14), True),
        (date(2027, 11, 7), False),
    ],
)
def test_us_summer_time(day: date, summer: bool) -> None:
    assert is_us_summer_time(day) is summer
