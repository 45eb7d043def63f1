"""The market's rules as the environment sets them: texts in, values out."""

from collections.abc import Iterable, Mapping
from datetime import date, time
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pulse_domain.charges import SCHEDULES, ChargesSchedule, charges_at
from pulse_domain.errors import InvalidSettings
from pulse_domain.instruments import Exchange
from pulse_domain.market import (
    CALENDARS,
    CAPABILITIES,
    CalendarAdditions,
    FreezeReading,
    PhaseKind,
    market_sessions,
    parse_mis_cutoffs,
)
from pulse_domain.use_cases.market_gate import MarketRules, OutsideSession

VIRTUAL = "virtual"
_NONE = "none"
# The broker's unit is not documented for these; virtual trading is not concerned.
_TO_CONFIRM = frozenset({Exchange.MCX, Exchange.CDS})

_E = TypeVar("_E", bound=StrEnum)


class MarketSettings(Struct, frozen=True, kw_only=True):
    """broker: virtual, zerodha or kotak: whose instruments and rules these are. Where the virtual broker reads
    from a real one, it is that one.
    charges: what it charges; None where nobody has told."""

    broker: str
    rules: MarketRules
    calendar: tuple[CalendarAdditions, ...]
    freeze_reading: FreezeReading
    charges: ChargesSchedule | None


class _Addition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of MARKET_CALENDAR, times written as 09:15."""

    market: str
    covered_from: date | None = None
    covered_to: date | None = None
    holidays: frozenset[date] = frozenset()
    sessions: dict[date, list[tuple[str, str]]] = {}

    def added(self) -> CalendarAdditions:
        return CalendarAdditions(
            market=self.market,
            covered_from=self.covered_from,
            covered_to=self.covered_to,
            holidays=self.holidays,
            sessions={
                day: tuple((time.fromisoformat(opens), time.fromisoformat(closes)) for opens, closes in hours)
                for day, hours in self.sessions.items()
            },
        )


VARIABLES = (
    "BROKER_TYPE",
    "VIRTUAL_BROKER_READS",
    "BROKER_CHARGES",
    "OUTSIDE_SESSION",
    "MARKET_PHASES",
    "MARKET_CALENDAR",
    "MIS_CUTOFFS",
    "DELIVERY_ONLY_SERIES",
    "UNITS_CONFIRMED",
    "FREEZE_QUANTITY_READING",
    "ZERODHA_BASE_URL",
    "KOTAK_LOGIN_URL",
)
# Where a broker is; the address of this machine is a simulator's.
_ADDRESSES = {"zerodha": "ZERODHA_BASE_URL", "kotak": "KOTAK_LOGIN_URL"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def read_market(environ: Mapping[str, str]) -> MarketSettings:
    """Read and check the variables of the market's rules; an empty one counts as absent.

    Raises:
        ValueError: one is wrong; the text is one line that names it.
    """
    given = {name: environ.get(name, "") for name in VARIABLES}
    broker = given["BROKER_TYPE"] or VIRTUAL
    broker = VIRTUAL if broker == "mock" else broker
    if broker not in CAPABILITIES:
        raise ValueError(f"BROKER_TYPE must be one of {', '.join(CAPABILITIES)} (or mock)")
    if reads := given["VIRTUAL_BROKER_READS"]:
        if reads == VIRTUAL or reads not in CAPABILITIES:
            raise ValueError("VIRTUAL_BROKER_READS must be kotak or zerodha")
        if broker != VIRTUAL:
            raise ValueError("VIRTUAL_BROKER_READS goes with BROKER_TYPE=virtual only")
        broker = reads
    usual = OutsideSession.ACCEPT if broker == VIRTUAL else OutsideSession.REJECT
    outside = _one("OUTSIDE_SESSION", given, OutsideSession, usual)
    if outside is OutsideSession.ACCEPT and broker != VIRTUAL and not _is_simulated(broker, given):
        raise ValueError(
            "OUTSIDE_SESSION=accept goes with BROKER_TYPE=virtual only,"
            f" or {' or '.join(_ADDRESSES.values())} of this machine"
        )
    calendar = _calendar(given["MARKET_CALENDAR"])
    try:
        cutoffs = parse_mis_cutoffs(given["MIS_CUTOFFS"])
    except InvalidSettings as error:
        raise ValueError(f"MIS_CUTOFFS: {error.message}") from None
    confirmed = frozenset(_several("UNITS_CONFIRMED", given, Exchange, ()))
    return MarketSettings(
        broker=broker,
        rules=MarketRules(
            outside_session=outside,
            phases=frozenset(_several("MARKET_PHASES", given, PhaseKind, (PhaseKind.CONTINUOUS,))),
            capabilities=CAPABILITIES[broker],
            delivery_only_series=_series(given["DELIVERY_ONLY_SERIES"]),
            mis_cutoffs=cutoffs,
            unconfirmed=frozenset() if broker == VIRTUAL else _TO_CONFIRM - confirmed,
        ),
        calendar=calendar,
        freeze_reading=_one("FREEZE_QUANTITY_READING", given, FreezeReading, FreezeReading.SAFE),
        charges=_charges(given["BROKER_CHARGES"], broker),
    )


def _charges(text: str, broker: str) -> ChargesSchedule | None:
    if not text:
        return charges_at(broker)
    if text not in SCHEDULES:
        raise ValueError(f"BROKER_CHARGES must be one of {', '.join(SCHEDULES)}")
    return SCHEDULES[text]


def _is_simulated(broker: str, given: Mapping[str, str]) -> bool:
    """Whether the broker is a simulator: no real one is on this machine."""
    try:
        return urlsplit(given[_ADDRESSES[broker]]).hostname in _LOOPBACK
    except ValueError:
        return False


def _one(name: str, given: Mapping[str, str], kind: type[_E], default: _E) -> _E:
    return next(iter(_several(name, given, kind, (default,))))


def _several(name: str, given: Mapping[str, str], kind: type[_E], default: Iterable[_E]) -> Iterable[_E]:
    text = given[name]
    if not text:
        return default
    try:
        return [kind(word.strip()) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} must be of {', '.join(kind)}") from None


def _series(text: str) -> frozenset[str]:
    if text == _NONE:
        return frozenset()
    words = [word.strip() for word in (text or "BE,BZ").split(",")]
    if not all(len(word) == 2 and word.isalnum() and word.isupper() for word in words):
        raise ValueError("DELIVERY_ONLY_SERIES must be series such as BE,BZ, or none")
    return frozenset(words)


def _calendar(text: str) -> tuple[CalendarAdditions, ...]:
    if not text:
        return ()
    try:
        additions = tuple(each.added() for each in msgspec.json.decode(text, type=list[_Addition]))
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"MARKET_CALENDAR is not a list of additions: {error}") from None
    markets = [calendar.market for calendar in CALENDARS]
    if any(added.market not in markets for added in additions):
        raise ValueError(f"MARKET_CALENDAR: market must be one of {', '.join(markets)}")
    try:
        market_sessions(additions)
    except InvalidSettings as error:
        raise ValueError(f"MARKET_CALENDAR: {error.message}") from None
    return additions
