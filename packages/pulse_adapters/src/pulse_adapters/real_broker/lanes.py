"""Blocking calls, off the event loop: a few threads for each kind of call, and calls that end in time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any, TypeVar

from pulse_adapters.real_broker.calls import CLOSED, DEADLINE_PASSED, NotSent, Unanswered
from pulse_adapters.real_broker.connections import Call, on_this_thread
from pulse_domain.ports.clock import Clock

T = TypeVar("T")

# A request that is cut off gets this long to be over, within the timeout: then it is known to be.
_CUT_EARLIER_S = 0.25
# With less than this left, an answer would not come in time any more.
_ANSWER_TIME_S = 1.0


class Lane(StrEnum):
    """Calls of one kind do not wait behind those of another."""

    PLACE = "place"
    CHANGE = "change"
    READ = "read"


class Lanes:
    """pool_size: how many orders may be on their way at once; changes and reads have two threads each."""

    def __init__(self, clock: Clock, *, name: str, pool_size: int) -> None:
        self._clock = clock
        self._pools = {
            lane: ThreadPoolExecutor(size, thread_name_prefix=f"{name}-{lane}")
            for lane, size in ((Lane.PLACE, pool_size), (Lane.CHANGE, 2), (Lane.READ, 2))
        }
        self._calls: set[Call] = set()
        self._closed = False

    async def run(
        self, lane: Lane, request: Callable[[Call], T], *, timeout_s: float
    ) -> T | NotSent | Unanswered:
        """Do `request` in a thread of the lane and give what it gives, which is said of a call that is over; or
        tell that there was no time for it. Within `timeout_s`, whatever happens."""
        if self._closed:
            return NotSent(CLOSED)
        began = self._clock.monotonic()
        cut_at = began + timeout_s - min(_CUT_EARLIER_S, timeout_s / 4)
        call = Call(self._clock, send_by=cut_at - min(_ANSWER_TIME_S, timeout_s / 4), cut_at=cut_at)
        future = self._pools[lane].submit(_do, call, request)
        self._calls.add(call)
        future.add_done_callback(lambda done: self._calls.discard(call))
        ended = asyncio.wrap_future(future)
        try:
            await asyncio.wait({ended}, timeout=cut_at - self._clock.monotonic())
            if not ended.done():
                if call.give_up():
                    future.cancel()
                    return NotSent(DEADLINE_PASSED)
                await asyncio.wait({ended}, timeout=began + timeout_s - self._clock.monotonic())
        finally:
            if not ended.done():
                # Nobody waits any more; what is not sent yet is not to be.
                call.give_up()
                ended.add_done_callback(_forget)
        if not ended.done():
            return Unanswered(reason_code="TIMEOUT", ended=False)
        if ended.cancelled():
            return NotSent(CLOSED)  # it was waiting for a thread when the lanes were closed
        return ended.result()

    async def close(self) -> None:
        """Cut off what is on its way, and wait for the threads."""
        self._closed = True
        for call in tuple(self._calls):
            call.give_up()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            await asyncio.to_thread(pool.shutdown, wait=True)


def _do(call: Call, request: Callable[[Call], T]) -> T | NotSent:
    if call.given_up or call.left_s() <= 0:
        return NotSent(DEADLINE_PASSED)
    on_this_thread(call)
    try:
        return request(call)
    finally:
        # Before anybody hears of it: that it is over depends on the connection being closed.
        call.end()
        on_this_thread(None)


def _forget(ended: "asyncio.Future[Any]") -> None:
    # Its end was told already; asyncio complains about exceptions that nobody looks at.
    if not ended.cancelled():
        ended.exception()
