"""A broker's websocket, for its prices: kept open, watched, and taken up again.

What differs by broker is a `Wire`. A connection is alive by its prices only: a peer that has vanished and
one that sends heartbeats and nothing else look the same to those who wait for them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import aiohttp
import structlog
from msgspec import Struct

from pulse_adapters.real_broker.backfill import Backfill, History
from pulse_adapters.real_broker.holes import Holes
from pulse_adapters.real_broker.stream import StreamSettings, socket_options, wait_after
from pulse_domain.candles import HoursAt
from pulse_domain.errors import BrokerUnavailable, FeedRefused, StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedFigures, FeedSink

log = structlog.get_logger(__name__)

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

# The broker's number for an instrument; None where its file does not list it. Raises: StorageUnavailable.
Tokens = Callable[[Instrument], Awaitable[str | None]]
# Up to when candles of instruments are stored; those that have none of this session are not there. Raises:
# StorageUnavailable.
StoredUntil = Callable[[Iterable[Instrument]], Awaitable[Mapping[Instrument, datetime]]]

SILENT, LOST, REFUSED = "silent", "lost", "refused"
_REFUSALS = (401, 403)


class LiveFeedSettings(StreamSettings, frozen=True, kw_only=True):
    """silence_s: without a price for so long, while the market is open, the connection is given up.
    refused_wait_s: how long a session that was refused is not tried again; another one is at once."""

    wait_max_s: float = 8.0
    silence_s: float = 5.0
    refused_wait_s: float = 30.0


class Price(Struct, frozen=True, kw_only=True, gc=False):
    """What a packet tells. name: of the instrument, on the wire. at: None where the packet has no time.
    price: 0 where there was no trade yet."""

    name: str
    at: datetime | None
    price: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    volume: int = 0
    day_low: Decimal | None = None
    day_high: Decimal | None = None


class Heard(Struct, frozen=True, gc=False):
    """What a message holds: prices, and how many packets could not be read."""

    prices: Sequence[Price] = ()
    bad: int = 0


NOTHING, GARBAGE = Heard(), Heard(bad=1)


class NotWelcome(Exception):
    """The broker does not take this session for prices."""


class Wire(Protocol[S_contra]):
    """How one broker tells its prices. instruments_max: what one connection takes."""

    broker: str
    instruments_max: int

    def name_of(self, instrument: Instrument, token: str) -> str | None:
        """How the wire calls an instrument; None where it has none of that kind."""
        ...

    async def connect(
        self, http: aiohttp.ClientSession, session: S_contra, options: dict[str, Any]
    ) -> aiohttp.ClientWebSocketResponse:
        """Open the socket. Raises: NotWelcome, aiohttp.ClientError, OSError."""
        ...

    async def greet(self, socket: aiohttp.ClientWebSocketResponse, session: S_contra) -> None:
        """Say and hear what comes first. Raises: NotWelcome; ConnectionError: it is not understood."""
        ...

    def subscribe(self, names: Sequence[str]) -> Iterable[str]:
        """The messages that ask for prices."""
        ...

    def unsubscribe(self, names: Sequence[str]) -> Iterable[str]: ...

    def read(self, message: bytes | str) -> Heard:
        """Never raises: it is a stranger's bytes."""
        ...


class _Wanted:
    """What is subscribed to, here and at the broker."""

    def __init__(self) -> None:
        self.instruments: frozenset[Instrument] = frozenset()
        self.changed = asyncio.Event()
        self.names: dict[Instrument, str] = {}
        self.by_name: dict[str, Instrument] = {}
        self.asked: set[str] = set()
        # Whose holes are known: from the last candle on, then from the last tick.
        self.watched: frozenset[Instrument] = frozenset()


class LiveFeed(Generic[S]):
    """Implements the `MarketFeed` port.

    current_session: asked again while connected, so that a new login makes a new connection. As long as there
        is none (BrokerUnavailable), or the one there is was refused, the feed waits.
    tokens: asked for what is subscribed to; what they do not know is in `unlisted`, and has no prices.
    hours_at: when prices are to be expected.
    history: what the broker tells of a hole afterwards, if it does.
    stored_until: what is new is asked for first; the time since then is a hole.
    """

    def __init__(
        self,
        settings: LiveFeedSettings,
        wire: Wire[S],
        clock: Clock,
        rng: Random,
        *,
        current_session: Callable[[], Awaitable[S]],
        tokens: Tokens,
        hours_at: HoursAt,
        history: History | None = None,
        stored_until: StoredUntil | None = None,
    ) -> None:
        self._settings = settings
        self._wire = wire
        self._clock = clock
        self._rng = rng
        self._current_session = current_session
        self._tokens = tokens
        self._hours_at = hours_at
        self._stored_until = stored_until
        self._holes = Holes(clock, hours_at)
        self._backfill = Backfill(clock, history, hours_at, broker=wire.broker)
        self._wanted = _Wanted()
        self.unlisted: frozenset[Instrument] = frozenset()
        self._refused: tuple[S, float] | None = None
        # By the clock's `monotonic`: since when nothing has come, while something should.
        self._quiet_since = 0.0
        self._has_prices = False
        self._connected = False
        self._ticks = self._bad = self._unknown = self._connects = self._silences = self._gaps = 0

    def subscribe(self, instruments: Iterable[Instrument]) -> None:
        wanted = frozenset(instruments)
        if len(wanted) > self._wire.instruments_max:
            raise FeedRefused(
                f"{self._wire.broker} gives prices of {self._wire.instruments_max} instruments at most, "
                f"not of {len(wanted)}"
            )
        self._wanted.instruments = wanted
        self._wanted.watched &= wanted
        self._wanted.changed.set()
        self._holes.forget_all_but(wanted)

    def figures(self) -> FeedFigures:
        return FeedFigures(
            connected=self._connected,
            ticks=self._ticks,
            bad=self._bad,
            unknown=self._unknown,
            connects=self._connects,
            silences=self._silences,
            gaps=self._gaps,
            backfilled=self._backfill.candles,
            unfilled=self._backfill.unfilled,
        )

    async def run(self, sink: FeedSink) -> None:
        failures = 0
        async with aiohttp.ClientSession() as http, self._backfill.running(sink):
            while True:
                await self._until_wanted()
                session = await self._session()
                began = self._clock.monotonic()
                self._has_prices = False
                reason, told = await self._connection(http, session, sink)
                self._connected = False
                self._holes.open(reason)
                lasted_s = self._clock.monotonic() - began
                failures = 0 if self._has_prices and lasted_s >= self._settings.steady_s else failures + 1
                wait_s = wait_after(failures, self._settings, self._rng)
                log.warning(
                    "the market feed is not connected",
                    broker=self._wire.broker,
                    reason=told,
                    wait_s=round(wait_s, 1),
                )
                await self._clock.sleep(wait_s)

    async def _until_wanted(self) -> None:
        while not self._wanted.instruments:
            self._wanted.changed.clear()
            await self._wanted.changed.wait()

    async def _session(self) -> S:
        """The session to connect in, as soon as there is one that may be of use."""
        while True:
            try:
                session = await self._current_session()
            except BrokerUnavailable:
                pass  # Told by the sessions already, and there may be one at any moment.
            else:
                if not self._is_refused(session):
                    return session
            await self._clock.sleep(self._settings.wait_s)

    def _is_refused(self, session: S) -> bool:
        if self._refused is None:
            return False
        refused, at = self._refused
        # It may have been for another reason than the session, such as too many connections.
        return session == refused and self._clock.monotonic() - at < self._settings.refused_wait_s

    # --- one connection

    async def _connection(self, http: aiohttp.ClientSession, session: S, sink: FeedSink) -> tuple[str, str]:
        """Until it ends. Returns why: the reason of a gap, and words; the address may hold a secret."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                socket = await self._wire.connect(http, session, socket_options())
        except aiohttp.WSServerHandshakeError as error:
            if error.status in _REFUSALS:
                return self._refuse(session, f"handshake refused with {error.status}")
            return LOST, f"handshake refused with {error.status}"
        except NotWelcome as error:
            return self._refuse(session, str(error))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            return LOST, f"no connection: {type(error).__name__}"
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await self._wire.greet(socket, session)
            self._connects += 1
            return await self._stream(socket, session, sink)
        except NotWelcome as error:
            return self._refuse(session, str(error))
        except (aiohttp.ClientError, OSError) as error:
            return LOST, f"broken: {type(error).__name__}"
        finally:
            self._connected = False
            self._wanted.asked.clear()
            await socket.close()

    def _refuse(self, session: S, told: str) -> tuple[str, str]:
        if self._refused is None or self._refused[0] != session:
            log.error(
                f"the broker refuses its prices; log in again with `pulse broker login {self._wire.broker}` "
                "if it goes on",
                broker=self._wire.broker,
                reason=told,
            )
        self._refused = (session, self._clock.monotonic())
        return REFUSED, told

    async def _stream(
        self, socket: aiohttp.ClientWebSocketResponse, session: S, sink: FeedSink
    ) -> tuple[str, str]:
        self._quiet_since = self._clock.monotonic()
        self._wanted.changed.set()
        jobs = [
            asyncio.create_task(self._receive(socket, sink)),
            asyncio.create_task(self._watch(session)),
            asyncio.create_task(self._ask(socket)),
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            return next(job for job in jobs if job in done).result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse, sink: FeedSink) -> tuple[str, str]:
        while True:
            message = await socket.receive()
            if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                return LOST, f"closed with {socket.close_code}"
            heard = self._wire.read(message.data)
            self._bad += heard.bad
            if heard.prices:
                self._take(heard.prices, sink)

    async def _watch(self, session: S) -> tuple[str, str]:
        look_s = min(1.0, self._settings.silence_s / 5)
        while True:
            await self._clock.sleep(look_s)
            now_s = self._clock.monotonic()
            if not self._is_expecting():
                self._quiet_since = now_s
            elif now_s - self._quiet_since >= self._settings.silence_s:
                self._silences += 1
                return SILENT, "silence"
            if await self._is_replaced(session):
                # An open connection outlives its session: but the next login is one of its own.
                return LOST, "a new session"

    def _is_expecting(self) -> bool:
        now = self._clock.now()
        asked = self._wanted.asked
        return any(
            name in asked and self._hours_at(instrument, now) is not None
            for instrument, name in self._wanted.names.items()
        )

    async def _is_replaced(self, session: S) -> bool:
        try:
            return await self._current_session() != session
        except BrokerUnavailable:
            return False

    async def _ask(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[str, str]:
        """Keep what is asked for at the broker as what is wanted here."""
        while True:
            await self._wanted.changed.wait()
            self._wanted.changed.clear()
            # What is known already does not wait for what is not: it may take long, or the store be away.
            self._keep({it: name for it, name in self._wanted.names.items() if it in self._wanted.instruments})
            await self._tell_wanted(socket)
            try:
                await self._look_up()
            except StorageUnavailable as error:
                log.warning(
                    "the broker's numbers of instruments cannot be read",
                    broker=self._wire.broker,
                    error=type(error).__name__,
                )
                self._wanted.changed.set()
                await self._clock.sleep(self._settings.wait_s)
                continue
            await self._tell_wanted(socket)

    async def _tell_wanted(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        names = set(self._wanted.by_name)
        more = names - self._wanted.asked
        for ask, changed in (
            (self._wire.unsubscribe, self._wanted.asked - names),
            (self._wire.subscribe, more),
        ):
            if changed:
                for text in ask(sorted(changed)):
                    await socket.send_str(text)
        if more:
            # Nothing could come of them before.
            self._quiet_since = self._clock.monotonic()
        self._wanted.asked = names
        self._connected = bool(names)
        self._holes.resume()

    async def _look_up(self) -> None:
        wanted = self._wanted.instruments
        names: dict[Instrument, str] = {}
        for instrument in wanted:
            token = await self._tokens(instrument)
            name = None if token is None else self._wire.name_of(instrument, token)
            if name is not None:
                names[instrument] = name
        unlisted = wanted - names.keys()
        if unlisted - self.unlisted:
            log.error(
                "the broker lists no such instruments, so there are no prices of them",
                broker=self._wire.broker,
                instruments=[str(instrument) for instrument in sorted(unlisted)],
            )
        self.unlisted = unlisted
        new = names.keys() - self._wanted.watched
        if new and self._stored_until is not None:
            self._holes.open_since(await self._stored_until(new))
        self._wanted.watched = frozenset(names) & self._wanted.instruments
        self._keep(names)

    def _keep(self, names: Mapping[Instrument, str]) -> None:
        self._wanted.names = dict(names)
        self._wanted.by_name = {name: instrument for instrument, name in names.items()}

    # --- prices

    def _take(self, prices: Iterable[Price], sink: FeedSink) -> None:
        now = self._clock.now()
        ticks: list[Tick] = []
        for price in prices:
            instrument = self._wanted.by_name.get(price.name)
            if instrument is None:
                self._unknown += 1
            elif price.price > 0:  # else there was no trade yet
                ticks.append(_tick(instrument, price, price.at or now))
        if not ticks:
            return
        self._ticks += len(ticks)
        now_s = self._clock.monotonic()
        if now_s - self._quiet_since > self._settings.silence_s:
            # It ended by itself, before anybody looked.
            self._holes.open(SILENT)
        self._quiet_since = now_s
        self._has_prices = True
        for gap in self._holes.close(ticks):
            self._gaps += 1
            sink.gap(gap)
            self._backfill.ask(gap)
        sink.ticks(ticks)


def _tick(instrument: Instrument, price: Price, at: datetime) -> Tick:
    return Tick(
        instrument, at, price.price, price.bid, price.ask, price.volume, price.day_low, price.day_high
    )  # fmt: skip
