"""The strategy class: written once, hosted by the backtest and by whatever trades live.

A host makes it, sets `instruments` and `desk`, and calls `on_start`; or `restore` instead, where it goes on
from a snapshot. After that it calls the other methods as the market moves, one at a time, and never while
another call runs. A strategy knows the time, its orders and its positions from the desk alone.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Literal, Protocol, TypedDict, TypeVar, Unpack, get_args, get_origin

import msgspec
from msgspec import Struct

from pulse_domain.errors import InvalidSettings
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, SplitConfig, Validity
from pulse_domain.orders.status import OrderState

P = TypeVar("P", bound=Struct)


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

    def terms(self, instrument: Instrument) -> InstrumentTerms:
        """Lot, tick and freeze quantity of the day.

        Raises:
            UnknownInstrument: nothing is known of it.
        """
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


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a strategy that leaves nothing to be chosen."""


class Strategy:
    """Override what you need; a host offers nothing that nobody listens to.

    instruments: what it is given prices of, and is to trade. A host sets them before anything else.
    candle_minutes: how long its candles are: 1, 5 or 15. A live host builds such, and those of a minute for
        None; a backtest has those of its data, and refuses a strategy that is set to others.
    past_candles: so many candles of the past, of each instrument, are wanted by `on_past_candle`.
    cpu_bound: it computes for long, so that a live host gives it a process of its own.
    Parameters: what may be chosen, as a frozen Struct with a default for every field. A strategy that has such
        takes them as its one argument; one that has none is made without.
    """

    desk: Desk
    instruments: tuple[Instrument, ...] = ()
    candle_minutes: int | None = None
    past_candles: int = 0
    cpu_bound: ClassVar[bool] = False
    Parameters: ClassVar[type[Struct]] = NoParameters

    def __init__(self, parameters: Struct | None = None) -> None:
        """Take the parameters, or their defaults.

        Raises:
            InvalidSettings: one is out of range, or they are of another strategy.
        """
        wanted = type(self).Parameters
        if parameters is None:
            parameters = wanted()
        elif type(parameters) is not wanted:
            raise InvalidSettings(
                f"the parameters of {type(self).__name__} are not {type(parameters).__name__}",
                field="parameters",
            )
        self.parameters: Any = read_parameters(wanted, msgspec.structs.asdict(parameters))

    def on_start(self) -> None:
        """Called once in its life, before the first price."""

    def snapshot(self) -> Mapping[str, Any]:
        """All that it needs to go on later, as plain JSON. A host asks between two calls, whenever it likes,
        and writes the answer down before the next."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot of the same class, parameters and instruments: called instead of `on_start`.

        The desk tells of orders and positions as they are now, which may be later than the snapshot.
        """

    def on_past_candle(self, candle: Candle) -> None:
        """A candle that closed before the run: to look at, with nothing to trade on. Such come after `on_start`
        and before all else, in order of time, and a host that knows no past has none."""

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


def strategy_from(
    kind: type[Strategy], instruments: Iterable[Instrument], parameters: Mapping[str, Any]
) -> Strategy:
    """Make a strategy of parameters by name: values as in JSON, or the text of such.

    Raises:
        InvalidSettings: a parameter is unknown or out of range; `details` name it.
    """
    if kind.Parameters is NoParameters:
        read_parameters(NoParameters, parameters)
        made = kind()
    else:
        made = kind(read_parameters(kind.Parameters, parameters))
    made.instruments = tuple(dict.fromkeys(instruments))
    return made


def read_parameters(kind: type[P], given: Mapping[str, Any]) -> P:
    """Check parameters by name: values as in JSON, or the text of such.

    Raises:
        InvalidSettings: one is unknown or out of range; `details` name it.
    """
    names = kind.__struct_fields__
    for name in given:
        if name not in names:
            there = f"; there are {', '.join(names)}" if names else ": it has none"
            raise InvalidSettings(f"there is no parameter {name[:40]!r}{there}", field=name[:40])
    # One by one, so that an error can name it: what is left out has its default, which is right.
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    read = {name: _read(name, value, fields[name]) for name, value in given.items()}
    try:
        return kind(**read)
    except (TypeError, ValueError) as error:
        raise InvalidSettings(f"the parameters cannot be used: {error}", field="parameters") from None


def _read(name: str, value: object, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        said = str(error).partition(" - at ")[0].replace("`", "")
        if choices := _choices(kind):
            said = f"it is one of {', '.join(map(str, choices))}"
        raise InvalidSettings(
            f"parameter {name} cannot be {repr(value)[:40]}: {said[:1].lower()}{said[1:]}", field=name
        ) from None


def _choices(kind: Any) -> tuple[object, ...]:
    """What there is to choose from, where that is a list."""
    if kind is bool:
        return "true", "false"
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def _request(side: Side, instrument: Instrument | str, quantity: int, fields: OrderFields) -> OrderRequest:
    # Sizes are often numpy's: they become Python's. What is no whole number is refused with the order.
    units = quantity
    if type(quantity) is not int and hasattr(quantity, "__index__"):
        units = quantity.__index__()
    return OrderRequest(instrument=_instrument(instrument), side=side, total_quantity=units, **fields)


def _instrument(instrument: Instrument | str) -> Instrument:
    return Instrument.parse(instrument) if isinstance(instrument, str) else instrument
