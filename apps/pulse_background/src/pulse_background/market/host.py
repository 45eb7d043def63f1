"""The life of one strategy: candles, ticks and news of its orders go in one at a time, orders come out.

Orders go out one after the other, by a line of its own: one that waits for the store holds up no other
strategy. What it knows is stored after candles, updates and orders, once its orders are answered.

It begins where its checkpoint ends. What it asked for is looked up first, then it is told what it missed of its
orders, then the candles that were stored meanwhile; live ones wait until that is done. For a candle that closed
long ago nothing is sent any more, but what was sent then is taken up again; so it is with those of a hole in
prices, which come late.

Whatever a strategy does, it does to itself: one that raises, or does not return, has failed, and nobody else
hears of it but by a report.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from pulse_background.market.candle_keeper import CandleKeeper
from pulse_background.market.checkpoints import CheckpointKeeper
from pulse_background.market.messages import (
    Answer,
    Asked,
    Begin,
    CancelAsked,
    Candles,
    KnownOrder,
    Made,
    Make,
    Message,
    Prepared,
    Remember,
    Remembered,
    SeatMemory,
    Ticks,
    Told,
)
from pulse_background.market.seat import SeatFailed
from pulse_background.market.seat_thread import SeatLine
from pulse_background.market.signal_line import SignalLine
from pulse_background.market.venue import Venue
from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Tick
from pulse_domain.orders.model import OrderRequest, OrderType
from pulse_domain.ports.candle_store import CandleStore
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.event_bus import (
    CANDLES,
    ORDER_UPDATES,
    SIGNALS,
    TICKS,
    EventBus,
    Overflow,
    Signal,
    Subscription,
)
from pulse_domain.ports.strategy_store import Checkpoint, StrategyPlan

log = structlog.get_logger(__name__)

# How far back candles are looked for that a strategy wants to see of the past, or has missed.
_PAST = timedelta(days=30)
_CANDLES_WAITING_MAX = 10_000
_ORDERS_S = 5.0


class HostSettings(Struct, frozen=True, kw_only=True):
    """capital: rupees that a strategy counts with.
    fresh_s: the age of a closed candle up to which an order that answers it is still sent.
    call_timeout_s: a strategy that is not done by then has failed.
    settle_s: how long a recording waits for orders that should end by themselves.
    """

    capital: Decimal = Decimal(10_000_000)
    fresh_s: float = 60.0
    call_timeout_s: float = 30.0
    settle_s: float = 10.0


class HostPorts(Struct, frozen=True, kw_only=True):
    """market_now: the instant of prices; is_recorded: it is not the clock's."""

    bus: EventBus
    candle_store: CandleStore
    candles: CandleKeeper
    checkpoints: CheckpointKeeper
    clock: Clock
    market_now: Callable[[], datetime]
    is_recorded: bool


class _State(Struct, frozen=True, kw_only=True):
    """What is in a checkpoint."""

    seat: SeatMemory
    venue: Any


class HostFigures(Struct, frozen=True, kw_only=True):
    """signals: orders asked for; unanswered: those that are neither accepted nor refused; open_orders: those
    that are not done; busy_s: how long it works on what it was given last, 0 while it waits."""

    signals: int
    unanswered: int
    open_orders: int
    busy_s: float


class StrategyHost:
    """on_failed: told once, when the strategy has failed; then it is to be stopped.
    has_passed_over: candles have come that it was told in a life before, and is not told again.

    The seat's answers are to come to `hear`, the venue's news to `tell`.
    """

    def __init__(
        self, plan: StrategyPlan, ports: HostPorts, settings: HostSettings, on_failed: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self._ports = ports
        self._settings = settings
        self._on_failed = on_failed
        self._line: SeatLine | None = None
        self._venue: Venue | None = None
        self._turn = asyncio.Lock()
        self._made: Made | None = None
        self._ended = False
        self._subscriptions: list[Subscription] = []
        self._news: deque[Told] = deque()
        self._has_news = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        self._last_candle: dict[Instrument, datetime] = {}
        self._told_before: dict[Instrument, datetime] = {}
        self.has_passed_over = False
        self._last_tick: dict[Instrument, Tick] = {}
        self._terms: Mapping[Instrument, InstrumentTerms] = {}
        self._remembered: Remembered | None = None
        # Signals that no venue has answered for yet: what follows from them is not to be remembered before.
        self._unanswered: set[str] = set()
        self._open: set[str] = set()
        # Orders that end by themselves, soon.
        self._immediate: set[str] = set()
        self._too_old = False
        # Whether it has asked for anything since the last time that it was to say what it knows.
        self._has_asked = False
        self._late_work: set[asyncio.Task[None]] = set()
        self._signals = 0
        self._signals_out = SignalLine(plan.name, self._send, self.fail)
        self._busy_since: float | None = None
        self._changed = asyncio.Event()

    # --- the beginning

    async def start(
        self,
        line: SeatLine,
        venue: Venue,
        checkpoint: Checkpoint | None,
        terms: Mapping[Instrument, InstrumentTerms],
    ) -> None:
        """Make the strategy, and bring it up to now.

        Raises:
            SeatFailed: it cannot be made, or raises.
            StorageUnavailable: try again, with a new host.
        """
        self._line, self._venue, self._terms = line, venue, terms
        plan = self.plan
        async with self._turn:
            await self._call(
                Make(
                    name=plan.name, version=plan.version, kind=plan.kind, instruments=plan.instruments,
                    parameters=plan.parameters,
                )
            )  # fmt: skip
            # From here on nothing is missed: what comes live waits for its turn.
            self._subscribe()
            await self._begin(venue, checkpoint)
        self._changed.set()
        self._telling = asyncio.create_task(self._tell_news(), name=f"updates of {plan.name}")

    async def _begin(self, venue: Venue, checkpoint: Checkpoint | None) -> None:
        assert self._made is not None, "that is the first answer"
        state = None if checkpoint is None else msgspec.convert(checkpoint.state, _State)
        memory = None if state is None else state.seat
        opening = await venue.open(
            None if state is None else state.venue, () if memory is None else memory.orders
        )
        self._open = {known.update.order_unique_key for known in opening.orders if not known.update.done}
        past: list[ClosedCandle] = []
        if memory is None and self._made.past_candles:
            past = await self._stored(self._made.past_candles)
        # Those of the memory as it was told of them: what it missed comes right after.
        told = {known.update.order_unique_key: known for known in (() if memory is None else memory.orders)}
        await self._call(
            Begin(
                at=self._ports.market_now(),
                money=opening.money,
                terms=tuple(self._terms.items()),
                memory=memory,
                orders=tuple(_later(told.get(each.update.order_unique_key), each) for each in opening.orders),
                past=tuple(past),
            )
        )
        for each in past:
            self._last_candle[each.instrument] = each.start
        for missed in opening.missed:
            await self._call(missed)
            venue.acknowledge(missed)
        if memory is not None:
            self._told_before = {Instrument.parse(text): at for text, at in memory.candles.items()}
            self._last_candle = dict(self._told_before)
            assert checkpoint is not None, "the memory is its"
            await self._catch_up(checkpoint.at)
        await self._call(Remember())

    async def _catch_up(self, known_up_to: datetime) -> None:
        """Go through the candles that were stored since the checkpoint."""
        for closed in await self._stored(None, self._untold_since(known_up_to)):
            self._too_old = self._ports.is_recorded or self._is_too_old(closed)
            await self._call(Candles((closed,)))
            self._last_candle[closed.instrument] = closed.start
        self._too_old = False

    def _untold_since(self, known_up_to: datetime) -> datetime:
        """From when on the candles of an instrument are new that it was told none of."""
        if self._last_candle:
            return max(self._last_candle.values())
        assert self._made is not None, "it is made"
        # One that was not closed then.
        return known_up_to - timedelta(minutes=self._made.candle_minutes) + timedelta(microseconds=1)

    async def _stored(self, count: int | None, untold_since: datetime | None = None) -> list[ClosedCandle]:
        """Of each instrument the last so many candles, or those after its last one; in order of their ends."""
        await self._ports.candles.saved_up_to(self._ports.candles.taken)
        assert self._made is not None, "it is made"
        minutes, now = self._made.candle_minutes, self._ports.market_now()
        found = list[ClosedCandle]()
        for instrument in self.plan.instruments:
            last, since = self._last_candle.get(instrument), now - _PAST
            if last is not None:
                since = last + timedelta(microseconds=1)
            elif untold_since is not None:
                since = max(since, untold_since)
            own = [
                ClosedCandle(instrument, minutes, candle.start, candle)
                async for run in self._ports.candle_store.candles(instrument, minutes, since, now)
                for candle in run
                if candle.start + timedelta(minutes=minutes) <= now
            ]
            found += own if count is None else own[-count:]
        return sorted(found, key=lambda each: (each.start, each.instrument))

    def _subscribe(self) -> None:
        assert self._made is not None, "it is made"
        name, bus = f"strategy {self.plan.name}", self._ports.bus
        if self._made.hears_candles:
            self._subscriptions.append(
                bus.subscribe(
                    CANDLES,
                    name,
                    self._take_candles,
                    size_max=_CANDLES_WAITING_MAX,
                    overflow=Overflow.DROP_OLDEST,
                )
            )
        if self._made.hears_ticks:
            # Recorded ones are all told, as they wait for the strategy; of live ones the latest, if it is slow.
            overflow = Overflow.DROP_OLDEST if self._ports.is_recorded else Overflow.LATEST
            self._subscriptions.append(bus.subscribe(TICKS, name, self._take_ticks, overflow=overflow))

    # --- the market

    async def _take_candles(self, closed: Sequence[ClosedCandle]) -> None:
        own = [each for each in closed if self._is_own(each)]
        if not own:
            return
        async with self._turn:
            self.has_passed_over |= any(self._was_told_before(each) for each in own)
            new = self._new(own)
            if new and not self._ended:
                self._remembered = None
                for too_old, group in groupby(new, key=self._is_too_old):
                    # Those of a recording are of long ago, and all that there is.
                    self._too_old = too_old and not self._ports.is_recorded
                    await self._work(Candles(tuple(group)))
                    if self._ended:
                        break
                self._too_old = False
                if not self._ended:
                    await self._work(Remember())
                for each in new:
                    self._last_candle[each.instrument] = each.start
        self._changed.set()

    def _new(self, own: Sequence[ClosedCandle]) -> list[ClosedCandle]:
        """Those that come after all that it was told, in order: what is told of a hole may come after a later
        candle. Of two that begin together the one that came last."""
        found = {(each.instrument, each.start): each for each in own if self._is_new(each)}
        return sorted(found.values(), key=lambda each: each.start)

    def _was_told_before(self, closed: ClosedCandle) -> bool:
        last = self._told_before.get(closed.instrument)
        return last is not None and closed.start <= last

    def _is_too_old(self, closed: ClosedCandle) -> bool:
        """Whether it closed so long ago that an order that answers it comes too late."""
        return (self._ports.clock.now() - _end(closed)).total_seconds() > self._settings.fresh_s

    def _is_own(self, closed: ClosedCandle) -> bool:
        made = self._made
        return (
            made is not None
            and made.hears_candles
            and closed.candle is not None
            and closed.minutes == made.candle_minutes
            and closed.instrument in self.plan.instruments
        )

    def _is_new(self, closed: ClosedCandle) -> bool:
        last = self._last_candle.get(closed.instrument)
        return last is None or closed.start > last

    async def _take_ticks(self, ticks: Sequence[Tick]) -> None:
        own = tuple(tick for tick in ticks if tick.instrument in self.plan.instruments)
        if own:
            async with self._turn:
                if not self._ended:
                    self._has_asked = False
                    await self._work(Ticks(own))
                # Without an order it goes on from what it knew: ticks are not told again, and come too often.
                if self._has_asked and not self._ended:
                    await self._work(Remember())
            self._last_tick.update({tick.instrument: tick for tick in own})
            self._changed.set()

    async def prepare(self, terms: Mapping[Instrument, InstrumentTerms] | None) -> None:
        """Tell of a new day's terms, and of what others have changed of the position.

        Raises:
            StorageUnavailable.
        """
        assert self._venue is not None, "it has started"
        money = await self._venue.refresh()
        async with self._turn:
            if not self._ended:
                await self._work(Prepared(terms=None if terms is None else tuple(terms.items()), money=money))
        self._changed.set()

    # --- orders

    def hear(self, answer: Answer) -> None:
        """Take an answer of the seat."""
        match answer:
            case Made():
                self._made = answer
            case Asked():
                self._ask(answer)
            case CancelAsked(order_unique_key=key):
                self._has_asked = True
                self._later(self._cancel(key))
            case Remembered():
                self._remembered = answer
                self._offer()

    def _ask(self, asked: Asked) -> None:
        key, request = asked.order_unique_key, asked.request
        self._signals += 1
        self._has_asked = True
        # What it knew before is not to be kept beside an order that is on its way now.
        self._remembered = None
        self._unanswered.add(key)
        self._open.add(key)
        if self._ends_soon(request):
            self._immediate.add(key)
        signal = Signal(
            at=asked.at,
            sent_at=self._ports.clock.now(),
            strategy_tag=self.plan.name,
            order_unique_key=key,
            request=request,
        )
        if self._too_old:
            self._later(self._recall(signal))
        else:
            self._ports.bus.publish(SIGNALS, signal)

    def _ends_soon(self, request: OrderRequest) -> bool:
        return (
            self._venue is not None
            and self._venue.fills_by_itself
            and request.order_type is OrderType.MARKET
            and request.split_config is None
            and request.start_at is None
        )

    def order(self, signal: Signal) -> None:
        """Take a signal on its way to where it goes, in its turn."""
        self._signals_out.put(signal)

    def order_no_more(self) -> None:
        """Of what waits in that line hand nothing over."""
        self._signals_out.drop()

    async def _send(self, signal: Signal) -> None:
        assert self._venue is not None, "it has started"
        await self._venue.submit(signal)
        self._answered(signal)

    async def _recall(self, signal: Signal) -> None:
        assert self._venue is not None, "it has started"
        await self._venue.recall(signal)
        self._answered(signal)

    async def _cancel(self, key: str) -> None:
        assert self._venue is not None, "it has started"
        await self._venue.cancel(key)

    def _answered(self, signal: Signal) -> None:
        self._unanswered.discard(signal.order_unique_key)
        self._offer()
        self._changed.set()

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._late_work.add(task)
        task.add_done_callback(self._late_work.discard)

    def tell(self, told: Told) -> None:
        """Take news of an order, to be told in its turn."""
        self._news.append(told)
        self._has_news.set()
        self._ports.bus.publish(ORDER_UPDATES, told.update)

    async def _tell_news(self) -> None:
        assert self._venue is not None, "it has started"
        while True:
            await self._has_news.wait()
            async with self._turn:
                news = list(self._news)
                self._news.clear()
                self._has_news.clear()
                if self._ended:
                    return
                self._remembered = None
                await self._work(*news)
                if self._ended:
                    return  # it may not know of them: they are told again in its next life
                for told in news:
                    self._venue.acknowledge(told)
                    if told.update.done:
                        self._open.discard(told.update.order_unique_key)
                        self._immediate.discard(told.update.order_unique_key)
                # What it remembers now is without what is acknowledged.
                await self._work(Remember())
            self._changed.set()

    async def settled(self, closed: Sequence[ClosedCandle], tick: Tick | None) -> None:
        """Return when the strategy has worked on what was told, and nothing of what it asked for can still end
        by itself; or after a while, where an order should have ended and has not."""
        try:
            async with asyncio.timeout(self._settings.settle_s):
                while not self._ended and not (self._has_seen(closed, tick) and self._is_at_rest()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("recorded prices go on without the end of orders", strategy=self.plan.name)
            self._immediate.clear()

    def _has_seen(self, closed: Sequence[ClosedCandle], tick: Tick | None) -> bool:
        if tick is not None and self._made is not None and self._made.hears_ticks:
            return tick.instrument not in self.plan.instruments or self._last_tick.get(tick.instrument) is tick
        return not any(self._is_new(each) for each in closed if self._is_own(each))

    def _is_at_rest(self) -> bool:
        return not (self._immediate or self._unanswered or self._news or self._turn.locked())

    # --- the seat

    async def _work(self, *messages: Message) -> None:
        """Hand messages over; a strategy that fails by them has ended."""
        try:
            await self._call(*messages)
        except SeatFailed as error:
            self.fail(str(error))

    async def _call(self, *messages: Message) -> None:
        assert self._line is not None, "it has started"
        self._busy_since = self._ports.clock.monotonic()
        timeout_s = self._settings.call_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._line.call(*messages)
        except TimeoutError:
            raise SeatFailed(f"it did not return within {timeout_s:g} s") from None
        finally:
            self._busy_since = None

    def fail(self, text: str) -> None:
        """Take the strategy for failed; what it did so far stands."""
        if not self._ended:
            self._ended = True
            self._changed.set()
            self._has_news.set()
            self._on_failed(text)

    def _offer(self) -> None:
        """Have what is known stored, once it rests on nothing that may be lost."""
        if self._remembered is None or self._unanswered or self._venue is None:
            return
        remembered, self._remembered = self._remembered, None
        state = _State(seat=remembered.memory, venue=self._venue.memory())
        try:
            plain = msgspec.to_builtins(state, str_keys=True)
        except (TypeError, ValueError) as error:
            self._cannot_keep(str(error))
            return
        self._ports.checkpoints.offer(
            Checkpoint(name=self.plan.name, version=self.plan.version, at=remembered.at, state=plain),
            self._cannot_keep,
        )

    def _cannot_keep(self, why: str) -> None:
        self.fail(f"what it remembers cannot be stored: {why}")

    # --- the end

    async def stop(self, call_s: float | None = None, orders_s: float = _ORDERS_S) -> None:
        """End it; what it knows is stored as far as it was told.

        call_s: so long a call that it works on may last; None: as long as any.
        orders_s: so long orders that it has asked for may take to be handed over.
        """
        try:
            async with asyncio.timeout(call_s), self._turn:
                if self._telling is not None and not self._ended:
                    await self._work(Remember())
        except TimeoutError:
            log.warning("a strategy is ended while it works", strategy=self.plan.name)
        self._ended = True
        self._has_news.set()
        self._changed.set()
        for subscription in self._subscriptions:
            subscription.cancel()
        await self._signals_out.close(orders_s)
        late = [*self._late_work, *([self._telling] if self._telling is not None else [])]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if self._venue is not None:
            self._venue.close()
        if self._line is not None:
            await self._line.close()

    def figures(self) -> HostFigures:
        since = self._busy_since
        return HostFigures(
            signals=self._signals,
            unanswered=len(self._unanswered),
            open_orders=len(self._open),
            busy_s=0.0 if since is None else max(0.0, self._ports.clock.monotonic() - since),
        )


def _end(closed: ClosedCandle) -> datetime:
    return closed.start + timedelta(minutes=closed.minutes)


def _later(told: KnownOrder | None, now: KnownOrder) -> KnownOrder:
    """An order as it stands now, with the price that it was asked at."""
    return now if told is None or now.price is not None else msgspec.structs.replace(now, price=told.price)
