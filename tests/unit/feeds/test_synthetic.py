"""Made-up prices: repeatable, continuous, always open, and shaped like a trading day."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock

OPEN = datetime(2026, 1, 5, 3, 45, tzinfo=UTC)  # 9:15 in Mumbai
RELIANCE = Instrument.parse("NSE:RELIANCE")
SESSION = timedelta(hours=6, minutes=15)

instruments = st.sampled_from(
    [
        "NSE:RELIANCE", "NSE:M&M", "BSE:NEVER-HEARD-OF", "NFO:NIFTY26NOVFUT", "NFO:NIFTY26NOV25000CE",
        "NFO:RELIANCE26NOVFUT", "BFO:SENSEX2611082000PE", "MCX:GOLD26DECFUT", "CDS:USDINR26DECFUT", "NSE:NIFTY",
    ]
).map(Instrument.parse)  # fmt: skip
instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@given(st.integers(), instruments, instants)
def test_quote_is_on_the_grid_and_not_crossed(seed, instrument, at):
    feed = SyntheticFeed(FakeClock(), seed)

    quote = feed.quote_at(instrument, at)

    tick = feed.tick_size(instrument)
    assert quote.bid % tick == quote.ask % tick == quote.last_price % tick == 0
    assert 0 < quote.bid <= quote.last_price <= quote.ask
    assert 1 <= (quote.ask - quote.bid) / tick <= 3
    assert quote.volume >= 0
    assert (quote.instrument, quote.at) == (instrument, at)


@given(st.integers(), instruments, instants)
def test_price_is_continuous_from_second_to_second(seed, instrument, at):
    feed = SyntheticFeed(FakeClock(), seed)

    before, after = feed.quote_at(instrument, at), feed.quote_at(instrument, at + timedelta(seconds=1))

    spreads = 4 * feed.tick_size(instrument)
    assert abs(after.last_price - before.last_price) <= spreads + before.last_price * Decimal("0.005")


def test_price_is_continuous_where_the_session_starts_again():
    feed = SyntheticFeed(FakeClock(), 3)
    starts = [OPEN + timedelta(days=day) + lap * SESSION for day in range(30) for lap in range(4)]

    for start in starts:
        before, after = (feed.quote_at(RELIANCE, start + timedelta(seconds=s)).last_price for s in (-1, 0))
        assert abs(after - before) <= 10 * feed.tick_size(RELIANCE)


@given(instruments, st.lists(instants, min_size=2, max_size=10))
def test_polling_pattern_does_not_change_the_path(instrument, polled_at):
    feed = SyntheticFeed(FakeClock(), 3)
    polled = {at: feed.quote_at(instrument, at) for at in sorted(polled_at)}

    for at in polled_at:
        assert SyntheticFeed(FakeClock(), 3).quote_at(instrument, at) == polled[at]


async def test_quote_is_that_of_the_clocks_now():
    clock = FakeClock(OPEN)
    feed = SyntheticFeed(clock, 3)

    await clock.advance(123.456)

    assert await feed.quote(RELIANCE) == feed.quote_at(RELIANCE, OPEN + timedelta(seconds=123.456))


def test_seeds_and_instruments_have_paths_of_their_own():
    at = OPEN + timedelta(hours=1)

    paths = {
        SyntheticFeed(FakeClock(), seed).quote_at(Instrument.parse(name), at).last_price
        for seed in range(5)
        for name in ("NSE:ABC", "NSE:DEF", "NSE:GHI")
    }

    assert len(paths) == 15


def test_midnight_trades_like_a_session():
    feed = SyntheticFeed(FakeClock(), 3)
    midnight = datetime(2026, 1, 5, 18, 30, tzinfo=UTC)

    prices = {feed.quote_at(RELIANCE, midnight + timedelta(seconds=s)).last_price for s in range(0, 600, 5)}

    assert len(prices) > 10


def test_price_stays_near_its_level_for_years():
    feed = SyntheticFeed(FakeClock(), 3)

    prices = [feed.quote_at(RELIANCE, OPEN + timedelta(days=day)).last_price for day in range(0, 3650, 7)]

    assert all(1_000 < price < 2_000 for price in prices)


def test_volume_and_volatility_are_u_shaped():
    names = [f"NSE:STOCK{n}" for n in range(20)]
    feed = SyntheticFeed(FakeClock(), 3)
    volumes = {"open": 0.0, "noon": 0.0, "close": 0.0}
    moves = {"open": 0.0, "noon": 0.0, "close": 0.0}

    for instrument in map(Instrument.parse, names):
        for part, minute in (("open", 0), ("noon", 172), ("close", 345)):
            path = [feed.quote_at(instrument, OPEN + timedelta(minutes=minute + m)) for m in range(0, 30)]
            returns = [float(b.last_price / a.last_price) - 1 for a, b in pairwise(path)]
            moves[part] += pstdev(returns) / len(names)
            volumes[part] += (path[-1].volume - path[0].volume) / len(names)

    for shape in (volumes, moves):
        assert shape["open"] > 1.3 * shape["noon"]
        assert shape["close"] > 1.3 * shape["noon"]


def test_a_session_moves_about_as_much_as_a_share_does():
    feed = SyntheticFeed(FakeClock(), 3)
    minutes = [timedelta(minutes=m) for m in range(375)]

    ranges = []
    for day in range(30):
        prices = [feed.quote_at(RELIANCE, OPEN + timedelta(days=day) + m).last_price for m in minutes]
        ranges.append(float(max(prices) / min(prices)) - 1)

    assert 0.005 < sum(ranges) / len(ranges) < 0.03


def test_volume_grows_over_the_session_and_starts_again():
    feed = SyntheticFeed(FakeClock(), 3)

    volumes = [feed.quote_at(RELIANCE, OPEN + SESSION * part / 100).volume for part in range(100)]

    assert volumes == sorted(volumes)
    assert volumes[0] == 0
    assert feed.quote_at(RELIANCE, OPEN + SESSION).volume < volumes[1]


@pytest.mark.parametrize(
    ("name", "level", "tick"),
    [
        ("NSE:RELIANCE", 1_400, "0.10"),
        ("NSE:ITC", 400, "0.05"),
        ("NFO:NIFTY26NOVFUT", 25_000, "0.10"),
        ("NFO:BANKNIFTY26NOVFUT", 55_000, "0.20"),
        ("NFO:RELIANCE26NOVFUT", 1_400, "0.10"),
        ("NFO:NIFTY26NOV25000CE", None, "0.05"),
        ("MCX:GOLD26DECFUT", 120_000, "1.00"),
        ("CDS:USDINR26DECFUT", 88, "0.0025"),
    ],
)
def test_familiar_names_trade_near_familiar_levels(name, level, tick):
    feed = SyntheticFeed(FakeClock())
    instrument = Instrument.parse(name)

    quote = feed.quote_at(instrument, OPEN)

    assert feed.tick_size(instrument) == Decimal(tick)
    assert level is None or abs(float(quote.last_price) / level - 1) < 0.1
