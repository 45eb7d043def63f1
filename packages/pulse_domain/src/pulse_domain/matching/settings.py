"""How the engine treats what market data does not say: frozen values, checked when an engine takes them."""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field

from pulse_domain.errors import MatchingError
from pulse_domain.instruments import Instrument

_ZERO = timedelta(0)
_LATENCY_MAX = timedelta(days=1)


class CandlePath(StrEnum):
    """The way of the price through a candle.

    UNKNOWN: first the open; of the rest only what is certain: after a stop has fired within the candle, a
        limit behind its trigger does not fill in it.
    OPEN_HIGH_LOW_CLOSE: from each to the next, through all prices between.
    NEAREST_EXTREME_FIRST: the same, but the low comes first where it is nearer to the open than the high.
    """

    UNKNOWN = "unknown"
    OPEN_HIGH_LOW_CLOSE = "open_high_low_close"
    NEAREST_EXTREME_FIRST = "nearest_extreme_first"


class CandleEntry(StrEnum):
    """What an order meets that is sent while a candle is open."""

    NEXT_OPEN = "next_open"
    SAME_CLOSE = "same_close"


class ImpactShape(StrEnum):
    SQUARE_ROOT = "square_root"
    LINEAR = "linear"


class FixedTicks(Struct, frozen=True):
    """A number of ticks against the order, where no quote is known."""

    ticks: int


class BasisPoints(Struct, frozen=True):
    """A share of the price in 1/10,000 against the order, where no quote is known."""

    points: Decimal


class VolumeImpact(Struct, frozen=True):
    """`coefficient` of the price, times the fill's share of the volume or the square root of that share.

    A fill where no volume is known counts as all of it.
    """

    coefficient: Decimal
    shape: ImpactShape = ImpactShape.SQUARE_ROOT


Slippage = FixedTicks | BasisPoints | VolumeImpact


class Latency(Struct, frozen=True):
    """An order is at the venue after a delay that is drawn evenly between both ends."""

    shortest: timedelta
    longest: timedelta


class MatchingSettings(Struct, frozen=True, kw_only=True):
    """The defaults fill in full, at once and without slippage.

    fill_on_touch: whether a trade at its limit fills a resting order.
    participation: the largest share of a candle's or tick's volume that all orders together fill; above 0,
        at most 1. What remains of an order works on. None is no cap.
    fill_without_volume: whether a candle or tick without volume fills, and then without a cap. None allows
        it exactly where there is no cap.
    slip_beyond_candle: whether slippage may lead to prices outside the candle.
    tick_size, tick_sizes: the grid to which slipped prices are rounded, against the order; the second by
        instrument, where it differs.
    lot_sizes: by instrument, where it is not 1: a share of the volume is rounded down to whole lots.
    """

    fill_on_touch: bool = False
    candle_path: CandlePath = CandlePath.UNKNOWN
    candle_entry: CandleEntry = CandleEntry.NEXT_OPEN
    participation: Decimal | None = None
    fill_without_volume: bool | None = None
    slippage: Slippage | None = None
    slip_beyond_candle: bool = False
    tick_size: Decimal = Decimal("0.05")
    tick_sizes: dict[Instrument, Decimal] = field(default_factory=dict)
    lot_sizes: dict[Instrument, int] = field(default_factory=dict)
    latency: Latency | None = None

    @property
    def fills_without_volume(self) -> bool:
        return self.participation is None if self.fill_without_volume is None else self.fill_without_volume

    @property
    def needs_volume(self) -> bool:
        return not (
            self.participation is None
            and self.fills_without_volume
            and not isinstance(self.slippage, VolumeImpact)
        )

    def tick_of(self, instrument: Instrument) -> Decimal:
        return self.tick_sizes.get(instrument, self.tick_size) if self.tick_sizes else self.tick_size


def check_settings(settings: MatchingSettings) -> None:
    """Raises MatchingError for settings that make no sense."""
    for name, value, kind in (
        ("candle_path", settings.candle_path, CandlePath),
        ("candle_entry", settings.candle_entry, CandleEntry),
        ("slippage", settings.slippage, FixedTicks | BasisPoints | VolumeImpact | None),
        ("latency", settings.latency, Latency | None),
    ):
        # Text that reads like a member of an enum is none: it would be taken for any other.
        if not isinstance(value, kind):
            raise MatchingError(f"{name} cannot be {value!r}", field=name)
    share = settings.participation
    if share is not None and not (_is_number(share) and 0 < share <= 1):
        raise MatchingError(f"participation must be above 0 and at most 1, not {share}", field="participation")
    for tick_size in (settings.tick_size, *settings.tick_sizes.values()):
        if not _is_number(tick_size) or tick_size <= 0:
            raise MatchingError(f"a tick must be a decimal above 0, not {tick_size}", field="tick_size")
    for lot_size in settings.lot_sizes.values():
        if type(lot_size) is not int or lot_size < 1:
            raise MatchingError(f"a lot must be a whole number above 0, not {lot_size}", field="lot_sizes")
    latency = settings.latency
    if latency is not None and not _ZERO <= latency.shortest <= latency.longest <= _LATENCY_MAX:
        raise MatchingError("latency must run from 0 or more to no less, a day at most", field="latency")
    match settings.slippage:
        case FixedTicks(ticks=ticks) if type(ticks) is not int or ticks < 0:
            raise MatchingError(f"ticks must be a whole number, 0 or more, not {ticks}", field="slippage")
        case BasisPoints(points=amount) | VolumeImpact(coefficient=amount) if not (
            _is_number(amount) and amount >= 0
        ):
            raise MatchingError(f"slippage must be a decimal, 0 or more, not {amount}", field="slippage")
        case _:
            pass


def _is_number(value: Decimal) -> bool:
    return type(value) is Decimal and value.is_finite()
