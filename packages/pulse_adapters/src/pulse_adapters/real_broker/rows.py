"""A broker's rows as values. What the fields are called, and how each is written, is the broker's own.

Fields that are not known are ignored, as brokers add some now and then. A field that is needed and is not
there, or makes no sense, is an `UnreadableRow` that names it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, TypeVar

from msgspec import Struct

from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill, storable
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus
from pulse_domain.ports.circuit_reads import CircuitLimits

T = TypeVar("T")

_ENDED = frozenset(
    {
        BrokerOrderStatus.COMPLETE,
        BrokerOrderStatus.CANCELLED,
        BrokerOrderStatus.REJECTED,
        BrokerOrderStatus.EXPIRED,
    }
)


class UnreadableRow(ValueError):
    """A row lacks a field that is needed, or has nonsense in one."""


class OrderRow(Struct, frozen=True, kw_only=True):
    """An order as the broker counts: `quantity` and `filled_quantity` may be lots.

    instrument: None where it is of an exchange or in a spelling that we have no orders in.
    updated_at: the latest instant that the row tells of.
    words: as in `BrokerOrder`.
    """

    order_id: BrokerOrderId
    tags: tuple[str, ...]
    instrument: Instrument | None
    side: Side
    quantity: int
    filled_quantity: int
    average_price: Decimal
    status: BrokerOrderStatus
    placed_at: datetime
    updated_at: datetime
    reason_code: str | None
    reason: str | None
    words: Mapping[str, Any]

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    def in_units(self, units: int) -> BrokerOrder:
        """The order as the domain counts. units: what one of the broker's quantity stands for."""
        assert self.instrument is not None, "an order of a foreign exchange is none of ours"
        return BrokerOrder(
            broker_order_id=self.order_id,
            tags=self.tags,
            instrument=self.instrument,
            side=self.side,
            quantity=self.quantity * units,
            filled_quantity=self.filled_quantity * units,
            average_price=self.average_price,
            status=self.status,
            placed_at=self.placed_at,
            reason_code=self.reason_code,
            reason=self.reason,
            words=self.words,
        )


class TradeRow(Struct, frozen=True, kw_only=True):
    """A trade as the broker counts: `quantity` may be lots."""

    trade_id: str
    order_id: BrokerOrderId
    instrument: Instrument | None
    quantity: int
    price: Decimal
    at: datetime

    def in_units(self, units: int) -> Fill:
        return Fill(
            trade_id=self.trade_id,
            broker_order_id=self.order_id,
            quantity=self.quantity * units,
            price=self.price,
            at=self.at,
        )


class Fields:
    """The fields of a row, one at a time.

    nothing: how the broker writes that there is no value.

    Raises:
        UnreadableRow: the row has no fields.
    """

    def __init__(self, row: object, nothing: tuple[str, ...] = ("",)) -> None:
        if not isinstance(row, Mapping):
            raise UnreadableRow(f"a row is of type {type(row).__name__}")
        self._fields: Mapping[str, Any] = row
        self._nothing = (None, *nothing)

    def get(self, name: str) -> Any:
        """The field as it is, or None."""
        return self._fields.get(name)

    def need(self, name: str, read: Callable[[Any], T]) -> T:
        value = self._fields.get(name)
        if value in self._nothing:
            raise UnreadableRow(f"{name} is missing")
        try:
            return read(value)
        except (ValueError, TypeError, KeyError, InvalidOperation, OverflowError):
            raise UnreadableRow(f"{name} makes no sense: {str(value)[:40]!r}") from None

    def words(self, names: Iterable[str]) -> dict[str, Any]:
        """The named fields that are there, as plain values. Named, as what a broker adds some day may be a
        secret."""
        return {name: _plain(self._fields[name]) for name in names if self._fields.get(name) is not None}

    def may(self, name: str, read: Callable[[Any], T]) -> T | None:
        return None if self._fields.get(name) in self._nothing else self.need(name, read)


def circuits_of(lower: Decimal | None, upper: Decimal | None) -> CircuitLimits | None:
    """Circuit limits, where they are some: of what has none, such as an index, brokers write 0 or nothing."""
    if lower is None or upper is None or not 0 < lower < upper:
        return None
    return lower, upper


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return storable(repr(value))


def as_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def read_book(
    rows: Iterable[object], read: Callable[[object], T], id_field: str
) -> tuple[list[T], dict[str, str]]:
    """The rows, and what is wrong with those that cannot be read, by order id. Thousands take their time: call
    it in a thread."""
    good: list[T] = []
    bad: dict[str, str] = {}
    for row in rows:
        try:
            good.append(read(row))
        except UnreadableRow as error:
            bad[str(row.get(id_field)) if isinstance(row, Mapping) else "?"] = str(error)
    return good, bad
