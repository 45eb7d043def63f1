"""The simulated Kotak, with endings of calls that are a test's own: answers that no broker has given, cut
short, or for ever on their way. It keeps what it was sent, so that a test can say that nothing was.
"""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web
from msgspec import Struct

from pulse_adapters.clock import SystemClock
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kotak.app import KotakFace
from pulse_adapters.simulator.kotak.feed import OrderFeed
from pulse_adapters.simulator.kotak.names import first_number
from pulse_adapters.simulator.kotak.settings import Greeting, NeoSettings
from pulse_adapters.simulator.opening import Feed, OpenDesk, open_desk
from pulse_adapters.simulator.serving import serving
from tests.unit.kotak.make import SID, TOKEN
from tests.unit.kotak.simulated_kotak import ACCOUNT, simulator_options
from tests.unit.virtual.fixed_market import FixedMarket

NO_DATA = {"stCode": 5203, "errMsg": "No Data", "desc": "data not found", "stat": "Not_Ok"}


class Reply(Struct, frozen=True, kw_only=True):
    """An answer in place of the right one."""

    body: Any = None
    status: int = 200
    text: str | None = None


class Hang(Struct, frozen=True):
    """Read the request and say nothing."""


class Drop(Struct, frozen=True):
    """Read the request and close."""


class Trickle(Struct, frozen=True):
    """Begin an answer and send a byte of it now and then, for ever."""


class CutShort(Struct, frozen=True):
    """Send half of an answer and close."""


class Lose(Struct, frozen=True):
    """Do what was asked for, and close without a word."""


Behaviour = Reply | Hang | Drop | Trickle | CutShort | Lose


class Request(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]


class _HeardFeed(OrderFeed):
    """Keeps the first frames that it was sent."""

    def __init__(self, face: KotakFace, heard: list[str]) -> None:
        super().__init__(face.sessions, Greeting.RAW, face._snapshot)
        self._heard = heard

    def is_greeting(self, text: str) -> bool:
        self._heard.append(text)
        return super().is_greeting(text)


class KotakServer(KotakFace):
    """A session with the token and sid of the tests is open from the start."""

    def __init__(self, desk: Desk, rng: Random) -> None:
        super().__init__(desk, NeoSettings(account=ACCOUNT, has_limits=False), rng)
        self.sessions.adopt(TOKEN, SID, "127.0.0.1")
        self.base_url = ""
        self.requests: list[Request] = []
        self.greetings: list[str] = []
        self.feed = _HeardFeed(self, self.greetings)
        self._script: deque[Behaviour] = deque()
        self._stopped = asyncio.Event()

    def then(self, *behaviours: Behaviour) -> None:
        """What the next requests meet, one each."""
        self._script.extend(behaviours)

    def greet_by(self, greeting: str) -> None:
        """Which one of the order feed's is acknowledged: raw, json, or none."""
        self.feed.greeting = Greeting(greeting)

    def app(self) -> web.Application:
        app = super().app()
        app.middlewares.insert(0, self._misbehave)
        return app

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/realtime":
            answered: web.StreamResponse = await handler(request)
            return answered
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(
            Request(method=request.method, path=request.path, headers=headers, fields=await _fields(request))
        )
        behaviour = self._script.popleft() if self._script else None
        match behaviour:
            case None:
                return await handler(request)
            case Reply(body=body, status=status, text=None):
                return web.json_response(body, status=status)
            case Reply(text=text, status=status):
                return web.Response(text=text, status=status, content_type="text/html")
            case Hang():
                await self._stopped.wait()
            case Lose():
                await handler(request)
            case Trickle() | CutShort():
                answer = web.StreamResponse(headers={"Content-Length": "1000"})
                await answer.prepare(request)
                await answer.write(b"{")
                while isinstance(behaviour, Trickle) and not self._stopped.is_set():
                    await asyncio.sleep(0.05)
                    await answer.write(b" ")
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def close(self) -> None:
        self._stopped.set()
        await super().close()


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.method == "GET":
        return {}
    if request.content_type == "application/json":
        return dict(await request.json())
    # Not `request.post()`, after which nobody else could read the body.
    form = dict(part.split("=", 1) for part in (await request.text()).split("&"))
    return dict(json.loads(unquote_plus(form["jData"])))


@asynccontextmanager
async def kotak_server(market: FixedMarket | None = None) -> AsyncIterator[KotakServer]:
    """market: it has prices of what a test has set one for."""
    clock = SystemClock()
    feed = Feed(market or FixedMarket(clock), lambda instrument: Decimal("0.05"), None)

    def face(opened: OpenDesk) -> KotakServer:
        return KotakServer(opened.desk, opened.rng)

    async with AsyncExitStack() as stack:
        options = simulator_options(Path(stack.enter_context(TemporaryDirectory())))
        opened = await stack.enter_async_context(open_desk(options, feed, clock, first_number))
        listener = socket.create_server(("127.0.0.1", 0))
        simulator = await stack.enter_async_context(serving(opened, face, listener))
        simulator.face.base_url = simulator.url
        yield simulator.face
