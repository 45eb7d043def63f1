"""Market orders with a price that they cannot go beyond.

The broker takes no MARKET or SL-M order without a protection. Either the broker applies one (its own bands,
or a percentage), or we send a LIMIT at a price of our own (and for a stop-market order a stop-limit), so
that the price is known to us beforehand.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from pulse_adapters.real_broker.protection import is_option
from pulse_domain.instruments import Instrument


class Protection(Struct, frozen=True, kw_only=True):
    """percent: the broker's, where above 0. own_limit: a LIMIT of ours instead."""

    percent: Decimal | None = None
    own_limit: bool = False

    @property
    def broker_value(self) -> str:
        """The broker's parameter: -1 lets it choose the percentage."""
        return "-1" if self.percent is None else format(self.percent.normalize(), "f")


AUTOMATIC = Protection()
OWN_LIMIT = Protection(own_limit=True)


class Kind(StrEnum):
    PLAIN = "PLAIN"  # equity and futures
    OPTION = "OPTION"


class _Band(Struct, frozen=True, kw_only=True):
    """For prices below one, or up to and with one; the last band has neither."""

    below: Decimal | None = None
    up_to: Decimal | None = None
    percent: Decimal

    def holds(self, price: Decimal) -> bool:
        return (self.below is None or price < self.below) and (self.up_to is None or price <= self.up_to)


class _Bands(Struct, frozen=True, kw_only=True):
    since: date
    by_kind: dict[Kind, tuple[_Band, ...]]


def _below(price: str, percent: str) -> _Band:
    return _Band(below=Decimal(price), percent=Decimal(percent))


def _up_to(price: str, percent: str) -> _Band:
    return _Band(up_to=Decimal(price), percent=Decimal(percent))


def _above(percent: str) -> _Band:
    return _Band(percent=Decimal(percent))


# Newest first. A table whose day has come replaces the one before; the broker announces changes.
_TABLES = (
    _Bands(
        since=date(2026, 4, 1),
        by_kind={
            Kind.PLAIN: (_below("100", "2"), _up_to("500", "1"), _above("0.5")),
            Kind.OPTION: (_below("10", "5"), _below("100", "3"), _up_to("500", "2"), _above("1")),
        },
    ),
)


def kind_of(instrument: Instrument) -> Kind:
    return Kind.OPTION if is_option(instrument) else Kind.PLAIN


def band_percent(kind: Kind, price: Decimal, on: date) -> Decimal | None:
    """The usual protection at a price; None for a day before the first table."""
    for table in _TABLES:
        if table.since <= on:
            return next(band.percent for band in table.by_kind[kind] if band.holds(price))
    return None
