"""The websocket for prices: a greeting in JSON, subscriptions by event, and packets in batches."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

import msgspec
from aiohttp import WSCloseCode, web
from msgspec import Struct

from pulse_adapters.simulator.catalog import Listing
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kotak.names import Scrips, trading_symbol
from pulse_adapters.simulator.kotak.packets import DIVIDERS, EXCHANGE_IDS, Depth, packet, status
from pulse_adapters.simulator.kotak.sessions import Sessions
from pulse_adapters.simulator.sockets import Connection, Sockets, open_connection

TOKENS_MAX = 3000
_FORMAT = "native_batch"
_CONNECTED, _WELCOME, _REFUSED, _SUBSCRIBED = 1119, 1117, 1120, 1109
_LOOK_INTERVAL_S = 0.5
_PACKETS_PER_FRAME = 200
# The header's count of packets: it alone makes no news.
_SEQUENCE = slice(7, 8)
# A market picture has the time of the look in it, which is none either.
_LOOKED_AT = slice(45, 53)
_FULL_PACKET = 144
_DEPTHS = {
    "Scrips": Depth.TOUCH_LINE,
    "ScripsLite": Depth.MINI,
    "Depth": Depth.FIVE,
    "FullDepth": Depth.FULL,
    "Indices": Depth.TOUCH_LINE,
}


class _Asked(Struct):
    event: str = ""
    inputtoken: str = ""
    user: str = ""
    auth: str = ""
    format: str = ""


_IsKnown = Callable[[_Asked], bool]


class MarketFeed:
    """All open sockets."""

    def __init__(self, desk: Desk, scrips: Scrips, sessions: Sessions, ucc: str) -> None:
        self._desk = desk
        self._scrips = scrips
        self._sessions = sessions
        self._ucc = ucc
        self._sockets = Sockets()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Upgrade, and stream until one side closes."""
        connection = await open_connection(request)
        self._sockets.add(connection)
        stream = _Stream(self._desk, self._scrips, connection, self._is_known)
        try:
            await connection.run(stream.take, stream.tick())
        finally:
            self._sockets.discard(connection)
        return connection.socket

    async def close(self, code: int | None = WSCloseCode.GOING_AWAY) -> None:
        """Close every socket with a code, or cut it."""
        await self._sockets.close(code)

    def _is_known(self, asked: _Asked) -> bool:
        """Documents want the sid, the broker's client sends the token."""
        session = self._sessions.find(asked.auth)
        return asked.user == self._ucc and asked.format == _FORMAT and session is not None


class _Stream:
    """What one client has subscribed to."""

    _decoder: ClassVar = msgspec.json.Decoder(_Asked)

    def __init__(self, desk: Desk, scrips: Scrips, connection: Connection, is_known: _IsKnown) -> None:
        self._desk = desk
        self._scrips = scrips
        self._connection = connection
        self._is_known = is_known
        self._is_welcome = False
        self._wanted: dict[tuple[str, Depth], Listing] = {}
        self._sent: dict[tuple[str, Depth], bytes] = {}
        self._tells_status = False
        self._status: bool | None = None
        self._sequence = 0
        self._looked = asyncio.Event()
        # It carries the dividers, and says nothing of success.
        connection.push(_control(_CONNECTED, "connected"))

    async def take(self, text: str) -> None:
        try:
            asked = self._decoder.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return
        if not self._is_welcome:
            if self._is_known(asked):
                self._is_welcome = True
                self._connection.push(_control(_WELCOME, "success"))
            else:
                # Not in its turn: the connection is closed whatever waits.
                await self._connection.socket.send_str(_control(_REFUSED, "authentication failed"))
                await self._connection.close(WSCloseCode.POLICY_VIOLATION)
            return
        verb = next(
            (verb for verb in ("subscribe", "unsubscribe", "snapshot") if asked.event.startswith(verb)), ""
        )
        what = asked.event.removeprefix(verb)
        if what == "Exchange":
            self._tells_status, self._status = verb == "subscribe", None
        elif verb and what in _DEPTHS:
            await self._take_tokens(verb, asked.inputtoken.split(","), _DEPTHS[what])
        self._looked.set()

    async def _take_tokens(self, verb: str, names: list[str], depth: Depth) -> None:
        found = {name: listing for name in names if (listing := self._scrips.by_neosymbol(name)) is not None}
        if verb == "unsubscribe":
            for name in names:
                self._wanted.pop((name, depth), None)
                self._sent.pop((name, depth), None)
            return
        if verb == "snapshot":
            await self._send([made for each in found.values() if (made := await self._look(each, depth))])
        else:
            for name, listing in found.items():
                if len(self._wanted) < TOKENS_MAX:
                    self._wanted[name, depth] = listing
        symbols = {
            name: {"trading_symbols": trading_symbol(each), "cas_status": 0} for name, each in found.items()
        }
        # Documents have it under `data`, the broker's client reads it beside the code.
        plain = {name: each["trading_symbols"] for name, each in symbols.items()}
        ack = {"message_code": _SUBSCRIBED, "data": symbols, "trading_symbols": plain}
        self._connection.push(msgspec.json.encode(ack).decode())

    async def tick(self) -> None:
        """Send what has changed at every look."""
        while True:
            await self._send(await self._news())
            self._looked.clear()
            # A subscription is answered at once.
            try:
                await asyncio.wait_for(self._looked.wait(), _LOOK_INTERVAL_S)
            except TimeoutError:
                continue

    async def _news(self) -> list[bytes]:
        packets = []
        is_open = self._desk.venue.is_open
        if self._tells_status and self._status != is_open:
            self._status = is_open
            packets += [status(name, is_open=is_open, sequence=self._next()) for name in EXCHANGE_IDS]
        for (name, depth), listing in tuple(self._wanted.items()):
            made = await self._look(listing, depth)
            if made is None:
                continue
            news = made[: _SEQUENCE.start] + made[_SEQUENCE.stop :]
            if len(made) >= _FULL_PACKET:
                news = news[: _LOOKED_AT.start - 1] + news[_LOOKED_AT.stop - 1 :]
            if self._sent.get((name, depth)) != news:
                self._sent[name, depth] = news
                packets.append(made)
        return packets

    async def _look(self, listing: Listing, depth: Depth) -> bytes | None:
        market = await self._desk.prices.look(listing.instrument)
        return None if market is None else packet(listing, market, depth, self._next())

    async def _send(self, packets: list[bytes]) -> None:
        for start in range(0, len(packets), _PACKETS_PER_FRAME):
            await self._connection.socket.send_bytes(b"".join(packets[start : start + _PACKETS_PER_FRAME]))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def _control(code: int, text: str) -> str:
    exchanges = {name: {"divider": divider, "value": EXCHANGE_IDS[name]} for name, divider in DIVIDERS.items()}
    body = {"message_code": code, "message": text, "format": _FORMAT, "exchanges": exchanges}
    return msgspec.json.encode(body).decode()
