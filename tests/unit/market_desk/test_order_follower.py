"""Journals turned into what a strategy is told: every fill once, whoever has followed the order before."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from pulse_background.market.order_follower import FollowedOrder, OrderChange, OrderFollower
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Order
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.order_store import Booking
from pulse_domain.testing.factories import split_order
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.sequential_ids import SequentialIds

BROKER_ID = BrokerOrderId("B1")


class Followed:
    def __init__(self, clock: FakeClock, store: InMemoryOrderStore, order: Order) -> None:
        self.clock, self.store, self.order = clock, store, order
        self.changes: list[OrderChange] = []
        self.follower = OrderFollower(store, clock)

    def note(self, followed: FollowedOrder, change: OrderChange) -> None:
        self.changes.append(change)

    async def book(self, *events: Any) -> None:
        await self.store.book([Booking(order_id=self.order.order_id, event=event) for event in events])
        await self.clock.advance(0.25)

    @property
    def fills(self) -> list[tuple[int, Decimal]]:
        return [(each.quantity, each.value) for each in self.changes if each.quantity]


@pytest_asyncio.fixture
async def sent() -> AsyncIterator[Followed]:
    """An order of 100 that the broker has taken, followed from its first row on."""
    clock = FakeClock()
    store = InMemoryOrderStore(clock)
    order = await split_order(store, SequentialIds())
    followed = Followed(clock, store, order)
    followed.follower.follow(order.order_id, followed.note)
    running = asyncio.create_task(followed.follower.run())
    [claim] = await store.claim_executions(1, "worker-1", 60.0)
    assert claim.execution.attempt == 1
    await followed.book(ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=BROKER_ID))
    yield followed
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def fill(trade_id: str, quantity: int, price: int, at: Any) -> ev.ExecutionFilled:
    return ev.ExecutionFilled(
        seq=1,
        chunk=0,
        fill=ev.Fill(
            trade_id=trade_id, broker_order_id=BROKER_ID, quantity=quantity, price=Decimal(price), at=at
        ),
    )


async def test_every_row_is_told_in_order_and_fills_once(sent: Followed) -> None:
    await sent.book(fill("t1", 40, 100, sent.clock.now()))
    await sent.book(fill("t1", 40, 100, sent.clock.now()), fill("t2", 60, 101, sent.clock.now()))

    assert [change.seq for change in sent.changes] == list(range(1, len(sent.changes) + 1))
    assert sent.fills == [(40, Decimal(4000)), (60, Decimal(6060))]
    assert (sent.changes[-1].summary.state, sent.changes[-1].summary.done) == (OrderState.FILLED, True)


async def test_a_total_that_trades_explain_later_is_not_told_twice(sent: Followed) -> None:
    await sent.book(ev.ExecutionCumulativeReported(seq=1, chunk=0, quantity=70, average_price=Decimal(100)))
    await sent.book(fill("t1", 70, 100, sent.clock.now()))

    assert sum(quantity for quantity, _ in sent.fills) == 70


async def test_a_trade_that_is_taken_back_is_told_as_less(sent: Followed) -> None:
    await sent.book(fill("t1", 40, 100, sent.clock.now()))
    await sent.book(ev.ExecutionFillBusted(seq=1, chunk=0, trade_id="t1"))

    assert sent.fills == [(40, Decimal(4000)), (-40, Decimal(-4000))]


async def test_who_reads_it_later_sees_the_same_changes(sent: Followed) -> None:
    await sent.book(fill("t1", 40, 100, sent.clock.now()))
    again: list[OrderChange] = []

    followed = await sent.follower.read(sent.order.order_id, again.append)

    assert again == sent.changes
    assert followed is not None
    assert (followed.seq, followed.quantity) == (sent.changes[-1].seq, 40)


async def test_a_wake_up_is_looked_at_once(sent: Followed) -> None:
    told = len(sent.changes)
    await sent.store.book([Booking(order_id=sent.order.order_id, event=fill("t1", 40, 100, sent.clock.now()))])
    sent.follower.wake()
    await settle()

    assert len(sent.changes) == told + 1


async def test_an_order_that_is_gone_is_not_followed_any_more(
    sent: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(order_ids: Any) -> dict[Any, int]:
        return {}

    monkeypatch.setattr(sent.store, "journal_heads", nothing)
    await sent.clock.advance(0.25)
    monkeypatch.undo()
    told = len(sent.changes)
    await sent.book(fill("t1", 40, 100, sent.clock.now()))

    assert len(sent.changes) == told
