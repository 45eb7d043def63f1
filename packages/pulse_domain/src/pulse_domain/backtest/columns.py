"""What market data must be like, cell by cell and row by row.

Cells become whole numbers: instants in microseconds since the epoch, prices in ten-thousandths of a rupee.
"""

from abc import abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import accumulate, islice
from operator import le, ne
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from pulse_domain.units import PRICE_UNITS, day_end_us, to_time, to_us

# Instants counted in other units than microseconds, and columns taken for one another, lie outside.
FIRST_US = to_us(datetime(1980, 1, 1, tzinfo=UTC))
LAST_US = to_us(datetime(2200, 1, 1, tzinfo=UTC))
UNITS_MAX = 100_000_000 * PRICE_UNITS
VOLUME_MAX = 1_000_000_000_000

# How far a float may be from the grid: in steps of the grid, and relative to the number itself.
GRID_SLACK = 1e-6
FLOAT_SLACK = 1e-15

# What stands for a missing time in a column of whole numbers, in numpy as well.
NO_TIME = -(2**63)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ANYWHERE = _EPOCH.replace(tzinfo=None)
_US = timedelta(microseconds=1)

if TYPE_CHECKING:
    Ints: TypeAlias = array[int]
else:
    Ints = array  # it cannot be subscripted before Python 3.12
Column = Sequence[Any]
Check = Callable[..., None]


class Defect(Exception):
    """What makes a row unusable; `row` counts from 1."""

    def __init__(self, field: str, reason: str, row: int = 0) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason
        self.row = row


class Rows(NamedTuple):
    """The rows that can be used, column by column, and what is wrong with the others, ascending."""

    columns: tuple[Ints, ...]
    defects: list[Defect]


class Reader(Protocol):
    """Converts the cells of one column; both methods raise Defect, without the row."""

    field: str

    def cell(self, value: Any) -> int: ...

    def column(self, values: Column) -> Ints: ...


class Instants:
    """Reads aware datetimes, naive ones and dates of `zone`, and microseconds since the epoch."""

    def __init__(self, field: str, zone: tzinfo | None) -> None:
        self.field = field
        self.zone = zone

    def cell(self, value: Any) -> int:
        us = self._us(value)
        if not FIRST_US <= us < LAST_US:
            raise Defect(
                self.field,
                f"{self.field} {value} is not between 1980 and 2200; numbers count microseconds since 1970",
            )
        return us

    def column(self, values: Column) -> Ints:
        try:
            column = array("q", values)
        except TypeError:
            if self.zone is None:
                column = array("q", [(at - _EPOCH) // _US for at in values])
            else:
                return array("q", map(self.cell, values))
        if not (min(column) >= FIRST_US and max(column) < LAST_US):
            raise Defect(self.field, "an instant is out of range")
        return column

    def _us(self, value: Any) -> int:
        if _is_missing(value) or value == NO_TIME:
            raise _missing(self.field, value)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime):
            if value.tzinfo is None:
                if self.zone is None:
                    raise Defect(self.field, f"{self.field} {value} has no offset from UTC: give its zone")
                value = value.replace(tzinfo=self.zone)
            return int((value - _EPOCH) // _US)
        if not hasattr(value, "__index__"):
            raise Defect(self.field, f"{self.field} {value!r} is neither a datetime nor a whole number")
        return int(value)


class Numbers(dict[Any, int]):
    """Reads a column in which values come again, each distinct one once."""

    def __init__(self, field: str) -> None:
        self.field = field

    def __missing__(self, value: Any) -> int:
        number = self[value] = self.cell(value)
        return number

    @abstractmethod
    def cell(self, value: Any) -> int:
        """The number that a value counts."""

    def column(self, values: Column) -> Ints:
        return array("q", map(self.__getitem__, values))


class Prices(Numbers):
    """Reads prices above 0, on the grid of 1/10,000 rupee."""

    def cell(self, value: Any) -> int:
        units = self._units(value)
        if not 0 < units <= UNITS_MAX:
            wanted = "above 0" if units <= 0 else f"at most {UNITS_MAX // PRICE_UNITS}"
            raise Defect(self.field, f"{self.field} {value} is not {wanted}")
        return units

    def _units(self, value: Any) -> int:
        if _is_missing(value):
            raise _missing(self.field, value)
        if isinstance(value, Decimal):
            if not value.is_finite():
                raise Defect(self.field, f"{self.field} is {value}")
            scaled = value * PRICE_UNITS
            units = int(scaled)
            if units != scaled:
                raise self._off_grid(value)
            return units
        if hasattr(value, "__index__"):
            return int(value) * PRICE_UNITS
        if not hasattr(value, "__float__"):
            raise Defect(self.field, f"{self.field} {value!r} is not a number")
        # What was meant by a float of 32 bits is its text, not its value among those of 64.
        number = (value if isinstance(value, float) else float(str(value))) * PRICE_UNITS
        if not abs(number) < 2.0**62:
            raise Defect(self.field, f"{self.field} is {value}")
        units = round(number)
        if abs(number - units) > GRID_SLACK + FLOAT_SLACK * abs(number):
            raise self._off_grid(value)
        return units

    def _off_grid(self, value: Any) -> Defect:
        return Defect(self.field, f"{self.field} {value} is finer than a ten-thousandth of a rupee")


class Quotes(Prices):
    """Reads prices that may be unknown: missing ones and 0 read 0."""

    def cell(self, value: Any) -> int:
        return 0 if _is_missing(value) or value == 0 else super().cell(value)


class Volumes(Numbers):
    """Reads whole numbers from 0 on."""

    def cell(self, value: Any) -> int:
        if _is_missing(value):
            raise _missing(self.field, value)
        try:
            units = int(value)
        except (TypeError, ValueError, OverflowError):
            raise Defect(self.field, f"{self.field} {value} is not a number") from None
        if units != value or not 0 <= units <= VOLUME_MAX:
            raise Defect(self.field, f"{self.field} {value} is not a whole number from 0 on")
        return units


def _missing(field: str, value: Any) -> Defect:
    return Defect(field, f"{field} is {'not a number' if isinstance(value, float | Decimal) else 'missing'}")


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError, ArithmeticError):
        return True  # what pandas has for missing does not even compare


def local_to_us(us: int, zone: tzinfo | None) -> int:
    """Turn microseconds since the epoch on the clocks of `zone` into those of UTC."""
    return int(((_EPOCH_ANYWHERE + timedelta(microseconds=us)).replace(tzinfo=zone) - _EPOCH) // _US)


def candle_readers(zone: tzinfo | None) -> tuple[Reader, ...]:
    return (
        Instants("start", zone), Prices("open"), Prices("high"), Prices("low"), Prices("close"),
        Volumes("volume"),
    )  # fmt: skip


def tick_readers(zone: tzinfo | None) -> tuple[Reader, ...]:
    return Instants("at", zone), Prices("price"), Quotes("bid"), Quotes("ask"), Volumes("volume")


def check_candle(start: int, opened: int, high: int, low: int, close: int, volume: int) -> None:
    """Raises Defect where the prices contradict each other."""
    if high < low:
        raise Defect("high", f"high {rupees(high)} is below low {rupees(low)}")
    for field, units in (("open", opened), ("close", close)):
        if not low <= units <= high:
            raise Defect(field, f"{field} {rupees(units)} is outside {rupees(low)} to {rupees(high)}")


def check_order(field: str, start: int, last: int) -> None:
    """Raises Defect where a candle does not start after the one before it."""
    if start == last:
        raise Defect(field, f"{field} {to_time(start)} is there twice")
    if start < last:
        raise Defect(field, f"{field} {to_time(start)} is earlier than the row before")


def check_tick(at: int, price: int, bid: int, ask: int, volume: int) -> None:
    """Raises Defect where the quotes contradict each other."""
    if bid > ask > 0:
        raise Defect("bid", f"bid {rupees(bid)} is above ask {rupees(ask)}")


def rupees(units: int) -> str:
    """A price as people write it."""
    return f"{Decimal(units) / PRICE_UNITS:f}"


def in_arrival_order(at: Ints, volume: Ints) -> tuple[Ints, Ints, int]:
    """Let time, and volume within a day of Indian time, never step back; count the rows whose time did."""
    times = _highest_so_far(at)
    late = sum(map(ne, times, at))
    volumes, first = array("q"), 0
    while first < len(times):
        end = bisect_left(times, day_end_us(times[first]), first)
        volumes.extend(_highest_so_far(volume[first:end]))
        first = end
    return times, volumes, late


def _highest_so_far(numbers: Ints) -> Ints:
    if all(map(le, numbers, islice(numbers, 1, None))):
        return numbers
    return array("q", accumulate(numbers, max))
