"""Order updates posted to the app's address, each once: whether it arrives is not the broker's concern."""

import asyncio

import aiohttp
import msgspec
import structlog

from pulse_adapters.simulator.kite.rows import UPDATE
from pulse_adapters.simulator.kite.wire import Postback

_POSTED = frozenset({"COMPLETE", "CANCELLED", "REJECTED", UPDATE})
_TIMEOUT_S = 5.0
_WAITING_MAX = 10_000

log = structlog.get_logger(__name__)


class Postbacks:
    """Posts in the order of the updates, until `run` is cancelled."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: asyncio.Queue[Postback] = asyncio.Queue(_WAITING_MAX)

    def push(self, message: Postback) -> None:
        if message.status in _POSTED and not self._waiting.full():
            self._waiting.put_nowait(message)

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            while True:
                message = await self._waiting.get()
                headers = {"Content-Type": "application/json"}
                try:
                    body = msgspec.json.encode(message)
                    async with client.post(self._url, data=body, headers=headers) as answer:
                        await answer.read()
                except (aiohttp.ClientError, TimeoutError) as error:
                    log.warning(
                        "a postback was not taken", order_id=message.order_id, error=type(error).__name__
                    )
