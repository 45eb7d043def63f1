"""The hop to Pulse.

Pulse closes a connection that was idle for 75 s; the pool here drops it after 15 s, so that it is this side
which closes first, and a request does not meet a connection that is about to end. Where that happens all the
same (Pulse was restarted, a box in between forgot the connection), the request is sent once more, on a
connection of its own. That is safe for every request there is: an order has its key or digest, and
cancelling, halting and resuming twice is doing it once. An order that did get through at first is then
answered as a replay.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol

import aiohttp
import structlog
from yarl import URL

from gapi.hop import Answer, ConnectionBroken, ConnectionPool
from service_kit import REQUEST_ID_HEADER, TRACE_ID_HEADER, ServiceError, trace

KEEP_ALIVE_S = 15
# Pulse sends a comment on a quiet stream far more often: silence for this long means that it is gone.
STREAM_SILENCE_S = 60

Headers = Sequence[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)


class Stream(NamedTuple):
    """An answer whose body is still to come; `chunks` just ends where the connection breaks."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]


class PulseClient(Protocol):
    """What this app needs of a client. The service token and the current ids go with every request.

    Where Pulse does not answer in time, ServiceError UPSTREAM_UNAVAILABLE is raised.
    """

    async def open(self) -> None:
        """Get ready, in the running loop."""

    async def close(self) -> None:
        """Close every connection."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_s: float | None = None,
    ) -> Answer:
        """Wait for the whole answer, at most for the client's own time limit, or `timeout_s` where it is less.

        path: percent-encoded, perhaps with a query.
        """

    def stream(self, path: str, *, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Stream]:
        """Get an answer in chunks, no faster than they are taken; leaving the block closes the connection."""


class HttpPulseClient:
    """url: `http://host:port`, or `unix:/path/to.sock`. connections: the most that are open for requests."""

    def __init__(self, url: str, token: str, *, timeout_s: float, connections: int) -> None:
        self._socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        self._base = "http://pulse" if self._socket else url
        self._timeout_s = timeout_s
        self._authorization = {"Authorization": f"Bearer {token}"}
        self._pool = ConnectionPool(
            url, size=connections, keep_alive_s=KEEP_ALIVE_S, headers=self._authorization
        )
        # Streams last for hours and must not use up the pool; a general client suits them.
        self._streams: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        connector: aiohttp.BaseConnector
        if self._socket:
            connector = aiohttp.UnixConnector(self._socket, limit=0, force_close=True)
        else:
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._streams = aiohttp.ClientSession(
            connector=connector,
            headers=self._authorization,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_STREAM_TIMEOUT,
        )

    async def close(self) -> None:
        self._pool.close()
        if self._streams is not None:
            await self._streams.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_s: float | None = None,
    ) -> Answer:
        try:
            # One limit for everything: waiting for a connection, both attempts, reading the answer.
            async with asyncio.timeout(min(timeout_s or self._timeout_s, self._timeout_s)):
                return await self._pool.request(method, path, headers=_with_ids(headers), body=body)
        except (ConnectionBroken, OSError) as error:
            raise _unavailable(error) from error

    @asynccontextmanager
    async def stream(self, path: str, *, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        assert self._streams is not None, "the client is not open"
        url = URL(self._base + path, encoded=True)
        opening = self._streams.get(url, headers=_with_ids(headers), allow_redirects=False)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await opening
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _unavailable(error) from error
        try:
            yield Stream(response.status, _lower(response.raw_headers), _chunks(response))
        finally:
            response.close()


_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_read=STREAM_SILENCE_S)


def _with_ids(headers: Mapping[str, str]) -> dict[str, str]:
    ids = trace.current()
    if ids is None:
        return dict(headers)
    return {**headers, REQUEST_ID_HEADER: ids.request_id, TRACE_ID_HEADER: ids.trace_id}


def _lower(headers: Headers) -> Headers:
    return [(name.lower(), value) for name, value in headers]


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (TimeoutError, aiohttp.ClientError) as error:
        log.info("stream from the order service broke", reason=repr(error))


def _unavailable(error: Exception) -> ServiceError:
    log.warning("the order service does not answer", reason=repr(error))
    return ServiceError(
        "UPSTREAM_UNAVAILABLE", "the order service does not answer; send the same request again"
    )
