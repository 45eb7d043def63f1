"""Rules of thumb that are rules of the exchange: ticks, freeze quantities, the intraday cut-off.

The figures of a day come from the broker's instrument file. The tables here are for what no file has: the
tick by price band (backtests on old prices), freeze quantities where a broker's dump has no column for them,
and when a broker stops taking intraday orders.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from msgspec import Struct

from pulse_domain.errors import InvalidPrice, InvalidQuantity, InvalidSettings
from pulse_domain.market.segments import TradingSegment
from pulse_domain.orders.model import Side
from pulse_domain.units import INDIA

# --- ticks


def round_passive(price: Decimal, tick_size: Decimal, side: Side) -> Decimal:
    """The nearest limit price on the grid that is no worse for whoever sends it: a buyer pays no more.

    Raises:
        InvalidPrice: nothing above 0 is left of it, or it is not a price.
    """
    return _on_grid(price, tick_size, ROUND_FLOOR if side is Side.BUY else ROUND_CEILING)


def round_trigger(trigger_price: Decimal, tick_size: Decimal, side: Side) -> Decimal:
    """The nearest trigger on the grid that fires no earlier: a stop to buy lies above the market."""
    return _on_grid(trigger_price, tick_size, ROUND_CEILING if side is Side.BUY else ROUND_FLOOR)


def _on_grid(price: Decimal, tick_size: Decimal, rounding: str) -> Decimal:
    if not price.is_finite() or price <= 0 or not tick_size.is_finite() or tick_size <= 0:
        raise InvalidPrice(f"{price} cannot be rounded to a tick of {tick_size}")
    rounded = (price / tick_size).to_integral_value(rounding) * tick_size
    if rounded <= 0:
        raise InvalidPrice(f"{price} is below one tick of {tick_size}")
    return rounded


class TickBands(Struct, frozen=True, kw_only=True):
    """NSE's ticks for shares from a day on. bands: (up to but without this price, tick); None for the rest."""

    effective_from: date
    bands: tuple[tuple[Decimal | None, Decimal], ...]


def _bands(effective_from: date, *bands: tuple[str | None, str]) -> TickBands:
    return TickBands(
        effective_from=effective_from,
        bands=tuple((None if below is None else Decimal(below), Decimal(tick)) for below, tick in bands),
    )


# Brokers' pages on the revision, for series EQ, BE, BZ, BO, RL and AF. Two of them print 10 and 50 for the last
# two rows of 2025; a complete dump of 2025-09-19 has ticks of 1 and 5 and none above.
NSE_TICK_BANDS = (
    _bands(date(2024, 6, 10), ("250", "0.01"), (None, "0.05")),
    _bands(
        date(2025, 4, 15),
        ("250", "0.01"), ("1000", "0.05"), ("5000", "0.10"), ("10000", "0.50"), ("20000", "1.00"),
        (None, "5.00"),
    ),
)  # fmt: skip


def nse_share_tick(close: Decimal, day: date) -> Decimal | None:
    """The tick of a share on a day, by its close on the last day of the month before; None before 2024."""
    in_force = [table for table in NSE_TICK_BANDS if table.effective_from <= day]
    if not in_force:
        return None
    table = max(in_force, key=lambda table: table.effective_from)
    return next(tick for below, tick in table.bands if below is None or close < below)


# --- freeze quantities


class FreezeReading(StrEnum):
    """What a printed freeze quantity means: the largest order, or the smallest that trips the freeze.

    Files have printed both for the same contract: 1800, and 1801 or 1756 (27 lots of 65, plus one).
    """

    SAFE = "safe"  # right under both readings; where the figure is itself a legal order it costs one lot
    LIMIT = "limit"


def largest_order(freeze_quantity: int, lot_size: int, reading: FreezeReading = FreezeReading.SAFE) -> int:
    """The largest order in whole lots that does not trip a printed freeze quantity.

    Raises:
        InvalidQuantity: not even one lot is possible.
    """
    # A figure of exactly one lot can only be a limit: read as a trip, nothing could be traded at all.
    trips = reading is FreezeReading.SAFE and freeze_quantity != lot_size
    largest = (freeze_quantity - 1 if trips else freeze_quantity) // lot_size * lot_size
    if lot_size < 1 or largest < 1:
        raise InvalidQuantity(
            f"a freeze quantity of {freeze_quantity} is below one lot of {lot_size}",
            freeze_quantity=freeze_quantity, lot_size=lot_size,
        )  # fmt: skip
    return largest


# In units, by underlying. Press and a digest of NSE circulars; figures after February 2026 are unverified, and
# a broker's own file, where it has the column, goes before them.
_SINCE_JULY_2025 = {"NIFTY": 1800, "BANKNIFTY": 600, "FINNIFTY": 1800, "MIDCPNIFTY": 2800, "NIFTYNXT50": 600}
_INDEX_FREEZE = (
    (date(2025, 7, 1), _SINCE_JULY_2025),
    (date(2025, 9, 1), _SINCE_JULY_2025 | {"BANKNIFTY": 900}),
    (date(2025, 11, 3), _SINCE_JULY_2025),
    (date(2025, 12, 1), _SINCE_JULY_2025 | {"FINNIFTY": 1200}),
    (date(2026, 2, 1), _SINCE_JULY_2025),
)


def index_freeze_quantity(underlying: str, day: date) -> int | None:
    """The freeze quantity of an index's contracts on a day, where it is known."""
    in_force = [table for since, table in _INDEX_FREEZE if since <= day]
    return in_force[-1].get(underlying) if in_force else None


# --- intraday orders


class MisCutoff(Struct, frozen=True, kw_only=True):
    """From when on a broker takes no new MIS orders: a time of the day, or so long before the session's end."""

    at: time | None = None
    before_close: timedelta | None = None

    def __post_init__(self) -> None:
        if (self.at is None) == (self.before_close is None):
            raise InvalidSettings("a cut-off is a time, or a distance from the close")

    def of(self, session_ends_at: datetime) -> datetime:
        """The instant for a session; never after its end."""
        if self.before_close is not None:
            return session_ends_at - self.before_close
        assert self.at is not None, "one of the two is there"
        return min(datetime.combine(session_ends_at.astimezone(INDIA).date(), self.at, INDIA), session_ends_at)


class MisCutoffs(Struct, frozen=True, kw_only=True):
    """A broker's cut-offs from a day on."""

    effective_from: date
    cutoffs: Mapping[TradingSegment, MisCutoff]


_COMMODITIES = (
    TradingSegment.COMMODITY,
    TradingSegment.COMMODITY_AGRI,
    TradingSegment.COMMODITY_AGRI_INTERNATIONAL,
)
# When brokers square intraday positions off, from an undated Kotak support page: shares 15:20, currency 16:40,
# commodities half an hour before the close. Nothing is confirmed for shares in the closing auction since
# 2026-08-03; ten minutes before their continuous session ends is as long as others have. MIS_CUTOFFS overrides.
DEFAULT_MIS_CUTOFFS = (
    MisCutoffs(
        effective_from=date(2016, 1, 1),
        cutoffs={
            TradingSegment.CASH: MisCutoff(at=time(15, 20)),
            TradingSegment.CASH_WITH_AUCTION: MisCutoff(before_close=timedelta(minutes=10)),
            TradingSegment.FUTURES: MisCutoff(at=time(15, 20)),
            TradingSegment.OPTIONS: MisCutoff(at=time(15, 20)),
            TradingSegment.CURRENCY: MisCutoff(at=time(16, 40)),
            **dict.fromkeys(_COMMODITIES, MisCutoff(before_close=timedelta(minutes=30))),
        },
    ),
)


def mis_cutoff(
    segment: TradingSegment, session_ends_at: datetime, tables: tuple[MisCutoffs, ...] = DEFAULT_MIS_CUTOFFS
) -> datetime:
    """From when on no MIS order is taken in a session; its end where the tables know no earlier one."""
    day = session_ends_at.astimezone(INDIA).date()
    in_force = [table for table in tables if table.effective_from <= day]
    if not in_force:
        return session_ends_at
    cutoff = max(in_force, key=lambda table: table.effective_from).cutoffs.get(segment)
    return session_ends_at if cutoff is None else cutoff.of(session_ends_at)


def parse_mis_cutoffs(
    text: str, defaults: tuple[MisCutoffs, ...] = DEFAULT_MIS_CUTOFFS
) -> tuple[MisCutoffs, ...]:
    """Read `CASH=15:15,COMMODITY=-45`: a time, or minutes before the close. The rest keeps its default.

    Raises:
        InvalidSettings: a segment is unknown, or a value is neither.
    """
    given: dict[TradingSegment, MisCutoff] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in TradingSegment.__members__:
            raise InvalidSettings(f"{name!r} is no segment; there are {', '.join(TradingSegment)}")
        given[TradingSegment(name)] = _cutoff(value)
    return tuple(
        MisCutoffs(effective_from=table.effective_from, cutoffs={**table.cutoffs, **given})
        for table in defaults
    )


def _cutoff(value: str) -> MisCutoff:
    try:
        if value.startswith("-"):
            return MisCutoff(before_close=timedelta(minutes=int(value[1:])))
        return MisCutoff(at=time.fromisoformat(value))
    except ValueError:
        raise InvalidSettings(f"a cut-off is HH:MM or -MINUTES, not {value!r}") from None
