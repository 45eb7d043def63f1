"""Candles of one minute from the broker's REST API."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pulse_adapters.real_broker.calls import Operation
from pulse_adapters.real_broker.history import MinuteHistory
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.real_broker.market_stream import Tokens
from pulse_adapters.zerodha.line import CallFailed, Line
from pulse_adapters.zerodha.outcomes import judge
from pulse_adapters.zerodha.sessions import ZerodhaSessions
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock

_TIMEOUT_S = 10.0
_CELLS = ("date", "open", "high", "low", "close", "volume")


class ZerodhaHistory(MinuteHistory[Line]):
    def __init__(self, sessions: ZerodhaSessions, tokens: Tokens, clock: Clock) -> None:
        super().__init__(tokens, clock)
        self._sessions = sessions

    def _name(self, instrument: Instrument, token: str) -> str | None:
        return token

    async def _ask(self, line: Line, name: str, first: datetime, last: datetime) -> Sequence[Any]:
        session = await self._sessions.current()
        begin, end = first.replace(tzinfo=None), last.replace(tzinfo=None)
        try:
            rows: Sequence[Any] = await line.run(
                Lane.READ,
                lambda kite: kite.historical_data(name, begin, end, "minute"),
                token=session,
                timeout_s=_TIMEOUT_S,
            )
        except CallFailed as failed:
            reason = judge(Operation.READ, failed.ending).reason_code
            raise BrokerUnavailable(reason, "no history is to be had") from None
        return rows

    def _cells(self, row: Any) -> Sequence[Any]:
        return [row[name] for name in _CELLS]
