"""What counts as a hole, and what fills it."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.real_broker.backfill import Backfill
from pulse_adapters.real_broker.holes import Holes
from pulse_domain.candles import ClosedCandle, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.market_feed import FeedGap
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_feed import KeptFeed

TCS, INFY, GOLD = (Instrument.parse(text) for text in ("NSE:TCS", "NSE:INFY", "MCX:GOLD26FEBFUT"))
# 10:00 in India, a Tuesday.
TEN = datetime(2026, 1, 20, 4, 30, tzinfo=UTC)


def tick(instrument: Instrument, seconds: float) -> Tick:
    return Tick(instrument, TEN + timedelta(seconds=seconds), Decimal(100))


def gap(since: float, until: float, *instruments: Instrument, reason: str = "lost") -> FeedGap:
    return FeedGap(
        instruments=instruments,
        since=TEN + timedelta(seconds=since),
        until=TEN + timedelta(seconds=until),
        reason=reason,
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(TEN)


@pytest.fixture
def holes(clock: FakeClock) -> Holes:
    return Holes(clock, DatedCalendar().hours_at)


async def test_a_hole_ends_with_the_first_later_tick_of_each_instrument(clock: FakeClock, holes: Holes) -> None:
    assert holes.close([tick(TCS, 0), tick(INFY, 0), tick(GOLD, -1)]) == []
    await clock.advance(10)
    holes.open("lost")

    assert holes.close([tick(TCS, 10), tick(INFY, 10)]) == [gap(0, 10, TCS, INFY)]
    assert holes.close([tick(TCS, 11), tick(GOLD, 12)]) == [gap(-1, 12, GOLD)]
    assert holes.close([tick(TCS, 13), tick(GOLD, 13)]) == []


async def test_what_was_seen_already_does_not_end_a_hole(clock: FakeClock, holes: Holes) -> None:
    holes.close([tick(TCS, 5)])
    await clock.advance(10)
    holes.open("silent")

    assert holes.close([tick(TCS, 5), tick(TCS, 4)]) == []
    assert holes.close([tick(TCS, 9)]) == [gap(5, 9, TCS, reason="silent")]


async def test_a_hole_in_a_hole_is_one_with_the_latest_reason(clock: FakeClock, holes: Holes) -> None:
    holes.close([tick(TCS, 0)])
    for reason in ("silent", "lost", "refused"):
        await clock.advance(1)
        holes.open(reason)

    assert holes.close([tick(TCS, 5)]) == [gap(0, 5, TCS, reason="refused")]


async def test_what_was_never_seen_and_what_is_not_wanted_any_more_has_no_holes(
    clock: FakeClock, holes: Holes
) -> None:
    holes.open("lost")
    assert holes.close([tick(TCS, 0)]) == []
    holes.open("lost")
    holes.forget_all_but([INFY])

    assert holes.close([tick(TCS, 5), tick(INFY, 5)]) == []


@pytest.mark.parametrize(
    ("lost", "back", "is_hole"),
    [
        ("20T23:00", "21T06:30", False),  # a night
        ("20T15:30", "21T09:14", False),
        ("20T15:29", "20T15:31", True),  # the last minute of a session
        ("20T23:00", "21T09:16", True),  # the first one
        ("20T11:00", "20T11:01", True),
        ("23T16:00", "26T23:00", False),  # a weekend, and Republic Day
        ("20T16:00", "21T16:00", True),  # a whole session between two evenings
    ],
)
async def test_a_hole_is_what_the_market_was_open_in(lost: str, back: str, *, is_hole: bool) -> None:
    def india(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-01-{text}:00+05:30")

    clock = FakeClock(india("20T09:15").astimezone(UTC))
    holes = Holes(clock, DatedCalendar().hours_at)
    holes.close([Tick(TCS, india("20T09:15"), Decimal(100))])
    # Others are traded until the connection is lost.
    await clock.advance((india(lost) - india("20T09:15")).total_seconds())
    holes.close([Tick(GOLD, india(lost), Decimal(100))])
    holes.open("lost")
    await clock.advance((india(back) - india(lost)).total_seconds())
    holes.resume()
    # Its first price comes when it opens next.
    await clock.advance((india("28T09:15") - india(back)).total_seconds())

    found = holes.close([Tick(TCS, india("28T09:15"), Decimal(100))])

    assert (found != []) == is_hole


async def test_what_was_lost_again_after_it_came_back_counts_too() -> None:
    # Lost in the night, back before the market opens, lost again, and back after that.
    clock = FakeClock(TEN)
    holes = Holes(clock, DatedCalendar().hours_at)
    holes.close([tick(GOLD, 0), tick(TCS, 0)])
    await clock.advance(8 * 3600)  # at six in the evening gold is still traded
    holes.close([tick(GOLD, 8 * 3600)])
    holes.open("lost")
    await clock.advance(14 * 3600)
    holes.resume()
    holes.open("lost")
    await clock.advance(2 * 3600)
    holes.resume()

    day_s = 24 * 3600
    assert holes.close([tick(TCS, day_s)]) == [gap(0, day_s, TCS)]


async def test_a_price_from_the_future_neither_ends_a_hole_nor_hides_one(
    clock: FakeClock, holes: Holes
) -> None:
    holes.close([tick(TCS, 0), tick(TCS, 365 * 86_400), tick(INFY, 60)])
    await clock.advance(10)
    holes.open("lost")
    await clock.advance(70)

    assert holes.close([tick(TCS, 365 * 86_400)]) == []
    assert holes.close([tick(TCS, 80), tick(INFY, 80)]) == [gap(0, 80, TCS), gap(60, 80, INFY)]


async def test_what_nobody_watched_is_a_hole_up_to_when_prices_can_come(clock: FakeClock, holes: Holes) -> None:
    holes.open_since({TCS: TEN - timedelta(minutes=20), INFY: TEN - timedelta(minutes=10)})
    # A connection that fails at once makes no other hole of it.
    holes.open("refused")
    await clock.advance(30)
    holes.resume()
    await clock.advance(5)

    # The last price of before says that it is not all, and a later one ends it as well.
    assert holes.close([tick(TCS, -900)]) == [gap(-1200, 30, TCS, reason="unwatched")]
    assert holes.close([tick(INFY, -600)]) == []
    assert holes.close([tick(INFY, 34)]) == [gap(-600, 34, INFY, reason="unwatched")]
    assert holes.close([tick(TCS, 35), tick(INFY, 35)]) == []


async def test_what_was_stored_to_the_end_of_the_session_has_no_hole() -> None:
    closes = datetime(2026, 1, 20, 10, 0, tzinfo=UTC)  # 15:30 in India
    clock = FakeClock(closes + timedelta(minutes=40))
    holes = Holes(clock, DatedCalendar().hours_at)
    holes.open_since({TCS: closes})
    holes.resume()

    assert holes.close([Tick(TCS, closes + timedelta(seconds=1), Decimal(100))]) == []


# --- filling


def of_the_day(instrument: Instrument, at: datetime) -> SessionHours:
    """Which opens at 09:15 in India."""
    return SessionHours(TEN - timedelta(minutes=45), TEN + timedelta(hours=5))


class Broker:
    """Candles of a broker that fails as often as it is told to."""

    def __init__(self, *, failures: int = 0, missing: Collection[int] = ()) -> None:
        self.missing = {TEN + minute * timedelta(minutes=1) for minute in missing}
        self.asked: list[tuple[Instrument, datetime, datetime]] = []
        self.failures = failures
        self.at_once = self.at_once_max = 0

    async def __call__(self, instrument: Instrument, since: datetime, until: datetime) -> Sequence[Candle]:
        self.asked.append((instrument, since, until))
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        # One more on either side than was asked for.
        minutes = range(-1, round((until - since) / timedelta(minutes=1)) + 1)
        price = Decimal(100)
        every = [since + n * timedelta(minutes=1) for n in minutes]
        return [Candle(instrument, at, price, price, price, price) for at in every if at not in self.missing]


def starts(candles: Sequence[ClosedCandle]) -> list[float]:
    assert all(told.minutes == 1 for told in candles)
    return [(told.start - TEN) / timedelta(minutes=1) for told in candles]


async def test_whole_minutes_are_filled_at_once_and_the_torn_one_when_it_is_over(clock: FakeClock) -> None:
    broker, kept = Broker(), KeptFeed()
    backfill = Backfill(clock, broker, of_the_day, broker="test")
    await clock.advance(200)

    async with backfill.running(kept):
        backfill.ask(gap(30, 200, TCS))
        await settle()
        assert starts(kept.candles) == [0, 1, 2]
        await clock.advance(44)
        assert len(kept.candles) == 3
        await clock.advance(2)

    assert starts(kept.candles) == [0, 1, 2, 3]
    assert (backfill.candles, backfill.unfilled) == (4, 0)


@pytest.mark.parametrize("back", [180.3, 184.9])
async def test_a_minute_that_has_just_ended_is_waited_for(clock: FakeClock, back: float) -> None:
    broker, kept = Broker(), KeptFeed()
    backfill = Backfill(clock, broker, of_the_day, broker="test")
    await clock.advance(back)

    async with backfill.running(kept):
        backfill.ask(gap(30, back, TCS))
        await settle()
        await clock.advance(184.95 - back)
        assert broker.asked == []
        await clock.advance(0.1)
        assert starts(kept.candles) == [0, 1, 2]


async def test_what_nobody_watched_is_filled_from_the_longest_candle_on(clock: FakeClock) -> None:
    broker, kept = Broker(), KeptFeed()
    backfill = Backfill(clock, broker, of_the_day, broker="test")
    await clock.advance(130)

    async with backfill.running(kept):
        backfill.ask(gap(-7 * 60, 130, TCS, reason="unwatched"))
        await settle()

    assert broker.asked == [(TCS, TEN - timedelta(minutes=15), TEN + timedelta(minutes=2))]


async def test_a_minute_that_the_broker_does_not_have_was_without_a_trade(clock: FakeClock) -> None:
    broker, kept = Broker(missing={1, 3}), KeptFeed()
    backfill = Backfill(clock, broker, of_the_day, broker="test")
    await clock.advance(200)

    async with backfill.running(kept):
        backfill.ask(gap(30, 200, TCS))
        await clock.advance(60)

    assert starts(kept.candles) == [0, 1, 2, 3]
    assert [told.candle is None for told in kept.candles] == [False, True, False, True]
    assert backfill.candles == 2


async def test_a_broker_without_any_candle_tells_nothing_of_trades(clock: FakeClock) -> None:
    broker, kept = Broker(missing=set(range(4))), KeptFeed()
    backfill = Backfill(clock, broker, of_the_day, broker="test")
    await clock.advance(200)

    async with backfill.running(kept):
        backfill.ask(gap(30, 200, TCS))
        await clock.advance(60)

    assert len(broker.asked) == 2
    assert kept.candles == []


async def test_one_request_at_a_time_and_some_tries(clock: FakeClock) -> None:
    broker, kept = Broker(failures=2), KeptFeed()
    backfill = Backfill(clock, broker, of_the_day, broker="test")
    await clock.advance(400)

    async with backfill.running(kept):
        for instrument in (TCS, INFY, GOLD):
            backfill.ask(gap(0, 60, instrument))
        for _ in range(20):
            await clock.advance(1)

    assert broker.at_once_max == 1
    assert {told.instrument for told in kept.candles} == {TCS, INFY, GOLD}
    assert (backfill.candles, backfill.unfilled) == (6, 0)


async def test_what_cannot_be_filled_is_counted_and_harms_nobody(clock: FakeClock) -> None:
    broker, kept = Broker(failures=3), KeptFeed()
    backfill = Backfill(clock, broker, of_the_day, broker="test")
    await clock.advance(400)

    async with backfill.running(kept):
        backfill.ask(gap(0, 60, TCS))
        for _ in range(20):
            await clock.advance(1)
        backfill.ask(gap(0, 60, INFY))
        await clock.advance(1)

    assert backfill.unfilled == 1
    assert {told.instrument for told in kept.candles} == {INFY}


async def test_there_is_a_bound(clock: FakeClock) -> None:
    backfill = Backfill(clock, Broker(), of_the_day, broker="test")

    async with backfill.running(KeptFeed()):
        backfill.ask(gap(0, 60, *(Instrument.parse(f"NSE:S{n}") for n in range(510))))
        assert backfill.unfilled == 10


async def test_a_hole_of_more_than_a_day_is_filled_for_its_last_day(clock: FakeClock) -> None:
    broker = Broker()
    backfill = Backfill(clock, broker, of_the_day, broker="test")

    async with backfill.running(KeptFeed()):
        backfill.ask(gap(-10 * 86_400, 0, TCS))
        await clock.advance(5)

    assert broker.asked[0] == (TCS, TEN - timedelta(days=1), TEN)


async def test_without_a_history_nothing_is_asked(clock: FakeClock) -> None:
    kept = KeptFeed()
    backfill = Backfill(clock, None, of_the_day, broker="test")

    async with backfill.running(kept):
        backfill.ask(gap(0, 60, TCS))
        await settle()

    assert (kept.candles, backfill.unfilled) == ([], 0)
