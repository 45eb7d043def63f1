import hashlib
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import stdev

import pytest

from pulse_domain.backtest import CandleSeries, synthetic_candles
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.splitting import VolumeCurve

TCS = Instrument.parse("NSE:TCS")


def test_candles_fill_the_session_on_weekdays() -> None:
    candles = list(synthetic_candles(TCS, days=6))

    assert len(candles) == 6 * 375
    assert [candles[n].start.time() for n in (0, 374, 375)] == [time(9, 15), time(15, 29), time(9, 15)]
    assert sorted({candle.start.date() for candle in candles}) == [
        date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7), date(2026, 1, 8), date(2026, 1, 9),
        date(2026, 1, 12),
    ]  # fmt: skip
    assert candles[0].instrument == TCS


@pytest.mark.parametrize("tick", ["0.05", "0.10", "0.0025", "5"])
def test_candles_have_no_defects_and_lie_on_the_tick_grid(tick: str) -> None:
    made = synthetic_candles("NSE:TCS", days=3, price=Decimal(100), tick_size=Decimal(tick))

    assert CandleSeries.from_candles(made, defects="raise") == made
    prices = {price for candle in made for price in (candle.open, candle.high, candle.low, candle.close)}
    assert all(price % Decimal(tick) == 0 for price in prices)


def test_prices_go_on_within_a_day_and_jump_over_night() -> None:
    candles = list(synthetic_candles(TCS, days=2))

    jumps = [after.open - before.close for before, after in pairwise(candles)]
    assert [n for n, jump in enumerate(jumps) if jump] == [374]
    assert candles[0].open == Decimal(1000)


def test_the_volume_is_that_of_a_day_and_largest_at_its_ends() -> None:
    made = synthetic_candles(TCS, days=40, daily_volume=600_000)

    assert 500_000 < sum(made.volume) / 40 < 700_000
    fifths = [volume for _, volume in VolumeCurve.from_candles(made, bucket_us=75 * 60_000_000).buckets]
    assert fifths[0] > 1.5 * fifths[2] < fifths[4]


def test_a_day_moves_as_much_as_shares_do() -> None:
    made = synthetic_candles(TCS, days=250)

    closes = [made.close[n] for n in range(374, len(made), 375)]
    assert 0.011 < stdev([after / before - 1 for before, after in pairwise(closes)]) < 0.017


def test_the_seed_decides_and_nothing_else() -> None:
    made = synthetic_candles(TCS, seed=5)

    assert synthetic_candles(TCS, seed=5) == made
    assert synthetic_candles(TCS, seed=6) != made
    assert synthetic_candles("NSE:INFY", seed=5).close == made.close
    # The same on every machine: whatever is shown somewhere was made from these bytes.
    digest = hashlib.sha256(b"".join(column.tobytes() for column in (made.start_us, made.close, made.volume)))
    assert digest.hexdigest() == "4e938367177b9d2ab0e1a3d3052573222a3e10cafab25dfc9fea666420acfc44"


@pytest.mark.parametrize(("minutes", "a_day"), [(5, 75), (15, 25), (60, 7), (375, 1), (1440, 1)])
def test_candles_of_any_length(minutes: int, a_day: int) -> None:
    made = synthetic_candles(TCS, days=3, interval=timedelta(minutes=minutes))

    assert len(made) == 3 * a_day
    assert made.interval == timedelta(minutes=minutes)
    assert made[0].start.time() == time(9, 15)


def test_days_begin_where_wanted() -> None:
    saturday = date(2025, 11, 1)

    assert synthetic_candles(TCS, days=1, first_day=saturday).days() == [date(2025, 11, 3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": 0},
        {"interval": timedelta()},
        {"price": Decimal("0.01")},
        {"price": Decimal(-1)},
        {"tick_size": Decimal(0)},
        {"daily_volume": -1},
    ],
)
def test_what_cannot_be_made_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        synthetic_candles(TCS, **wrong)  # type: ignore[arg-type]


def test_the_instrument_must_be_one() -> None:
    with pytest.raises(InvalidInstrument):
        synthetic_candles("TCS")
