"""Candles of one minute as a broker tells them afterwards: asked for one request at a time, and read."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

from pulse_adapters.real_broker.calls import UNREADABLE_ANSWER
from pulse_adapters.real_broker.market_stream import Tokens
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.ports.clock import Clock
from pulse_domain.units import INDIA

L = TypeVar("L")

# The slowest that is known: three requests a second for an API key, whoever asks.
_PAUSE_S = 0.5


class MinuteHistory(ABC, Generic[L]):
    """line: to the broker; where there is none, nothing can be read."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._asking = asyncio.Lock()
        self._may_ask_at = float("-inf")
        self.line: L | None = None

    async def read(self, instrument: Instrument, since: datetime, until: datetime) -> Sequence[Candle]:
        """The candles that start from `since` up to but without `until`; 30 days at most.

        Raises:
            BrokerUnavailable: they cannot be had.
            StorageUnavailable: the broker's name of the instrument cannot be read.
        """
        token, line = await self._tokens(instrument), self.line
        name = None if token is None else self._name(instrument, token)
        if name is None or line is None:
            raise BrokerUnavailable("NO_HISTORY", f"there is no history of {instrument}")
        # Both ends are within what a broker tells.
        first, last = (at.astimezone(INDIA) for at in (since, until - timedelta(seconds=1)))
        async with self._asking:
            await self._clock.sleep(self._may_ask_at - self._clock.monotonic())
            self._may_ask_at = self._clock.monotonic() + _PAUSE_S
            rows = await self._ask(line, name, first, last)
        candles = [self._candle(instrument, row) for row in rows]
        return [candle for candle in candles if since <= candle.start < until]

    @abstractmethod
    def _name(self, instrument: Instrument, token: str) -> str | None:
        """How history names an instrument; None where there is none of its kind."""

    @abstractmethod
    async def _ask(self, line: L, name: str, first: datetime, last: datetime) -> Sequence[Any]:
        """The rows that start from `first` to `last`, in Indian time; more do no harm.

        Raises:
            BrokerUnavailable: they cannot be had.
        """

    @abstractmethod
    def _cells(self, row: Any) -> Sequence[Any]:
        """When it starts, open, high, low, close and volume; it may raise whatever a row makes it raise."""

    def _candle(self, instrument: Instrument, row: Any) -> Candle:
        try:
            start, *prices, volume = self._cells(row)
            if start.tzinfo is None or int(volume) < 0:
                raise ValueError
            opened, high, low, closed = (_price(cell) for cell in prices)
            return Candle(instrument, start.astimezone(INDIA), opened, high, low, closed, int(volume))
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"a candle of {instrument} cannot be read") from None


def _price(value: Any) -> Decimal:
    # A float through its shortest text: the number that the broker wrote, and not its binary neighbour.
    price = Decimal(str(value))
    if not price.is_finite() or price <= 0:
        raise ValueError
    return price
