"""Candles of one minute from the broker's REST API."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pulse_adapters.real_broker.calls import UNREADABLE_ANSWER, Operation
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.real_broker.market_stream import Tokens
from pulse_adapters.zerodha.line import CallFailed, Line
from pulse_adapters.zerodha.outcomes import judge
from pulse_adapters.zerodha.sessions import ZerodhaSessions
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.ports.clock import Clock
from pulse_domain.units import INDIA

_TIMEOUT_S = 10.0
# The broker allows three of these a second for an API key, whoever asks.
_PAUSE_S = 0.5


class MinuteHistory:
    """line: to the broker; where there is none, nothing can be read."""

    def __init__(self, sessions: ZerodhaSessions, tokens: Tokens, clock: Clock) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._clock = clock
        self._asking = asyncio.Lock()
        self._may_ask_at = float("-inf")
        self.line: Line | None = None

    async def read(self, instrument: Instrument, since: datetime, until: datetime) -> Sequence[Candle]:
        """The candles that start from `since` up to but without `until`; 60 days at most.

        Raises:
            BrokerUnavailable: they cannot be had.
            StorageUnavailable: the broker's number of the instrument cannot be read.
        """
        token = await self._tokens(instrument)
        if token is None or self.line is None:
            raise BrokerUnavailable("NO_HISTORY", f"there is no history of {instrument}")
        line, session = self.line, await self._sessions.current()
        # Both ends are within what the broker tells.
        first, last = (
            at.astimezone(INDIA).replace(tzinfo=None) for at in (since, until - timedelta(seconds=1))
        )
        async with self._asking:
            await self._clock.sleep(self._may_ask_at - self._clock.monotonic())
            self._may_ask_at = self._clock.monotonic() + _PAUSE_S
            try:
                rows = await line.run(
                    Lane.READ,
                    lambda kite: kite.historical_data(token, first, last, "minute"),
                    token=session,
                    timeout_s=_TIMEOUT_S,
                )
            except CallFailed as failed:
                reason = judge(Operation.READ, failed.ending).reason_code
                raise BrokerUnavailable(reason, f"no history of {instrument} is to be had") from None
        candles = [_candle(instrument, row) for row in rows]
        return [candle for candle in candles if since <= candle.start < until]


def _candle(instrument: Instrument, row: Any) -> Candle:
    try:
        start = row["date"].astimezone(INDIA)
        opened, high, low, closed = (_price(row[name]) for name in ("open", "high", "low", "close"))
        return Candle(instrument, start, opened, high, low, closed, int(row["volume"]))
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        raise BrokerUnavailable(UNREADABLE_ANSWER, f"a candle of {instrument} cannot be read") from None


def _price(value: Any) -> Decimal:
    # A float through its shortest text: the number that the broker wrote, and not its binary neighbour.
    price = Decimal(str(value))
    if not price.is_finite() or price <= 0:
        raise ValueError
    return price
