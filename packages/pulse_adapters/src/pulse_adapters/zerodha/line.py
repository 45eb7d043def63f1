"""The SDK, off the event loop: a few threads, each with a client of its own, and calls that end in time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
import requests
from kiteconnect import KiteConnect

from pulse_adapters.zerodha.connections import Call, RawAnswer, TooLate, make_session, on_this_thread
from pulse_adapters.zerodha.outcomes import Answer, Ending, NotSent, Unanswered
from pulse_domain.ports.clock import Clock

T = TypeVar("T")

DEADLINE_PASSED = "DEADLINE_PASSED"
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


class CallFailed(Exception):
    """The call did not plainly succeed; `ending` says what is known of it."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(type(ending).__name__)
        self.ending = ending


class _Client(KiteConnect):  # type: ignore[misc]  # the SDK publishes no types
    def _format_response(self, data: Any) -> Any:
        # The SDK would make naive datetimes here, by a parser that takes seconds for a long order book.
        return data


class Line:
    """pool_size: how many orders may be on their way at once; changes and reads have two threads each."""

    def __init__(self, *, api_key: str, base_url: str, clock: Clock, pool_size: int = 10) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._clock = clock
        self._lanes = {
            lane: ThreadPoolExecutor(size, thread_name_prefix=f"kite-{lane}")
            for lane, size in ((Lane.PLACE, pool_size), (Lane.CHANGE, 2), (Lane.READ, 2))
        }
        self._local = threading.local()
        self._clients: list[KiteConnect] = []
        self._calls: set[Call] = set()
        self._closed = False

    async def run(
        self, lane: Lane, work: Callable[[KiteConnect], T], *, token: str | None, timeout_s: float
    ) -> T:
        """Do `work`, one request by a client, within `timeout_s` whatever happens.

        Raises:
            CallFailed: it did not plainly succeed.
        """
        if self._closed:
            raise CallFailed(NotSent(CLOSED))
        began = self._clock.monotonic()
        cut_at = began + timeout_s - min(_CUT_EARLIER_S, timeout_s / 4)
        call = Call(self._clock, cut_at - min(_ANSWER_TIME_S, timeout_s / 4))
        future = self._lanes[lane].submit(self._send, call, work, token, cut_at)
        self._calls.add(call)
        future.add_done_callback(lambda done: self._calls.discard(call))
        answered = asyncio.wrap_future(future)
        try:
            await asyncio.wait({answered}, timeout=cut_at - self._clock.monotonic())
            if not answered.done():
                if call.give_up():
                    future.cancel()
                    raise CallFailed(NotSent(DEADLINE_PASSED))
                await asyncio.wait({answered}, timeout=began + timeout_s - self._clock.monotonic())
        finally:
            if not answered.done():
                # Nobody waits any more; what is not sent yet is not to be.
                call.give_up()
                answered.add_done_callback(_forget)
        if not answered.done():
            raise CallFailed(Unanswered(reason_code="TIMEOUT", ended=False))
        if answered.cancelled():
            raise CallFailed(NotSent(CLOSED))  # it was waiting for a thread when the line was closed
        return answered.result()

    async def close(self) -> None:
        """Cut off what is on its way and end all connections."""
        self._closed = True
        for call in tuple(self._calls):
            call.give_up()
        for pool in self._lanes.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._lanes.values():
            await asyncio.to_thread(pool.shutdown, wait=True)
        for client in self._clients:
            client.reqsession.close()

    # --- in a thread of a lane

    def _send(self, call: Call, work: Callable[[KiteConnect], T], token: str | None, cut_at: float) -> T:
        left_s = cut_at - call.now()
        if left_s <= 0:
            raise CallFailed(NotSent(DEADLINE_PASSED))
        on_this_thread(call)
        try:
            client = self._client()
            client.set_access_token(token)
            client.timeout = (left_s, left_s)
            value = work(client)
        except Exception as error:
            # Before the verdict: it depends on the connection being closed.
            call.end()
            failed = CallFailed(_ending(call, error))
            if call.answer is not None:
                # The SDK's text repeats the answer, whatever is in it.
                raise failed from None
            raise failed from error
        finally:
            call.end()
            on_this_thread(None)
        if call.answer is not None and call.answer.status >= 400:
            # The SDK looks at the body only.
            raise CallFailed(Answer(status=call.answer.status, enveloped=False))
        return value

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            client = _Client(api_key=self._api_key, root=self._base_url)
            client.reqsession = make_session()
            self._local.client = client
            self._clients.append(client)
        return client


def _ending(call: Call, error: Exception) -> Ending:
    if not call.sent:
        return NotSent(_not_sent_code(error))
    if call.answer is None:
        return Unanswered(reason_code=_lost_code(error), ended=True)
    return _answer(call.answer)


def _not_sent_code(error: Exception) -> str:
    match error:
        case TooLate():
            return DEADLINE_PASSED
        case requests.exceptions.ConnectTimeout():
            return "CONNECT_TIMEOUT"
        case requests.exceptions.SSLError():
            return "TLS_FAILED"
        case requests.exceptions.ConnectionError():
            return "UNREACHABLE"
    return "NOT_SENT"


def _lost_code(error: Exception) -> str:
    return "TIMEOUT" if isinstance(error, requests.exceptions.Timeout) else "CONNECTION_LOST"


class _Envelope(msgspec.Struct):
    status: str = ""
    error_type: str | None = None
    message: str | None = None


def _answer(raw: RawAnswer) -> Answer:
    envelope = None
    if "json" in raw.content_type:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            envelope = msgspec.json.decode(raw.body, type=_Envelope)
    if envelope is None or not (envelope.status == "error" or envelope.error_type):
        return Answer(status=raw.status, enveloped=False)
    return Answer(
        status=raw.status, enveloped=True, error_type=envelope.error_type, message=envelope.message or ""
    )


def _forget(answered: "asyncio.Future[Any]") -> None:
    # Its end was told already; asyncio complains about exceptions that nobody looks at.
    if not answered.cancelled():
        answered.exception()
