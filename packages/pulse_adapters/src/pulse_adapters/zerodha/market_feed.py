"""The broker's ticker, for its prices: binary packets of mode full."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import aiohttp
import msgspec
import structlog

from pulse_adapters.real_broker.market_stream import (
    GARBAGE,
    NOTHING,
    Heard,
    LiveFeed,
    LiveFeedSettings,
    Price,
    StoredUntil,
    Tokens,
)
from pulse_adapters.real_broker.rows import UnreadableRow
from pulse_adapters.zerodha.history import ZerodhaHistory
from pulse_adapters.zerodha.line import Line
from pulse_adapters.zerodha.packets import BadFrame, Packet, parse_frame
from pulse_adapters.zerodha.sessions import BROKER, ZerodhaSessions
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_adapters.zerodha.ticker import open_ticker
from pulse_adapters.zerodha.wire import read_message
from pulse_domain.candles import HoursAt
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedSink

log = structlog.get_logger(__name__)

INSTRUMENTS_MAX = 3000
_MODE = "full"
_NAMES_PER_MESSAGE = 500


class KiteWire:
    """Implements `Wire`; a name is the token in digits."""

    broker = BROKER
    instruments_max = INSTRUMENTS_MAX

    def __init__(self, settings: ZerodhaSettings) -> None:
        self._settings = settings

    def name_of(self, instrument: Instrument, token: str) -> str | None:
        return token

    async def connect(
        self, http: aiohttp.ClientSession, session: str, options: dict[str, Any]
    ) -> aiohttp.ClientWebSocketResponse:
        return await open_ticker(http, self._settings.ticker_url, self._settings.api_key, session, options)

    async def greet(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        """There is no greeting."""

    def subscribe(self, names: Sequence[str]) -> Iterable[str]:
        for tokens in _numbers(names):
            yield _said("subscribe", tokens)
            yield _said("mode", [_MODE, tokens])

    def unsubscribe(self, names: Sequence[str]) -> Iterable[str]:
        for tokens in _numbers(names):
            yield _said("unsubscribe", tokens)

    def read(self, message: bytes | str) -> Heard:
        if isinstance(message, str):
            return _read_text(message)
        try:
            return Heard([_price(packet) for packet in parse_frame(message)])
        except BadFrame:
            return GARBAGE


class ZerodhaFeed(LiveFeed[str]):
    """Implements the `MarketFeed` port. It is a connection of its own: the broker allows three.

    tokens, hours_at, stored_until: as for `LiveFeed`. Holes are filled from the broker's minute candles.
    """

    def __init__(
        self,
        settings: ZerodhaSettings,
        sessions: ZerodhaSessions,
        clock: Clock,
        rng: Random,
        *,
        tokens: Tokens,
        hours_at: HoursAt,
        feed: LiveFeedSettings | None = None,
        stored_until: StoredUntil | None = None,
    ) -> None:
        self._history = ZerodhaHistory(sessions, tokens, clock)
        super().__init__(
            feed or LiveFeedSettings(),
            KiteWire(settings),
            clock,
            rng,
            current_session=sessions.current,
            tokens=tokens,
            hours_at=hours_at,
            history=self._history.read,
            stored_until=stored_until,
        )
        self._zerodha = settings

    async def run(self, sink: FeedSink) -> None:
        settings = self._zerodha
        line = Line(api_key=settings.api_key, base_url=settings.base_url, clock=self._clock, pool_size=1)
        self._history.line = line
        try:
            await super().run(sink)
        finally:
            self._history.line = None
            await line.close()


def _numbers(names: Sequence[str]) -> Iterable[list[int]]:
    tokens = [int(name) for name in names]
    for start in range(0, len(tokens), _NAMES_PER_MESSAGE):
        yield tokens[start : start + _NAMES_PER_MESSAGE]


def _said(action: str, value: object) -> str:
    return msgspec.json.encode({"a": action, "v": value}).decode()


def _price(packet: Packet) -> Price:
    depth, ohlc = packet.depth, packet.ohlc
    return Price(
        name=str(packet.token),
        at=packet.exchange_at or packet.last_trade_at,
        price=packet.last_price,
        bid=depth.bids[0].price if depth is not None and depth.bids else None,
        ask=depth.asks[0].price if depth is not None and depth.asks else None,
        volume=packet.volume or 0,
        day_low=ohlc.low if ohlc is not None and ohlc.low else None,
        day_high=ohlc.high if ohlc is not None and ohlc.high else None,
    )


def _read_text(text: str) -> Heard:
    """Messages of orders come here too, and are read elsewhere."""
    try:
        kind, _ = read_message(text)
    except UnreadableRow:
        return GARBAGE
    if kind == "error":
        log.warning("the ticker tells of an error", broker=BROKER)
    return NOTHING
