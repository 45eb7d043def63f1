"""Server-sent events, byte for byte from Pulse to the client."""

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar import Response
from litestar.types import Receive, Scope, Send

from gapi.gateway import Gateway
from gapi.hop import Answer
from gapi.passing import passed
from gapi.pulse_client import Stream

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # else nginx keeps events back
]


class EventStream(Response[Any]):
    """Opens the stream at Pulse and passes it on until one of the two ends it, or this process does.

    Nothing is kept: the next chunk is taken from Pulse when the client has taken the last one.
    """

    def __init__(self, gateway: Gateway, path: str, headers: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._path = path
        self._upstream_headers = headers

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> Any:
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._gateway.pulse.stream(self._path, headers=self._upstream_headers) as stream:
            if stream.status != 200:
                body = b"".join([chunk async for chunk in stream.chunks])
                await passed(Answer(stream.status, stream.headers, body))(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._pass_on(stream, receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass_on(self, stream: Stream, receive: Receive, send: Send) -> None:
        tasks = [
            asyncio.create_task(_copy(stream, send)),
            asyncio.create_task(_until_gone(receive)),
            asyncio.create_task(self._gateway.ending.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()


async def _copy(stream: Stream, send: Send) -> None:
    # At once, so that a HEAD is answered without waiting for an event.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    async for chunk in stream.chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
