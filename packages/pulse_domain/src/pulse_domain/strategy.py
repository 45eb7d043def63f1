"""The strategy class: written once, hosted by the backtest and by whatever trades live.

A host sets `desk` and calls `on_start`, then the other methods as the market moves, one at a time, and
never while another call runs. A strategy knows the time, its orders and its positions from the desk alone.
"""

from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypedDict, Unpack

from msgspec import Struct

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, SplitConfig, Validity
from pulse_domain.orders.status import OrderState


class OrderUpdate(Struct, frozen=True, kw_only=True, gc=False):
    """Where one of the strategy's orders stands.

    last_quantity, last_price: of the fill that this update tells, if it tells one.
    average_price: in rupees over what is filled; None while nothing is.
    reason_code: why an execution was refused or ended, where this update tells that.
    """

    order_unique_key: str
    at: datetime
    instrument: Instrument
    side: Side
    state: OrderState
    done: bool
    total_quantity: int
    filled_quantity: int
    average_price: Decimal | None = None
    last_quantity: int = 0
    last_price: Decimal | None = None
    reason_code: str | None = None


class Desk(Protocol):
    """What a strategy trades through. Nothing here waits: what becomes of an order is told by updates."""

    def now(self) -> datetime:
        """The instant of the event that is worked on, aware."""
        ...

    def submit(self, request: OrderRequest) -> str:
        """Hand an order in and get its `order_unique_key`.

        Raises:
            InvalidOrder: a field is out of range, off the lot or off the tick; `details` name it.
            CannotSplit: no schedule fits it.
        """
        ...

    def cancel(self, order_unique_key: str) -> None:
        """Ask for the end of what has not filled. An order that is done stays as it is.

        Raises:
            NotFound: there is no such order of this strategy.
        """
        ...

    def order(self, order_unique_key: str) -> OrderUpdate:
        """Where an order stands now.

        Raises:
            NotFound: there is no such order of this strategy.
        """
        ...

    def position(self, instrument: Instrument) -> int:
        """Units held over all products; negative when short."""
        ...

    def cash(self) -> Decimal:
        """Rupees free for new orders."""
        ...

    def equity(self) -> Decimal:
        """Rupees that would be left if every position were closed at the last price, free of charge."""
        ...


class OrderFields(TypedDict, total=False):
    """What else an order may say; defaults as those of `OrderRequest`.

    product: by default CNC in the cash segment, which cannot sell short, and NRML in derivatives.
    split_config: spreads the order over time, from `start_at` or now on.
    """

    order_type: OrderType
    limit_price: Decimal | None
    trigger_price: Decimal | None
    product: Product | None
    validity: Validity
    split_config: SplitConfig | None
    start_at: datetime | None
    strategy_tag: str | None


class Strategy:
    """Override what you need; a host offers nothing that nobody listens to."""

    desk: Desk

    def on_start(self) -> None:
        """Called once, before the first price."""

    def on_candle(self, candle: Candle) -> None:
        """A candle has closed."""

    def on_tick(self, tick: Tick) -> None:
        """A price was seen."""

    def on_order_update(self, update: OrderUpdate) -> None:
        """One of the strategy's orders has changed."""

    @property
    def now(self) -> datetime:
        return self.desk.now()

    def buy(self, instrument: Instrument | str, quantity: int, **fields: Unpack[OrderFields]) -> str:
        """Hand an order in and get its `order_unique_key`; see `Desk.submit`.

        instrument: or its text, such as `NSE:TCS`.
        quantity: units.
        """
        return self.desk.submit(_request(Side.BUY, instrument, quantity, fields))

    def sell(self, instrument: Instrument | str, quantity: int, **fields: Unpack[OrderFields]) -> str:
        """The other side of `buy`."""
        return self.desk.submit(_request(Side.SELL, instrument, quantity, fields))

    def cancel(self, order_unique_key: str) -> None:
        """See `Desk.cancel`."""
        self.desk.cancel(order_unique_key)

    def position(self, instrument: Instrument | str) -> int:
        """See `Desk.position`."""
        return self.desk.position(_instrument(instrument))


def _request(side: Side, instrument: Instrument | str, quantity: int, fields: OrderFields) -> OrderRequest:
    # Sizes are often numpy's: they become Python's. What is no whole number is refused with the order.
    units = quantity
    if type(quantity) is not int and hasattr(quantity, "__index__"):
        units = quantity.__index__()
    return OrderRequest(instrument=_instrument(instrument), side=side, total_quantity=units, **fields)


def _instrument(instrument: Instrument | str) -> Instrument:
    return Instrument.parse(instrument) if isinstance(instrument, str) else instrument
