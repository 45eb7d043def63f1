"""Quotes, circuit limits, positions and holdings: what can be read without an order being sent."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

from kiteconnect import KiteConnect

from pulse_adapters.real_broker.calls import UNREADABLE_ANSWER
from pulse_adapters.real_broker.rows import Fields, UnreadableRow
from pulse_adapters.zerodha.wire import read_circuits, read_holding, read_position, read_quote
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.ports.circuit_reads import CircuitLimits
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import Quote

T = TypeVar("T")
R = TypeVar("R")

# The broker's limits: instruments in one call, and seconds between two calls.
_QUOTES_MAX = 500
_QUOTES_GAP_S = 1.0


class Call(Protocol):
    def __call__(self, work: Callable[[KiteConnect], T]) -> Awaitable[T]:
        """Do `work`, one read, in the session of now. Raises: BrokerUnavailable."""
        ...


class ZerodhaReads:
    """Implements the ports `BrokerReads` and `CircuitReads`."""

    def __init__(self, call: Call, clock: Clock) -> None:
        self._call = call
        self._clock = clock
        self._quoted_at = float("-inf")
        self._quoting = asyncio.Lock()

    async def quotes(self, instruments: Collection[Instrument]) -> Mapping[Instrument, Quote]:
        """Every 500 take a call, and one is made a second: wait so long at least."""
        return await self._read_quotes(instruments, read_quote)

    async def read_circuits(self, instruments: Collection[Instrument]) -> Mapping[Instrument, CircuitLimits]:
        """They are in the quotes: as `quotes`, and in turn with them."""
        return await self._read_quotes(instruments, lambda instrument, row: read_circuits(row))

    async def _read_quotes(
        self, instruments: Collection[Instrument], read: Callable[[Instrument, object], R | None]
    ) -> dict[Instrument, R]:
        found: dict[Instrument, R] = {}
        names = {str(instrument): instrument for instrument in sorted(instruments)}
        keys = list(names)
        for start in range(0, len(keys), _QUOTES_MAX):
            answer = await self._quote(keys[start : start + _QUOTES_MAX])
            # What the broker does not know is not in the answer.
            for key in keys[start : start + _QUOTES_MAX]:
                if key in answer and (value := _read_one(read, names[key], answer[key])) is not None:
                    found[names[key]] = value
        return found

    async def _quote(self, keys: list[str]) -> Mapping[str, Any]:
        async with self._quoting:
            await self._clock.sleep(self._quoted_at + _QUOTES_GAP_S - self._clock.monotonic())
            self._quoted_at = self._clock.monotonic()
            answer = await self._call(lambda kite: kite.quote(*keys))
        if not isinstance(answer, Mapping):
            raise BrokerUnavailable(UNREADABLE_ANSWER, "quotes are not by instrument")
        return answer

    async def positions(self) -> tuple[BrokerPosition, ...]:
        answer = await self._call(lambda kite: kite.positions())
        try:
            return _read(Fields(answer).need("net", _as_list), read_position)
        except UnreadableRow as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"positions cannot be read: {error}") from error

    async def holdings(self) -> tuple[BrokerHolding, ...]:
        answer = await self._call(lambda kite: kite.holdings())
        try:
            return _read(Fields({"holdings": answer}).need("holdings", _as_list), read_holding)
        except UnreadableRow as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"holdings cannot be read: {error}") from error


def _read_one(read: Callable[[Instrument, object], R | None], instrument: Instrument, row: object) -> R | None:
    try:
        return read(instrument, row)
    except UnreadableRow:
        return None  # of an index, which has no depth; or nothing that anybody should trade on


def _read(rows: list[Any], read: Callable[[object], R | None]) -> tuple[R, ...]:
    return tuple(value for row in rows if (value := read(row)) is not None)


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value
