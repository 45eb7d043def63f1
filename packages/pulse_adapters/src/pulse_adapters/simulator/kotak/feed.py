"""The websocket for messages about orders and positions.

A greeting names the session; once it is acknowledged, what there is is told again, and then every step of an
order. A socket whose greeting is not acknowledged stays open and silent.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar

import msgspec
from aiohttp import WSCloseCode, web
from msgspec import Struct

from pulse_adapters.simulator.kotak.errors import NeoError
from pulse_adapters.simulator.kotak.rows import Row
from pulse_adapters.simulator.kotak.sessions import Sessions
from pulse_adapters.simulator.kotak.settings import Greeting
from pulse_adapters.simulator.sockets import Connection, Sockets, open_connection

# Not JSON, for all that it looks like it.
_RAW = re.compile(r"\{type:cn,Authorization:([^,{}]*),Sid:([^,{}]*),src:[^,{}]*\}")
_ACKNOWLEDGED = msgspec.json.encode({"ak": "ok", "type": "cn", "msg": "connected"}).decode()


class _Greeted(Struct):
    token: str = msgspec.field(name="Authorization", default="")
    sid: str = msgspec.field(name="Sid", default="")
    type: str = ""


class OrderFeed:
    """All open sockets.

    snapshot: the messages that a new client begins with.
    """

    _decoder: ClassVar = msgspec.json.Decoder(_Greeted)

    def __init__(
        self, sessions: Sessions, greeting: Greeting, snapshot: Callable[[], Awaitable[Iterable[str]]]
    ) -> None:
        self.greeting = greeting
        self._sessions = sessions
        self._snapshot = snapshot
        self._sockets = Sockets()
        self._silent = Sockets()

    @property
    def is_watched(self) -> bool:
        return bool(self._sockets)

    @property
    def watchers(self) -> int:
        """Sockets that have been acknowledged."""
        return len(self._sockets)

    def say(self, body: str) -> None:
        """Send a text frame to everybody whose greeting was acknowledged."""
        self._sockets.say(body)

    async def close(self, code: int | None = WSCloseCode.GOING_AWAY) -> None:
        """Close every socket with a code, or cut it."""
        await self._sockets.close(code)
        await self._silent.close(code)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Upgrade, and stream until one side closes."""
        connection = await open_connection(request)
        self._silent.add(connection)

        async def take(text: str) -> None:
            if self.is_greeting(text):
                await self._begin(connection)

        try:
            await connection.run(take)
        finally:
            self._silent.discard(connection)
            self._sockets.discard(connection)
        return connection.socket

    async def _begin(self, connection: Connection) -> None:
        connection.push(_ACKNOWLEDGED)
        # From now on it hears what happens, and then what there was: a client sorts it out by the state.
        self._silent.discard(connection)
        self._sockets.add(connection)
        for message in await self._snapshot():
            connection.push(message)

    def is_greeting(self, text: str) -> bool:
        """Whether it is one of the spelling that is wanted, of a session that runs."""
        raw = _RAW.fullmatch(text)
        if raw is not None:
            token, sid, spelling = raw[1], raw[2], Greeting.RAW
        else:
            try:
                given = self._decoder.decode(text)
            except (msgspec.DecodeError, RecursionError):
                return False
            if given.type != "cn":
                return False
            token, sid, spelling = given.token, given.sid, Greeting.JSON
        if self.greeting not in (Greeting.ANY, spelling):
            return False
        try:
            self._sessions.check(token, sid)
        except NeoError:
            return False
        return True


def message(kind: str, row: Row) -> str:
    """kind: order or position."""
    return msgspec.json.encode({"type": kind, "data": row}).decode()
