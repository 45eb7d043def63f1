"""Blocking calls, off the event loop: a few threads, each with its own client, and calls that end in time."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from typing import Any

import httpx
import msgspec

from pulse_adapters.kotak.client import MakeClient, NeoClient, NeoSession
from pulse_adapters.kotak.connections import DEADLINE_PASSED, Call, CallTransport, on_this_thread
from pulse_adapters.kotak.outcomes import Answer, Ending, NotSent, Refused, Unanswered
from pulse_domain.ports.clock import Clock

CLOSED = "CLOSED"
# A request that is cut off gets this long to be over, within the timeout: then it is known to be.
_CUT_EARLIER_S = 0.25
# With less than this left, an answer would not come in time any more.
_ANSWER_TIME_S = 1.0


class Lane(StrEnum):
    """Calls of one kind do not wait behind those of another."""

    PLACE = "place"
    CHANGE = "change"
    READ = "read"


class Line:
    """pool_size: how many orders may be on their way at once; changes and reads have two threads each."""

    def __init__(
        self, make: MakeClient, *, access_token: str, login_url: str, clock: Clock, pool_size: int = 10
    ) -> None:
        self._make = make
        self._access_token = access_token
        self._login_url = login_url
        self._clock = clock
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._lanes = {
            lane: ThreadPoolExecutor(size, thread_name_prefix=f"neo-{lane}")
            for lane, size in ((Lane.PLACE, pool_size), (Lane.CHANGE, 2), (Lane.READ, 2))
        }
        self._local = threading.local()
        self._transports: list[CallTransport] = []
        self._calls: set[Call] = set()
        self._closed = False

    async def run(
        self,
        lane: Lane,
        work: Callable[[NeoClient], object],
        *,
        session: NeoSession | None,
        timeout_s: float,
    ) -> Ending:
        """Do `work`, one request by a client, and tell how it ended: within `timeout_s`, whatever happens."""
        if self._closed:
            return NotSent(CLOSED)
        began = self._clock.monotonic()
        cut_at = began + timeout_s - min(_CUT_EARLIER_S, timeout_s / 4)
        call = Call(self._clock, send_by=cut_at - min(_ANSWER_TIME_S, timeout_s / 4), cut_at=cut_at)
        future = self._lanes[lane].submit(self._send, call, work, session)
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
        if not ended.done():
            return Unanswered(reason_code="TIMEOUT", ended=False)
        if ended.cancelled():
            return NotSent(CLOSED)  # it was waiting for a thread when the line was closed
        return ended.result()

    async def close(self) -> None:
        """Cut off what is on its way and end all connections."""
        self._closed = True
        for call in tuple(self._calls):
            call.give_up()
        for pool in self._lanes.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._lanes.values():
            await asyncio.to_thread(pool.shutdown, wait=True)
        for transport in self._transports:
            transport.close()

    # --- in a thread of a lane

    def _send(self, call: Call, work: Callable[[NeoClient], object], session: NeoSession | None) -> Ending:
        if call.given_up or call.left_s() <= 0:
            return NotSent(DEADLINE_PASSED)
        on_this_thread(call)
        said: object
        try:
            client = self._client()
            if session is not None:
                client.use(session)
            said = work(client)
        except Exception as error:  # what happened is known by the call; the SDK's errors are of any kind
            said = error
        finally:
            # Before the verdict: it depends on the connection being closed.
            call.end()
            on_this_thread(None)
        return _ending(call, said)

    def _client(self) -> NeoClient:
        client: NeoClient | None = getattr(self._local, "client", None)
        if client is None:
            transport = CallTransport(self._tls, self._login_url)
            self._transports.append(transport)
            client = self._local.client = self._make(self._access_token, transport)
        return client


def _ending(call: Call, said: object) -> Ending:
    if call.answer is not None:
        return Answer(status=call.answer.status_code, body=_object(call.answer.content))
    if call.sent:
        return Unanswered(reason_code=call.failure or "CONNECTION_LOST", ended=True)
    if call.failure is not None:
        return NotSent(call.failure)
    return Refused(_words(said))


def _object(content: bytes) -> Mapping[str, Any] | None:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        body = msgspec.json.decode(content)
        if isinstance(body, dict):
            return body
    return None


def _words(said: object) -> str:
    """The SDK returns its errors, under one of several keys, as exceptions or texts or lists."""
    if isinstance(said, Mapping):
        said = next(iter(said.values()), "")
    return str(said)[:200]
