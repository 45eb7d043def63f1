"""A client of the gateway: doc/contract/gapi.md; and what every client of a service of ours is made of."""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import msgspec
from httpx_sse import EventSource, ServerSentEvent
from msgspec import Struct

from pulse.errors import GatewayError
from pulse.views import Json

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
# The service breaks its silence every 15 s.
_STREAM_TIMEOUT = httpx.Timeout(10.0, connect=5.0, read=45.0)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Placed(Struct, frozen=True, kw_only=True):
    """replayed: the order had been accepted before, under the same key."""

    answer: Json
    replayed: bool


class Event(Struct, frozen=True, kw_only=True):
    """One event of an order's stream.

    seq: of the journal row; None where the event is the order as it stands.
    """

    seq: int | None
    data: Json

    @property
    def is_last(self) -> bool:
        return self.seq is None and self.data.get("done") is True


class Service:
    """Speaks to one service. Every request of ours may be sent twice with the effect of once, so those that are
    not answered, or with 503, are sent again.

    token: asked for on every request.
    tries: how often a request is sent, `pause_s` apart.
    give_up_s: how long a stream that has worked may stay away before that is an error.
    option: of the command line, that gives another address.
    """

    option = "--url"

    def __init__(
        self,
        base_url: str,
        token: Callable[[], str],
        *,
        tries: int = 3,
        pause_s: float = 0.5,
        pause_max_s: float = 10.0,
        give_up_s: float = 300.0,
    ) -> None:
        parts = urlsplit(base_url)
        self._base_url = base_url
        self._token = token
        self._tries = tries
        self._pause_s = pause_s
        self._pause_max_s = pause_max_s
        self._give_up_s = give_up_s
        self._http = httpx.Client(
            timeout=_TIMEOUT,
            headers={"User-Agent": "pulse"},
            # A proxy from the environment does not lead back to this machine.
            trust_env=parts.hostname not in _LOOPBACK,
            # Plain HTTP needs no certificates, which take 40 ms to load. This context trusts none.
            verify=True if parts.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if "content" in request else {}
        for tries_left in reversed(range(self._tries)):
            try:
                response = self._http.request(
                    method, self._base_url + path, headers=self._headers(headers), **request
                )
            except httpx.HTTPError as error:
                if not tries_left:
                    raise self._no_answer(error) from None
            else:
                if response.status_code != 503 or not tries_left:
                    break
            time.sleep(self._pause_s)
        if not response.is_success:
            raise _refusal(response)
        return response

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        return headers | {"Authorization": f"Bearer {self._token()}"}

    def _json(self, response: httpx.Response) -> Json:
        try:
            return msgspec.json.decode(response.content, type=Json)
        except msgspec.DecodeError:
            raise _unexpected(response) from None

    def _no_answer(self, error: httpx.HTTPError) -> GatewayError:
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or "no answer in time"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return GatewayError(
                "UNREACHABLE",
                f"{self._base_url} does not answer ({reason}); start it with `pulse up`, or give {self.option}",
            )
        return GatewayError("CONNECTION_LOST", f"{self._base_url} did not answer to the end ({reason})")


class Gateway(Service):
    """Places, shows, follows and cancels orders."""

    def place(self, request: Json) -> Placed:
        """Have an order accepted, once, however often that takes.

        Raises:
            GatewayError: it was refused; or, where the error is temporary, it may or may not be accepted, and
                the same request may be sent again.
        """
        response = self._send("POST", "/api/orders", content=msgspec.json.encode(request))
        return Placed(
            answer=self._json(response),
            replayed=response.headers.get("Idempotent-Replayed") == "true",
        )

    def order(self, order_id: str) -> Json:
        return self._json(self._send("GET", _path(order_id)))

    def slices(self, order_id: str) -> Json:
        return self._json(self._send("GET", f"{_path(order_id)}/slices"))

    def orders(self, *, limit: int, cursor: str | None = None) -> Json:
        query: dict[str, Any] = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return self._json(self._send("GET", "/api/orders", params=query))

    def positions(self, query: Json) -> Json:
        return self._json(self._send("GET", "/api/positions", params=query))

    def ledger(self, query: Json) -> Json:
        return self._json(self._send("GET", "/api/ledger", params=query))

    def cancel(self, order_id: str) -> Json:
        return self._json(self._send("POST", f"{_path(order_id)}/cancel"))

    def events(self, order_id: str, *, on_cut: Callable[[GatewayError], None] | None = None) -> Iterator[Event]:
        """Follow an order from its first journal row to its end, each row once, through cut connections.

        on_cut: told when a stream that has worked is cut. It is taken up again behind the last row.

        Raises:
            GatewayError: the request is refused, the first connection fails, or a later one for too long.
        """
        last, failures, pause_s = 0, 0, self._pause_s
        lost_at: float | None = None
        connected = False
        while True:
            try:
                with self._stream(f"{_path(order_id)}/events", last) as events:
                    if events is None:
                        return
                    for event in events:
                        connected, lost_at, pause_s = True, None, self._pause_s
                        if event.seq is not None:
                            if event.seq <= last:
                                continue
                            last = event.seq
                        yield event
                        if event.is_last:
                            return
                cut = GatewayError(
                    "STREAM_ENDED", f"{self._base_url} ended the stream before the order was done"
                )
            except httpx.HTTPError as error:
                cut = self._no_answer(error)
            except GatewayError as error:
                if not error.is_temporary:
                    raise
                cut = error
            now = time.monotonic()
            if lost_at is None:
                lost_at = now
                if connected and on_cut is not None:
                    on_cut(cut)
            failures += 1
            if now - lost_at >= self._give_up_s if connected else failures >= self._tries:
                raise cut
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, self._pause_max_s)

    @contextmanager
    def _stream(self, path: str, last: int) -> Iterator[Iterator[Event] | None]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last)} if last else {})
        with self._http.stream(
            "GET", self._base_url + path, headers=self._headers(headers), timeout=_STREAM_TIMEOUT
        ) as response:
            if response.status_code == 204:
                yield None
                return
            if response.status_code != 200:
                response.read()
                raise _refusal(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise _unexpected(response)
            # What has no data is an artefact of comments.
            yield (_event(sse, response) for sse in EventSource(response).iter_sse() if sse.data)


def _path(order_id: str) -> str:
    return f"/api/orders/{quote(order_id, safe='')}"


def _event(sse: ServerSentEvent, response: httpx.Response) -> Event:
    try:
        data = msgspec.json.decode(sse.data, type=Json)
        return Event(seq=None if sse.event == "order" else int(data["seq"]), data=data)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise _unexpected(response) from None


class _Error(Struct):
    code: str
    message: str
    details: dict[str, Any] = {}


class _ErrorBody(Struct):
    error: _Error


def _refusal(response: httpx.Response) -> GatewayError:
    try:
        error = msgspec.json.decode(response.content, type=_ErrorBody).error
    except msgspec.DecodeError:
        return _unexpected(response)
    details = error.details
    if response.status_code >= 500 and (request_id := response.headers.get("X-Request-Id")):
        details = details | {"request_id": request_id}  # what to look for in the log
    return GatewayError(error.code, error.message, response.status_code, details)


def _unexpected(response: httpx.Response) -> GatewayError:
    return GatewayError(
        "UNEXPECTED_ANSWER",
        f"{response.request.url} answered {response.status_code}, but not as the gateway does: is it one?",
        response.status_code,
    )
