"""The SDK, in the threads of the lanes: each has a client of its own."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import requests
from kiteconnect import KiteConnect

from pulse_adapters.real_broker.calls import DEADLINE_PASSED, NotSent, Unanswered
from pulse_adapters.real_broker.connections import Call, RawAnswer, TooLate
from pulse_adapters.real_broker.lanes import Lane, Lanes
from pulse_adapters.zerodha.connections import make_session
from pulse_adapters.zerodha.outcomes import Answer, Ending
from pulse_domain.ports.clock import Clock

T = TypeVar("T")


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
    """pool_size: how many orders may be on their way at once."""

    def __init__(self, *, api_key: str, base_url: str, clock: Clock, pool_size: int = 10) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._lanes = Lanes(clock, name="kite", pool_size=pool_size)
        self._local = threading.local()
        self._clients: list[KiteConnect] = []

    async def run(
        self, lane: Lane, work: Callable[[KiteConnect], T], *, token: str | None, timeout_s: float
    ) -> T:
        """Do `work`, one request by a client, within `timeout_s` whatever happens.

        Raises:
            CallFailed: it did not plainly succeed.
        """
        ended = await self._lanes.run(lane, lambda call: self._send(call, work, token), timeout_s=timeout_s)
        if isinstance(ended, NotSent | Unanswered):
            raise CallFailed(ended)
        return ended

    async def close(self) -> None:
        """Cut off what is on its way and end all connections."""
        await self._lanes.close()
        for client in self._clients:
            client.reqsession.close()

    # --- in a thread of a lane

    def _send(self, call: Call, work: Callable[[KiteConnect], T], token: str | None) -> T:
        try:
            client = self._client()
            client.set_access_token(token)
            left_s = max(0.001, call.left_s())
            client.timeout = (left_s, left_s)
            value = work(client)
        except Exception as error:
            failed = CallFailed(_ending(call, error))
            if call.answer is not None:
                # The SDK's text repeats the answer, whatever is in it.
                raise failed from None
            raise failed from error
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
