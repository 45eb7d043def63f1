"""Cells that are text, as CSV files have them: readers like those of `columns`, made for long columns."""

from array import array
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from pulse_domain.backtest.columns import (
    FIRST_US,
    LAST_US,
    UNITS_MAX,
    VOLUME_MAX,
    Column,
    Defect,
    Instants,
    Ints,
    Prices,
    Quotes,
    Volumes,
    local_to_us,
)
from pulse_domain.units import DAY_US, to_us

_EXAMPLE = "2026-01-05T09:15:00+05:30"
_DATE = slice(10)
_TIME = slice(10, None)
_EPOCH_DAY = date(1970, 1, 1)


class TextInstants(Instants):
    """Reads ISO 8601 times, and microseconds since the epoch."""

    def cell(self, value: Any) -> int:
        text = _stripped(self.field, value)
        if text.isdecimal() and len(text) > len("20260105"):
            return super().cell(int(text))
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise Defect(self.field, f"{self.field} {value!r} is not a time such as {_EXAMPLE}") from None
        return super().cell(at)

    def column(self, values: Column) -> Ints:
        for zone in (None, self.zone):
            # Dates and times of day come again and again; together they hardly do.
            days, times = _Days(zone or UTC), _Times(aware=zone is None)
            try:
                column = array("q", [days[text[_DATE]] + times[text[_TIME]] for text in values])
            except (TypeError, ValueError, OverflowError):
                continue
            if len(column) and not (min(column) >= FIRST_US and max(column) < LAST_US):
                raise Defect(self.field, "an instant is out of range")
            return column
        return array("q", map(self.cell, values))


class _Days(dict[str, int]):
    """When a day begins in a zone; raises ValueError for what is no day, or none of 24 hours."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def __missing__(self, text: str) -> int:
        midnight = date.fromisoformat(text) - _EPOCH_DAY
        local_us = midnight // timedelta.resolution
        us = local_to_us(local_us, self._zone)
        if local_to_us(local_us + DAY_US, self._zone) != us + DAY_US:
            raise ValueError
        self[text] = us
        return us


class _Times(dict[str, int]):
    """Times of day in microseconds, less their offset; raises ValueError for what is none."""

    def __init__(self, *, aware: bool) -> None:
        self._aware = aware

    def __missing__(self, text: str) -> int:
        at = datetime.fromisoformat(f"1970-01-01{text}")
        if (at.tzinfo is not None) != self._aware:
            raise ValueError
        us = self[text] = to_us(at if self._aware else at.replace(tzinfo=UTC))
        return us


class _Units(dict[str, int]):
    """Prices of at most four decimals, as most are; raises ValueError for others."""

    def __missing__(self, text: str) -> int:
        rupees, _, parts = text.partition(".")
        units = int(f"{rupees}{parts:0<4}")
        if len(parts) > 4 or not 0 < units <= UNITS_MAX:
            raise ValueError
        self[text] = units
        return units


class TextPrices(Prices):
    """Reads prices above 0. Those of one file share what they have read."""

    def __init__(self, field: str, units: _Units) -> None:
        super().__init__(field)
        self._texts = units

    def cell(self, value: Any) -> int:
        return super().cell(_number(self.field, value))

    def column(self, values: Column) -> Ints:
        try:
            return array("q", map(self._texts.__getitem__, values))
        except (AttributeError, ValueError):
            return super().column(values)


class TextQuotes(Quotes):
    """Reads prices that may be unknown: empty cells and 0 read 0."""

    def cell(self, value: Any) -> int:
        empty = value is None or not value.strip()
        return 0 if empty else super().cell(_number(self.field, value))


class TextVolumes(Volumes):
    """Reads whole numbers from 0 on, with or without a decimal point."""

    def cell(self, value: Any) -> int:
        return super().cell(_number(self.field, value))

    def column(self, values: Column) -> Ints:
        try:
            column = array("q", map(int, values))
        except (TypeError, ValueError, OverflowError):
            return super().column(values)
        if len(column) and not (min(column) >= 0 and max(column) <= VOLUME_MAX):
            raise Defect(self.field, "a volume is out of range")
        return column


def text_prices(fields: Sequence[str]) -> list[TextPrices]:
    units = _Units()
    return [TextPrices(field, units) for field in fields]


def _stripped(field: str, value: str | None) -> str:
    text = "" if value is None else value.strip()
    if not text:
        raise Defect(field, f"{field} is missing")
    return text


def _number(field: str, value: str | None) -> float:
    text = _stripped(field, value)
    try:
        return float(text)
    except ValueError:
        raise Defect(field, f"{field} {value!r} is not a number") from None
