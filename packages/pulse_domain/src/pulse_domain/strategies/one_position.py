"""What the shipped strategies share: one position in each instrument, sized by risk, with a stop.

Everything is decided when a candle has closed, for each instrument by itself:

| at the close of a candle                                       | what is done                                |
|----------------------------------------------------------------|---------------------------------------------|
| an exit is under way                                           | it is waited for                            |
| an entry is under way                                          | it is cancelled: its signal is a candle old |
| a position is held, and the close is at the stop or beyond     | the position is closed                      |
| a position is held, and the candle ends at `flat_at` or later  | the position is closed                      |
| a position is held, and the signals say leave                  | the position is closed                      |
| a position is held whose stop is unknown                       | it gets one, from this close                |
| nothing is held, and the candle ends before `flat_at`          | an entry, where the signals say so          |

- The stop of an entry is `stop_atrs` average true ranges from the close that gave the signal, and stays there.
  It is looked at when candles close: there is no order for it at the exchange, and a gap goes through it.
- What was once to be closed is tried again with every candle until it is, whatever the signals say by then.
- A position from before that no snapshot tells of is managed like any other, from the first candle on at which
  the average true range is known. Only whole lots of it are closed.
- Orders are market orders for the day, in whole lots, of the one `product`. A position of another product is
  not closed by them.
- Nothing is opened before all indicators are known; how long that takes is said by each strategy.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import time, timedelta
from typing import Annotated, Any, ClassVar, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from pulse_domain.errors import InvalidOrder, InvalidSettings, NotFound
from pulse_domain.indicators import Atr
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.orders.model import QUANTITY_MAX, OrderRequest, Product, Side
from pulse_domain.strategies.sizing import quantity_by_risk
from pulse_domain.strategy import Strategy
from pulse_domain.units import INDIA

# Of indicators: from the shortest that is one, to more candles than a week of trading has minutes.
Length = Annotated[int, Meta(ge=2, le=2500)]
LONG, NOTHING, SHORT = 1, 0, -1

_NEVER = "never"


class PositionParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be chosen of every shipped strategy.

    candle_minutes: how long its candles are.
    product: of its orders. CNC is for what is held over nights, and cannot be sold short.
    short: whether falls are traded as well as rises.
    risk_percent: of the equity: what a position loses at its stop.
    stop_atrs: how far the stop is from the entry, in average true ranges.
    atr_length: over so many candles.
    max_quantity: of a position, in units.
    max_leverage: the value of a new position, over the cash.
    flat_at: the Indian time, HH:MM, from which on positions are closed and none is opened; or `never`.
    """

    candle_minutes: Literal[1, 5, 15] = 1
    product: Product = Product.MIS
    short: bool = False
    risk_percent: Annotated[float, Meta(gt=0, le=100)] = 1.0
    stop_atrs: Annotated[float, Meta(gt=0, le=100)] = 2.0
    atr_length: Length = 14
    max_quantity: Annotated[int, Meta(ge=1, le=QUANTITY_MAX)] = 1000
    max_leverage: Annotated[float, Meta(gt=0, le=100)] = 1.0
    flat_at: str = "15:15"

    def __post_init__(self) -> None:
        if self.short and self.product is Product.CNC:
            raise InvalidSettings(
                "short does not go with the product CNC: delivery cannot be sold short", field="short"
            )
        if self.flat_at != _NEVER:
            read_time(self.flat_at)


def read_time(text: str) -> time:
    """Raises: InvalidSettings: it is no time of day."""
    hours, colon, minutes = text.partition(":")
    if colon and len(text) == 5 and hours.isdecimal() and minutes.isdecimal():
        hour, minute = int(hours), int(minutes)
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise InvalidSettings(f"flat_at must be a time of day such as 15:15, or {_NEVER}", field="flat_at")


class Signals(Protocol):
    """What a strategy makes of one instrument's candles."""

    def add(self, candle: Candle) -> int:
        """Take a candle in, and say what to enter on its close: `LONG`, `SHORT` or `NOTHING`."""
        ...

    def leaves(self, side: int, candles: int) -> bool:
        """Whether to close a position of that side, so many candles after it was first seen."""
        ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


class _Held(Struct, forbid_unknown_fields=True):
    """What is known of one instrument beside its prices.

    order: of the order under way.
    side: of the position that the other fields are about, also while its entry is under way.
    stop: in rupees.
    candles: how many have closed while it was held.
    leaving: whether it is to be closed, come what may.
    """

    order: str | None = None
    side: Annotated[int, Meta(ge=SHORT, le=LONG)] = NOTHING
    stop: float | None = None
    candles: int = 0
    leaving: bool = False


class _Market:
    __slots__ = ("atr", "held", "signals")

    def __init__(self, signals: Signals, atr_length: int) -> None:
        self.signals, self.atr, self.held = signals, Atr(atr_length), _Held()

    def add(self, candle: Candle) -> int:
        self.atr.add(float(candle.high), float(candle.low), float(candle.close))
        return self.signals.add(candle)


class OnePosition(Strategy, ABC):
    """Trades `instruments`, and looks at candles of no others."""

    Parameters: ClassVar[type[PositionParameters]] = PositionParameters
    parameters: PositionParameters

    def __init__(self, parameters: PositionParameters | None = None) -> None:
        super().__init__(parameters)
        chosen = self.parameters
        self.candle_minutes = chosen.candle_minutes
        self._length = timedelta(minutes=chosen.candle_minutes)
        self._flat_at = None if chosen.flat_at == _NEVER else read_time(chosen.flat_at)
        self._markets: dict[Instrument, _Market] = {}

    @abstractmethod
    def signals(self) -> Signals:
        """Those of one instrument, which has seen nothing yet."""

    def check_instruments(self) -> None:
        """Raises: InvalidSettings: the product is not for one of the instruments."""
        product = self.parameters.product
        for instrument in self.instruments:
            request = OrderRequest(instrument=instrument, side=Side.BUY, total_quantity=1, product=product)
            try:
                request.check_shape()
            except InvalidOrder as error:
                raise InvalidSettings(f"{instrument}: {error.message}", field="product") from None

    def on_start(self) -> None:
        self.check_instruments()
        self._markets = {it: _Market(self.signals(), self.parameters.atr_length) for it in self.instruments}

    def on_past_candle(self, candle: Candle) -> None:
        market = self._markets.get(candle.instrument)
        if market is not None:
            market.add(candle)

    def on_candle(self, candle: Candle) -> None:
        market = self._markets.get(candle.instrument)
        if market is None:
            return
        signal = market.add(candle)
        held = market.held
        if held.order is not None and self._is_under_way(held.order):
            if not held.leaving:
                self.cancel(held.order)
            return
        held.order = None
        units = self.position(candle.instrument)
        if units:
            self._manage(market, candle, units)
            return
        market.held = _Held()
        if signal and (signal == LONG or self.parameters.short) and not self._is_late(candle):
            self._enter(market, candle, signal)

    def _enter(self, market: _Market, candle: Candle, side: int) -> None:
        chosen, atr = self.parameters, market.atr.value
        if atr is None:
            return
        distance = chosen.stop_atrs * atr
        quantity = quantity_by_risk(
            equity=self.desk.equity(),
            cash=self.desk.cash(),
            price=candle.close,
            stop_distance=distance,
            risk_percent=chosen.risk_percent,
            max_leverage=chosen.max_leverage,
            max_quantity=chosen.max_quantity,
            lot_size=self.desk.terms(candle.instrument).lot_size,
        )
        if quantity:
            send = self.buy if side == LONG else self.sell
            key = send(candle.instrument, quantity, product=chosen.product)
            market.held = _Held(order=key, side=side, stop=float(candle.close) - side * distance)

    def _manage(self, market: _Market, candle: Candle, units: int) -> None:
        side = LONG if units > 0 else SHORT
        held = market.held
        if held.side != side:
            held = market.held = _Held(side=side)
        atr = market.atr.value
        if held.stop is None and atr is not None:
            held.stop = float(candle.close) - side * self.parameters.stop_atrs * atr
        held.candles += 1
        stopped = held.stop is not None and (float(candle.close) - held.stop) * side <= 0
        if held.leaving or stopped or self._is_late(candle) or market.signals.leaves(side, held.candles):
            held.leaving = True
            lot_size = self.desk.terms(candle.instrument).lot_size
            quantity = abs(units) // lot_size * lot_size
            if quantity:
                send = self.sell if side == LONG else self.buy
                held.order = send(candle.instrument, quantity, product=self.parameters.product)

    def _is_late(self, candle: Candle) -> bool:
        if self._flat_at is None:
            return False
        ends_at = (candle.start + self._length).astimezone(INDIA)
        return ends_at.time() >= self._flat_at or ends_at.date() != candle.start.astimezone(INDIA).date()

    def _is_under_way(self, order: str) -> bool:
        try:
            return not self.desk.order(order).done
        except NotFound:
            return False  # a run before this one ended before it was taken

    def snapshot(self) -> dict[str, Any]:
        return {
            "parameters": msgspec.to_builtins(self.parameters),
            "markets": {
                str(instrument): {
                    "atr": market.atr.snapshot(),
                    "signals": market.signals.snapshot(),
                    "held": msgspec.to_builtins(market.held),
                }
                for instrument, market in self._markets.items()
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Strategy.restore`.

        Raises:
            InvalidSettings: it is no snapshot of this strategy, with these parameters and instruments.
        """
        self.on_start()
        try:
            if state["parameters"] != msgspec.to_builtins(self.parameters):
                raise ValueError("it is of other parameters")
            markets = state["markets"]
            if markets.keys() != {str(instrument) for instrument in self._markets}:
                raise ValueError("it is of other instruments")
            for instrument, market in self._markets.items():
                known = markets[str(instrument)]
                market.atr.restore(known["atr"])
                market.signals.restore(known["signals"])
                market.held = msgspec.convert(known["held"], _Held)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise InvalidSettings(
                f"the snapshot cannot be restored by {type(self).__name__}: {why}", field="state"
            ) from None
