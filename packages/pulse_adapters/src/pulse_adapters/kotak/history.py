"""Candles of one minute from the broker's REST API, by whole days; there are none of commodities."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pulse_adapters.kotak.line import Line
from pulse_adapters.kotak.outcomes import candles_of, judge
from pulse_adapters.kotak.sessions import KotakSessions
from pulse_adapters.kotak.wire import scrip_name
from pulse_adapters.real_broker.calls import UNREADABLE_ANSWER, Operation
from pulse_adapters.real_broker.history import MinuteHistory
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.real_broker.market_stream import Tokens
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.ports.clock import Clock

_TIMEOUT_S = 10.0
_CELLS = 6  # the open interest comes after them, and is not filled yet


class KotakHistory(MinuteHistory[Line]):
    def __init__(self, sessions: KotakSessions, tokens: Tokens, clock: Clock) -> None:
        super().__init__(tokens, clock)
        self._sessions = sessions

    def _name(self, instrument: Instrument, token: str) -> str | None:
        if instrument.exchange is Exchange.MCX:
            return None
        name = scrip_name(instrument, token)
        return None if name is None else "|".join(name)

    async def _ask(self, line: Line, name: str, first: datetime, last: datetime) -> Sequence[Any]:
        session = await self._sessions.current()
        ending = await line.run(
            Lane.READ,
            lambda neo: neo.minute_candles(name, first.date(), last.date()),
            session=session,
            timeout_s=_TIMEOUT_S,
        )
        rows = candles_of(ending)
        if rows is None:
            error = judge(Operation.READ, ending)
            reason = UNREADABLE_ANSWER if error is None else error.reason_code
            raise BrokerUnavailable(reason, "no history is to be had")
        return rows

    def _cells(self, row: Any) -> Sequence[Any]:
        start, *cells = row[:_CELLS]
        return [datetime.fromisoformat(start), *cells]
