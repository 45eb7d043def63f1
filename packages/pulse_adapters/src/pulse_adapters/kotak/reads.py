"""Quotes, circuit limits, positions and holdings: what can be read without an order being sent."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeVar

from pulse_adapters.kotak.sdk import NeoClient
from pulse_adapters.kotak.wire import (
    quote_name,
    read_circuits,
    read_holding,
    read_position,
    read_quote,
    scrip_name,
)
from pulse_adapters.real_broker.calls import INVALID_INPUT, UNREADABLE_ANSWER
from pulse_adapters.real_broker.rows import UnreadableRow
from pulse_domain.errors import BrokerUnavailable, StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.ports.circuit_reads import CircuitLimits
from pulse_domain.ports.market_data import Quote

R = TypeVar("R")

# The broker's limit; it lets quotes be asked for 25 times a second.
_QUOTES_MAX = 50

# The rows that a read gives. Raises: BrokerUnavailable.
Call = Callable[[Callable[[NeoClient], object]], Awaitable[list[Any]]]
# The broker's name for an instrument, `nse_cm|1594`; None where its file does not list it.
Tokens = Callable[[Instrument], Awaitable[str | None]]


class KotakReads:
    """Implements the ports `BrokerReads` and `CircuitReads`."""

    def __init__(self, call: Call, tokens: Tokens) -> None:
        self._call = call
        self._tokens = tokens

    async def quotes(self, instruments: Collection[Instrument]) -> Mapping[Instrument, Quote]:
        """Every 50 take a call."""
        return await self._read_quotes(instruments, read_quote)

    async def read_circuits(self, instruments: Collection[Instrument]) -> Mapping[Instrument, CircuitLimits]:
        """They are in the quotes: as `quotes`."""
        return await self._read_quotes(instruments, lambda instrument, row: read_circuits(row))

    async def _read_quotes(
        self, instruments: Collection[Instrument], read: Callable[[Instrument, object], R | None]
    ) -> dict[Instrument, R]:
        names: dict[tuple[str, str], Instrument] = {}
        for instrument in sorted(instruments):
            try:
                token = await self._tokens(instrument)
            except StorageUnavailable as error:
                raise BrokerUnavailable("TOKEN_UNKNOWN", "the broker's numbers cannot be read") from error
            if token is not None and (name := scrip_name(instrument, token)) is not None:
                names[name] = instrument
        found: dict[Instrument, R] = {}
        keys = list(names)
        for start in range(0, len(keys), _QUOTES_MAX):
            for row in await self._quote(keys[start : start + _QUOTES_MAX]):
                if (read_row := _read_one(names, read, row)) is not None:
                    found[read_row[0]] = read_row[1]
        return found

    async def _quote(self, names: list[tuple[str, str]]) -> list[Any]:
        try:
            return await self._call(lambda neo: neo.quotes(names))
        except BrokerUnavailable as refused:
            if refused.reason_code != INVALID_INPUT:
                raise
            # One that the broker does not know spoils the answer for all: it is looked for by halves.
            if len(names) == 1:
                return []
            half = len(names) // 2
            return await self._quote(names[:half]) + await self._quote(names[half:])

    async def positions(self) -> tuple[BrokerPosition, ...]:
        return _read(await self._call(lambda neo: neo.positions()), read_position)

    async def holdings(self) -> tuple[BrokerHolding, ...]:
        return _read(await self._call(lambda neo: neo.holdings()), read_holding)


def _read_one(
    names: Mapping[tuple[str, str], Instrument], read: Callable[[Instrument, object], R | None], row: object
) -> tuple[Instrument, R] | None:
    try:
        instrument = names.get(quote_name(row))
        value = None if instrument is None else read(instrument, row)
    except UnreadableRow:
        return None  # nothing that anybody should trade on
    return None if instrument is None or value is None else (instrument, value)


def _read(rows: list[Any], read: Callable[[object], R | None]) -> tuple[R, ...]:
    try:
        return tuple(value for row in rows if (value := read(row)) is not None)
    except UnreadableRow as error:
        raise BrokerUnavailable(UNREADABLE_ANSWER, f"the account cannot be read: {error}") from error
