"""Streams of order journals. One poll a moment serves every stream of the process."""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from pulse_api.wire import order_out
from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders.events import JournalEntry
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore, OrderView
from pulse_domain.use_cases.read import ReadOrders

_BATCH = 500
_encode = msgspec.json.encode


class JournalFeed:
    """Wakes a stream when its order's journal has grown.

    It polls while somebody listens: a notification inside the writing transactions would cost them
    three quarters of their throughput.
    """

    def __init__(
        self, store: OrderStore, clock: Clock, *, poll_s: float = 0.2, keep_alive_s: float = 15.0
    ) -> None:
        self._store = store
        self._clock = clock
        self._poll_s = poll_s
        self._keep_alive_s = keep_alive_s
        self._listeners: dict[OrderId, set[asyncio.Event]] = {}
        self._heads: dict[OrderId, int] = {}
        self._poller: asyncio.Task[None] | None = None
        self._closed = False

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for listeners in self._listeners.values():
            for grown in listeners:
                grown.set()
        if self._poller is not None:
            self._poller.cancel()

    async def stream(
        self, order_id: OrderId, client_id: ClientId | None, after_seq: int
    ) -> AsyncIterator[bytes]:
        """Server-sent events from a journal row on, until the order is done or the client goes."""
        grown, told = asyncio.Event(), -1
        self._listen(order_id, grown)
        try:
            while not self._closed:
                grown.clear()
                try:
                    entries = await self._store.journal(order_id, after_seq=after_seq, limit=_BATCH)
                    view = await self._store.get(order_id, client_id)
                except StorageUnavailable:
                    yield b": the store does not answer, waiting\n\n"
                    await self._clock.sleep(1.0)
                    continue
                if view is None:
                    return
                for entry in entries:
                    yield _journal_event(entry)
                    after_seq = entry.seq
                if view.last_seq > after_seq:
                    continue
                if view.last_seq != told:
                    yield _order_event(view)
                    told = view.last_seq
                if view.summary.done:
                    return
                if not await self._wait(grown):
                    # Then look again: whatever befell the poll, no stream stays behind for ever.
                    yield b": keep-alive\n\n"
        finally:
            self._forget(order_id, grown)

    def _listen(self, order_id: OrderId, grown: asyncio.Event) -> None:
        self._listeners.setdefault(order_id, set()).add(grown)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="journal-feed")

    def _forget(self, order_id: OrderId, grown: asyncio.Event) -> None:
        listeners = self._listeners.get(order_id, set())
        listeners.discard(grown)
        if not listeners:
            self._listeners.pop(order_id, None)
            self._heads.pop(order_id, None)

    async def _wait(self, grown: asyncio.Event) -> bool:
        waiting = asyncio.create_task(grown.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(self._keep_alive_s))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()
        return grown.is_set()

    async def _poll(self) -> None:
        while self._listeners:
            await self._clock.sleep(self._poll_s)
            try:
                heads = await self._store.journal_heads(list(self._listeners))
            except StorageUnavailable:
                continue
            for order_id, head in heads.items():
                if self._heads.get(order_id) != head:
                    self._heads[order_id] = head
                    for grown in self._listeners.get(order_id, ()):
                        grown.set()


async def has_more(reader: ReadOrders, order_id: OrderId, client_id: ClientId | None, after_seq: int) -> bool:
    """Whether a stream resumed after a row would have anything to say but the end."""
    view = await reader.get(order_id, client_id)
    return after_seq == 0 or not (view.summary.done and after_seq >= view.last_seq)


def _journal_event(entry: JournalEntry) -> bytes:
    kind = entry.event.__struct_config__.tag
    data = _encode({"seq": entry.seq, "at": entry.at, "event": entry.event})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, str(kind).encode(), data)


def _order_event(view: OrderView) -> bytes:
    return b"event: order\ndata: %s\n\n" % _encode(order_out(view))
