"""Orders of a strategy on the way of all orders: risk gate, acceptance, workers, broker; and back by journals.

What is held follows from the fills that are stored under the strategy's tag: at the start from all of them,
then from the journals of the orders that are followed. An order counts from one of both, never from both.
Followed are those that the strategy knows of, and all that are open under its tag as it begins.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from pulse_background.market.messages import Held, KnownOrder, Money, Told
from pulse_background.market.order_follower import FollowedOrder, OrderChange, OrderFollower
from pulse_background.market.venue import STALE, Opening, refusal
from pulse_domain.errors import (
    DomainError,
    DuplicateOrderUniqueKey,
    NotCancellable,
    NotFound,
    PulseError,
    StorageUnavailable,
)
from pulse_domain.instruments import Instrument
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import Order, OrderRequest, Product, Side, Source
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.event_bus import Signal
from pulse_domain.ports.order_store import OrderStore, Selection
from pulse_domain.positions import FLAT, Standing, fold
from pulse_domain.strategy import OrderUpdate
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder
from pulse_domain.use_cases.cancel import RequestCancel

log = structlog.get_logger(__name__)

CLIENT = ClientId("strategy")
_RETRY_S = 0.5
_ZERO = Decimal(0)
_ORDERS_MAX = 2_000
_OPEN_MAX = 10_000
_FINEST = Decimal("0.0001")


class LivePorts(Struct, frozen=True, kw_only=True):
    """market_now: the instant of prices. is_recorded: it is not the clock's.
    fresh_s: so long a signal is worth sending."""

    accept: AcceptOrder
    cancel: RequestCancel
    store: OrderStore
    follower: OrderFollower
    clock: Clock
    market_now: Callable[[], datetime]
    is_recorded: bool
    fresh_s: float


class _Traded(Struct, frozen=True):
    """A fill that is counted here, and not from the store."""

    order_id: OrderId
    place: tuple[Instrument, Product]
    side: Side
    quantity: int
    value: Decimal


class _Order:
    """One that is followed."""

    def __init__(self, request: OrderRequest, order_id: OrderId) -> None:
        self.request = request
        self.order_id = order_id
        self.done = False


class LiveVenue:
    """Implements `Venue`. capital: rupees to begin with; they are counted with, and no account is asked."""

    fills_by_itself = True

    def __init__(self, tag: str, ports: LivePorts, capital: Decimal, on_told: Callable[[Told], None]) -> None:
        self._tag = tag
        self._ports = ports
        self._capital = capital
        self._on_told = on_told
        self._orders: dict[str, _Order] = {}
        self._to_cancel: set[str] = set()
        # Orders under its tag that it does not know of: their fills count, and nothing is told.
        self._others: dict[OrderId, _Order] = {}
        # Orders whose fills are among the stored ones that count.
        self._in_stored: set[OrderId] = set()
        self._closed = False
        self._reading = asyncio.Lock()
        self._stored: dict[tuple[Instrument, Product], Standing] = {}
        self._traded: list[_Traded] = []
        self._standings: dict[tuple[Instrument, Product], Standing] = {}
        self._version = 0

    async def open(self, memory: Any, orders: tuple[KnownOrder, ...]) -> Opening:
        store, follower = self._ports.store, self._ports.follower
        there: list[tuple[KnownOrder, FollowedOrder, list[OrderChange]]] = []
        done = [known for known in orders if known.update.done]
        for known in orders:
            if known.update.done:
                continue
            found = await store.find_accepted(CLIENT, known.update.order_unique_key)
            changes: list[OrderChange] = []
            followed = None if found is None else await follower.read(found[0], changes.append)
            if followed is not None:
                there.append((known, followed, changes))
        for known, followed, changes in there:
            key = known.update.order_unique_key
            order = self._orders[key] = _Order(followed.order.request, followed.order.order_id)
            for change in changes:
                self._count(order, change)
        others = await self._count_others()
        await self.refresh()
        missed, now = list[Told](), list[KnownOrder]()
        for known, followed, changes in there:
            key = known.update.order_unique_key
            order = self._orders[key]
            latest = known
            for change in changes:
                update = self._update(key, order, change)
                if change.seq > known.seq and update is not None:
                    missed.append(Told(update=update, seq=change.seq, money=self._money()))
                latest = replace(known, update=update or latest.update, seq=change.seq)
            now.append(latest)
            follower.follow(order.order_id, self._follow(key, order), followed)
        for followed in others:
            follower.follow(followed.order.order_id, self._follow_other(followed.order), followed)
        return Opening(money=self._money(), orders=(*done, *now), missed=tuple(missed))

    async def _count_others(self) -> list[FollowedOrder]:
        """Count what is open under the tag and not in its memory: what a version before left open, what a life
        was ended after before it was remembered, what a person ordered. Nothing of it is told."""
        known = {order.order_id for order in self._orders.values()}
        found = list[FollowedOrder]()
        for order_id in await self._open_under_tag():
            changes: list[OrderChange] = []
            if (
                order_id in known
                or (followed := await self._ports.follower.read(order_id, changes.append)) is None
            ):
                continue
            order = self._others[order_id] = _Order(followed.order.request, order_id)
            order.done = followed.summary.done
            for change in changes:
                self._count(order, change)
            found.append(followed)
        return found

    async def _open_under_tag(self) -> list[OrderId]:
        """What this costs grows with what is open, and not with all that ever was. Missed is only what a worker
        is sending at this moment and somebody wants cancelled."""
        store = self._ports.store
        tags = dict[OrderId, str | None]()
        for selection in (Selection.WORKING, Selection.UNKNOWN):
            for each in await store.select(selection, limit=_OPEN_MAX):
                tags[each.order.order_id] = each.order.request.strategy_tag
        for order_id in await store.open_orders(_OPEN_MAX):
            if order_id not in tags and (view := await store.get(order_id)) is not None:
                tags[order_id] = view.order.request.strategy_tag
        return [order_id for order_id, tag in tags.items() if tag == self._tag]

    # --- orders out

    async def submit(self, signal: Signal) -> None:
        while not self._is_stale(signal):
            try:
                await self._accept(signal)
                return
            except StorageUnavailable as error:
                log.warning("a signal waits for the store", strategy=self._tag, error=error.message)
            await self._ports.clock.sleep(_RETRY_S)
        # It may have been stored all the same.
        await self.recall(signal)

    def _is_stale(self, signal: Signal) -> bool:
        """Whether it is too long ago that it was asked for, wherever it has waited since."""
        return (self._ports.clock.now() - signal.sent_at).total_seconds() > self._ports.fresh_s

    async def _accept(self, signal: Signal) -> None:
        key = signal.order_unique_key
        try:
            accepted = await self._ports.accept(
                AcceptCommand(
                    client_id=CLIENT,
                    order_unique_key=key,
                    request=self._by_the_clock(signal),
                    source=Source.STRATEGY,
                )
            )
        except DuplicateOrderUniqueKey as taken:
            # The same event was answered before, by one that knew something else then. That order stands.
            log.warning("an event is answered otherwise than before", strategy=self._tag, key=key)
            await self._take_up(signal, OrderId(taken.details["existing_order_id"]))
        except StorageUnavailable:
            raise
        except PulseError as error:
            log.warning(
                "a signal is refused", strategy=self._tag, key=key, code=error.code, error=error.message
            )
            self._on_told(Told(update=refusal(signal, _code(error)), seq=0, money=self._money()))
        except Exception as error:
            log.error("a signal cannot be handed in", strategy=self._tag, key=key, exc_info=error)
            await self.recall(signal)
        else:
            await self._take_up(signal, accepted.order_id)

    def _by_the_clock(self, signal: Signal) -> OrderRequest:
        """Prices may be recorded, orders are sent now: a start keeps its distance from the event."""
        start_at = signal.request.start_at
        if start_at is None or not self._ports.is_recorded:
            return signal.request
        return replace(signal.request, start_at=signal.sent_at + (start_at - signal.at))

    async def recall(self, signal: Signal) -> None:
        while True:
            try:
                found = await self._ports.store.find_accepted(CLIENT, signal.order_unique_key)
                break
            except StorageUnavailable:
                await self._ports.clock.sleep(_RETRY_S)
        if found is not None:
            await self._take_up(signal, found[0])
            return
        self._on_told(Told(update=refusal(signal, STALE), seq=0, money=self._money()))

    async def _take_up(self, signal: Signal, order_id: OrderId) -> None:
        key = signal.order_unique_key
        if key in self._orders or self._closed:
            return
        if len(self._orders) > _ORDERS_MAX:
            # Their fills are in the store; until that is read again, they count as they were told.
            self._orders = {name: each for name, each in self._orders.items() if not each.done}
        order = self._orders[key] = _Order(signal.request, order_id)
        if order_id in self._others or order_id in self._in_stored:
            await self._count_anew(order_id)
        self._ports.follower.follow(order_id, self._follow(key, order))
        if key in self._to_cancel:
            self._to_cancel.discard(key)
            await self.cancel(key)

    async def _count_anew(self, order_id: OrderId) -> None:
        """An order that has counted without being known of counts as it is told, from its first row on."""
        self._ports.follower.forget(order_id)
        self._others.pop(order_id, None)
        self._traded = [each for each in self._traded if each.order_id != order_id]
        self._standings = dict(self._stored)
        self._add(self._traded)
        while order_id in self._in_stored:
            try:
                await self.refresh()
            except StorageUnavailable:
                await self._ports.clock.sleep(_RETRY_S)

    async def cancel(self, order_unique_key: str) -> None:
        order = self._orders.get(order_unique_key)
        if order is None:
            self._to_cancel.add(order_unique_key)  # it is on its way
            return
        while True:
            try:
                await self._ports.cancel(order.order_id, CLIENT, f"strategy {self._tag}")
                return
            except (NotCancellable, NotFound):
                return
            except StorageUnavailable:
                await self._ports.clock.sleep(_RETRY_S)

    # --- what becomes of them

    def _follow(self, key: str, order: _Order) -> Callable[[FollowedOrder, OrderChange], None]:
        def changed(followed: FollowedOrder, change: OrderChange) -> None:
            # What was accepted under the key may differ from what was asked for now.
            order.request = followed.order.request
            self._count(order, change)
            update = self._update(key, order, change)
            if update is not None:
                self._on_told(Told(update=update, seq=change.seq, money=self._money()))

        return changed

    def _follow_other(self, placed: Order) -> Callable[[FollowedOrder, OrderChange], None]:
        order = self._others[placed.order_id]
        # By a key that the strategy cannot have: it is told what is held then, and not of the order.
        key = str(placed.order_id)

        def changed(followed: FollowedOrder, change: OrderChange) -> None:
            self._count(order, change)
            update = self._update(key, order, change)
            if update is not None:
                self._on_told(Told(update=update, seq=change.seq, money=self._money()))

        return changed

    def _update(self, key: str, order: _Order, change: OrderChange) -> OrderUpdate | None:
        """What is told of a row; most rows tell nothing that a strategy asks for."""
        summary, was_done = change.summary, order.done
        order.done = summary.done
        if not change.quantity and was_done is summary.done and change.reason_code is None:
            return None
        grown = max(0, change.quantity)
        return OrderUpdate(
            order_unique_key=key,
            at=self._ports.market_now() if self._ports.is_recorded else change.at,
            instrument=order.request.instrument,
            side=order.request.side,
            state=summary.state,
            done=summary.done,
            total_quantity=summary.quantities.total,
            filled_quantity=summary.quantities.filled,
            average_price=summary.average_price,
            last_quantity=grown,
            last_price=(change.value / change.quantity).quantize(_FINEST) if grown and change.value else None,
            reason_code=change.reason_code,
        )

    def _count(self, order: _Order, change: OrderChange) -> None:
        if not change.quantity:
            return
        request = order.request
        assert request.product is not None, "a stored request is normalised"
        side = request.side
        if change.quantity < 0:  # a trade that was taken back
            side = Side.SELL if side is Side.BUY else Side.BUY
        traded = _Traded(
            order.order_id, (request.instrument, request.product), side, abs(change.quantity), abs(change.value)
        )
        self._traded.append(traded)
        self._add([traded])
        self._version += 1

    def _add(self, traded: Iterable[_Traded]) -> None:
        for each in traded:
            before = self._standings.get(each.place, FLAT)
            self._standings[each.place] = before.after(each.side, each.quantity, each.value)

    async def refresh(self) -> Money:
        async with self._reading:
            # What was done before has all its fills in what is read; the rest counts by its journal.
            ended = {key for key, order in self._orders.items() if order.done}
            ended_others = {order_id for order_id, order in self._others.items() if order.done}
            fills = await self._ports.store.fills()
            for key in ended:
                self._orders.pop(key, None)
            for order_id in ended_others:
                self._others.pop(order_id, None)
            followed = {*(order.order_id for order in self._orders.values()), *self._others}
            own = [fill for fill in fills if fill.strategy_tag == self._tag and fill.order_id not in followed]
            self._stored = {(key.instrument, key.product): each for key, each in fold(own).items()}
            self._in_stored = {fill.order_id for fill in own}
            self._traded = [each for each in self._traded if each.order_id in followed]
            self._standings = dict(self._stored)
            self._add(self._traded)
            self._version += 1
            return self._money()

    def _money(self) -> Money:
        settled, held = self._capital, list[Held]()
        for (instrument, product), standing in self._standings.items():
            settled += standing.realised or _ZERO
            if standing.quantity:
                cost = standing.cost or _ZERO
                held.append(
                    Held(
                        instrument=instrument,
                        product=product,
                        quantity=standing.quantity,
                        cost=cost,
                        blocked=abs(cost),
                    )
                )
        return Money(settled=settled, version=self._version, held=tuple(held))

    def acknowledge(self, told: Told) -> None:
        pass  # the journal keeps it

    def memory(self) -> Any:
        return {}  # orders are found by their keys

    def close(self) -> None:
        self._closed = True
        for order in (*self._orders.values(), *self._others.values()):
            self._ports.follower.forget(order.order_id)


def _code(error: PulseError) -> str:
    """Why an order was refused: of the risk gate the first rule, else the error's own code."""
    reasons = error.details.get("reasons") if isinstance(error, DomainError) else None
    if isinstance(reasons, list) and reasons:
        first = reasons[0]
        return str(first.get("rule", error.code) if isinstance(first, dict) else first)
    return error.code
