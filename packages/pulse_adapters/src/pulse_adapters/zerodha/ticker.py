"""The broker's websocket, for its order messages. It sends a heartbeat every few seconds."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import aiohttp
import structlog

from pulse_adapters.real_broker.stream import OrderStream, StreamSettings
from pulse_adapters.zerodha.sessions import BROKER
from pulse_adapters.zerodha.wire import read_message
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)


class TickerSettings(StreamSettings, frozen=True, kw_only=True):
    """silence_s: without even a heartbeat for so long, the link is dead."""

    api_key: str
    url: str
    silence_s: float = 10.0

    def __repr__(self) -> str:
        return f"TickerSettings(url={self.url!r})"


class Ticker(OrderStream[str]):
    def __init__(
        self,
        settings: TickerSettings,
        clock: Clock,
        rng: Random,
        *,
        current_token: Callable[[], Awaitable[str]],
    ) -> None:
        super().__init__(
            settings,
            clock,
            rng,
            broker=BROKER,
            name="ticker",
            current_session=current_token,
            quiet_s=settings.silence_s,
            quiet_is_dead=True,
        )
        self._settings = settings

    async def _connect(
        self, http: aiohttp.ClientSession, session: str, options: dict[str, Any]
    ) -> aiohttp.ClientWebSocketResponse:
        return await open_ticker(http, self._settings.url, self._settings.api_key, session, options)

    def _orders_in(self, text: str) -> list[object]:
        kind, data = read_message(text)
        if kind == "error":
            log.warning("the ticker tells of an error", broker=BROKER)
        return [data] if kind == "order" else []


async def open_ticker(
    http: aiohttp.ClientSession, url: str, api_key: str, token: str, options: dict[str, Any]
) -> aiohttp.ClientWebSocketResponse:
    """Open the broker's websocket, for orders or for prices."""
    socket: aiohttp.ClientWebSocketResponse = await http.ws_connect(
        url,
        params={"api_key": api_key, "access_token": token},
        headers={"X-Kite-Version": "3"},
        **options,
    )
    return socket
