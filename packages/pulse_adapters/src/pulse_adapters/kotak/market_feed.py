"""The broker's market feed: a greeting in JSON, subscriptions by event, and packets in batches.

The SDK's own client is not used. It gives up for good after five attempts to come back, cannot be told that a
link is silent, keeps what nobody has taken yet without a bound, holds prices back while a subscription is not
acknowledged and then gives the last of each only, logs a line for each, and makes floats of them. The frames
are read here instead; tests hold the reading against the SDK's.
"""

import asyncio
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from pulse_adapters.kotak.history import KotakHistory
from pulse_adapters.kotak.line import Line
from pulse_adapters.kotak.packets import Packet, parse_frame
from pulse_adapters.kotak.sessions import BROKER, KotakSessions, NeoSession
from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.kotak.wire import scrip_name
from pulse_adapters.real_broker.market_stream import (
    GARBAGE,
    NOTHING,
    Heard,
    LiveFeed,
    LiveFeedSettings,
    NotWelcome,
    Price,
    StoredUntil,
    Tokens,
)
from pulse_domain.candles import HoursAt
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedSink

INSTRUMENTS_MAX = 3000
_CONNECTED, _WELCOME, _NOT_WELCOME = 1119, 1117, 1120
_FORMAT = "native_batch"
_PING_S = 20.0
_SECOND_WORD_S = 2.0
_DIVIDER_MAX = 10**9
_NAMES_PER_MESSAGE = 200


class _Divider(Struct):
    divider: int = 0


class _Control(Struct):
    message_code: int = 0
    format: str = ""
    exchanges: dict[str, _Divider] = {}


class NeoWire:
    """Implements `Wire`; a name is written `nse_cm|1594`."""

    broker = BROKER
    instruments_max = INSTRUMENTS_MAX

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dividers: dict[str, int] = {}

    def name_of(self, instrument: Instrument, token: str) -> str | None:
        name = scrip_name(instrument, token)
        return None if name is None else "|".join(name)

    async def connect(
        self, http: aiohttp.ClientSession, session: NeoSession, options: dict[str, Any]
    ) -> aiohttp.ClientWebSocketResponse:
        if not session.market_url:
            raise NotWelcome("the session does not tell where prices are: it is of an older release")
        socket: aiohttp.ClientWebSocketResponse = await http.ws_connect(
            session.market_url, heartbeat=_PING_S, **options
        )
        return socket

    async def greet(self, socket: aiohttp.ClientWebSocketResponse, session: NeoSession) -> None:
        await socket.send_str(self._greeting(session))
        code = 0
        while code != _WELCOME:
            try:
                # The first message carries the dividers, and documents say that it tells nothing else. The SDK
                # has seen no second one.
                async with asyncio.timeout(_SECOND_WORD_S if code == _CONNECTED else None):
                    message = await socket.receive()
            except TimeoutError:
                return
            if message.type is aiohttp.WSMsgType.BINARY:
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise ConnectionError
            control = _read_control(message.data)
            if control is None:
                continue
            if control.message_code == _NOT_WELCOME:
                raise NotWelcome("the broker does not take the session")
            if control.format not in ("", _FORMAT):
                raise NotWelcome("the broker wants to talk in another format")
            self._learn(control)
            code = control.message_code or code

    def subscribe(self, names: Sequence[str]) -> Iterable[str]:
        return _said("subscribeScrips", names)

    def unsubscribe(self, names: Sequence[str]) -> Iterable[str]:
        return _said("unsubscribeScrips", names)

    def read(self, message: bytes | str) -> Heard:
        if isinstance(message, str):
            control = _read_control(message)
            if control is not None:
                self._learn(control)
            return GARBAGE if control is None else NOTHING
        frame = parse_frame(message, self._dividers)
        return Heard([_price(packet) for packet in frame.packets], frame.bad)

    def _greeting(self, session: NeoSession) -> str:
        fields = {
            "user": session.ucc,
            "auth": session.sid,
            "format": _FORMAT,
            "source": "NEOTRADEAPI",
            "platform": "Web",
            "version": "1.2.3",
            "sdk_version": 2,
            "sdk_date": "2026-08-07T09:41:17.667Z",
            "conn_req_time": int(self._clock.now().timestamp() * 1000),
            "sessionValidation": False,
        }
        return msgspec.json.encode(fields).decode()

    def _learn(self, control: _Control) -> None:
        self._dividers |= {
            segment: each.divider
            for segment, each in control.exchanges.items()
            if 0 < each.divider <= _DIVIDER_MAX
        }


class KotakFeed(LiveFeed[NeoSession]):
    """Implements the `MarketFeed` port.

    tokens, hours_at, stored_until: as for `LiveFeed`. Holes are filled from the broker's minute candles, but
    for commodities.
    """

    def __init__(
        self,
        settings: KotakSettings,
        sessions: KotakSessions,
        clock: Clock,
        rng: Random,
        *,
        tokens: Tokens,
        hours_at: HoursAt,
        feed: LiveFeedSettings | None = None,
        stored_until: StoredUntil | None = None,
    ) -> None:
        self._history = KotakHistory(sessions, tokens, clock)
        super().__init__(
            feed or LiveFeedSettings(),
            NeoWire(clock),
            clock,
            rng,
            current_session=sessions.current,
            tokens=tokens,
            hours_at=hours_at,
            history=self._history.read,
            stored_until=stored_until,
        )
        self._kotak = settings

    async def run(self, sink: FeedSink) -> None:
        settings = self._kotak
        line = Line(
            access_token=settings.access_token, login_url=settings.login_url, clock=self._clock, pool_size=1
        )
        self._history.line = line
        try:
            await super().run(sink)
        finally:
            self._history.line = None
            await line.close()


def _said(event: str, names: Sequence[str]) -> Iterable[str]:
    for start in range(0, len(names), _NAMES_PER_MESSAGE):
        tokens = ",".join(names[start : start + _NAMES_PER_MESSAGE])
        yield msgspec.json.encode({"event": event, "inputtoken": tokens, "ack_symbol": True}).decode()


def _price(packet: Packet) -> Price:
    return Price(
        name=f"{packet.segment}|{packet.token}",
        at=packet.updated_at or packet.last_trade_at,
        price=packet.last_price,
        bid=packet.bid,
        ask=packet.ask,
        volume=packet.volume or 0,
        day_low=packet.day_low,
        day_high=packet.day_high,
    )


def _read_control(text: str) -> _Control | None:
    try:
        return msgspec.json.decode(text, type=_Control, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
