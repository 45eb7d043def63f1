"""Signals of one strategy on their way to its venue: in their order, and waiting for nobody else's.

None is dropped while the line is open: as on the bus, what is not handed over yet stays in memory. That is not
much, since what has waited for too long is only looked up, and not sent any more.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from pulse_domain.ports.event_bus import Signal

log = structlog.get_logger(__name__)


class SignalLine:
    """send: hands one over, and returns once it is answered.
    on_failed: told why, should that raise; the next are handed over all the same.
    """

    def __init__(
        self, name: str, send: Callable[[Signal], Awaitable[None]], on_failed: Callable[[str], None]
    ) -> None:
        self._name = name
        self._send = send
        self._on_failed = on_failed
        self._waiting: deque[Signal] = deque()
        self._grown = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._run(), name=f"signals of {name}")

    def put(self, signal: Signal) -> None:
        """Take one; never waits."""
        if self._closed:
            log.warning("a signal of a strategy that ends", strategy=self._name, key=signal.order_unique_key)
            return
        self._waiting.append(signal)
        self._grown.set()

    def drop(self) -> None:
        """Hand over none of those that wait."""
        self._waiting.clear()

    async def close(self, within_s: float) -> None:
        """Take no more, and give those that are there so long to be answered. What is not is in no memory, so
        that the next life asks for it again, or does not know of it."""
        self._closed = True
        self._grown.set()
        await asyncio.wait({self._task}, timeout=within_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting or not self._closed:
            if not self._waiting:
                self._grown.clear()
                await self._grown.wait()
                continue
            signal = self._waiting.popleft()
            try:
                await self._send(signal)
            except Exception as error:
                key = signal.order_unique_key
                log.error("a signal cannot be handed over", strategy=self._name, key=key, exc_info=error)
                self._on_failed(f"its order {key} cannot be handed over: {type(error).__name__}: {error}")
