"""One look at the market: a price, the bounds around it, and how much of its volume is left to fill."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.instruments import Instrument
from pulse_domain.matching.settings import (
    BasisPoints,
    FixedTicks,
    ImpactShape,
    MatchingSettings,
    VolumeImpact,
)
from pulse_domain.matching.values import Candle, Tick, VenueOrder
from pulse_domain.orders.model import Side

_BASIS_POINTS = 10_000


class Volume(Struct, eq=False):
    """The volume behind a look. `left` is what orders may still take of it, None any quantity."""

    traded: int = 0
    left: int | None = None

    def take(self, quantity: int) -> int:
        """Take at most `quantity` and say how much it was."""
        if self.left is None:
            return quantity
        taken = min(quantity, self.left)
        self.left -= taken
        return taken


class Look(Struct, eq=False):
    """What orders meet. `low` and `high` bound what slippage can lead to."""

    tick: Tick
    volume: Volume
    low: Decimal | None = None
    high: Decimal | None = None

    def at_price(self, price: Decimal) -> "Look":
        return Look(replace(self.tick, price=price), self.volume, self.low, self.high)


class Looks:
    """Makes looks, by the settings. The volumes of ticks count from the session's start, so it remembers
    the last one of each instrument."""

    def __init__(self, settings: MatchingSettings) -> None:
        self._settings = settings
        self._needs_volume = settings.needs_volume
        self._unlimited = Volume()
        self._seen: dict[Instrument, tuple[int, Volume]] = {}

    def tick(self, tick: Tick) -> Look:
        """A tick without new volume shares what the last volume has left; the first tick has none."""
        if not self._needs_volume:
            return Look(tick, self._unlimited)
        count, volume = self._seen.get(tick.instrument, (None, None))
        if volume is None or count is None:
            volume = self._volume(0, tick.instrument)
        elif tick.volume != count:
            # A smaller count is a new session's.
            more = tick.volume - count if tick.volume > count else tick.volume
            volume = self._volume(more, tick.instrument)
        self._seen[tick.instrument] = (tick.volume, volume)
        return Look(tick, volume)

    def candle(self, candle: Candle) -> Look:
        """The look at a candle's open."""
        tick = Tick(instrument=candle.instrument, at=candle.start, price=candle.open)
        volume = self._volume(candle.volume, candle.instrument) if self._needs_volume else self._unlimited
        return Look(tick, volume, candle.low, candle.high)

    def _volume(self, traded: int, instrument: Instrument) -> Volume:
        settings = self._settings
        if traded == 0:
            return Volume(0, None if settings.fills_without_volume else 0)
        share = settings.participation
        if share is None:
            return Volume(traded, None)
        lot_size = settings.lot_sizes.get(instrument, 1)
        return Volume(traded, int(share * traded) // lot_size * lot_size)


def fill_price(order: VenueOrder, quantity: int, look: Look, settings: MatchingSettings) -> Decimal:
    """The price of a fill: what the other side offers, slipped, and never worse than the limit."""
    tick, buys = look.tick, order.side is Side.BUY
    price = offer(order.side, tick)
    limit = order.limit_price
    if limit is not None:
        price = min(price, limit) if buys else max(price, limit)
    if settings.slippage is None:
        return price
    distance = _slippage(price, quantity, look, settings, quoted=(tick.ask if buys else tick.bid) is not None)
    if not distance:
        return price
    grid = settings.tick_of(order.instrument)
    if buys:
        slipped = _round(price + distance, grid, ROUND_CEILING)
        if look.high is not None and not settings.slip_beyond_candle:
            slipped = min(slipped, look.high)
        return slipped if limit is None else min(slipped, limit)
    slipped = max(_round(price - distance, grid, ROUND_FLOOR), min(grid, price))
    if look.low is not None and not settings.slip_beyond_candle:
        slipped = max(slipped, look.low)
    return slipped if limit is None else max(slipped, limit)


def offer(side: Side, tick: Tick) -> Decimal:
    """What the other side of the market asks or bids."""
    quoted = tick.ask if side is Side.BUY else tick.bid
    return tick.price if quoted is None else quoted


def _slippage(
    price: Decimal, quantity: int, look: Look, settings: MatchingSettings, *, quoted: bool
) -> Decimal:
    match settings.slippage:
        # Ticks and basis points stand for the spread, which a quote has in it.
        case FixedTicks(ticks=ticks) if not quoted:
            return ticks * settings.tick_of(look.tick.instrument)
        case BasisPoints(points=points) if not quoted:
            return price * points / _BASIS_POINTS
        case VolumeImpact(coefficient=coefficient, shape=shape):
            traded = look.volume.traded
            share = Decimal(quantity) / traded if traded else Decimal(1)
            return price * coefficient * (share if shape is ImpactShape.LINEAR else share.sqrt())
    return Decimal(0)


def _round(price: Decimal, grid: Decimal, rounding: str) -> Decimal:
    return (price / grid).to_integral_value(rounding) * grid
