from decimal import Decimal

import pytest

from pulse_domain.errors import NotFound
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, ClientId, OrderId
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.status import OrderState
from pulse_domain.orders.summary import Quantities
from pulse_domain.ports.order_store import Booking, BookResult, OrderView
from pulse_domain.testing.factories import CLIENT, new_order
from tests.unit.use_cases.desk import Desk

OTHER = ClientId("desk-2")


def ids_of(views: list[OrderView]) -> list[OrderId]:
    return [view.order.order_id for view in views]


async def test_client_reads_its_order(desk: Desk) -> None:
    order_id = await desk.order()

    view = await desk.read.get(order_id, CLIENT)

    assert (view.order.order_id, view.summary.state) == (order_id, OrderState.SCHEDULED)


async def test_operator_reads_every_order(desk: Desk) -> None:
    order_id = await desk.order()

    assert await desk.read.get(order_id, None) == await desk.read.get(order_id, CLIENT)


async def test_order_of_another_client_is_not_found(desk: Desk) -> None:
    order_id = await desk.order()

    with pytest.raises(NotFound) as refused:
        await desk.read.get(order_id, OTHER)
    with pytest.raises(NotFound):
        await desk.read.slices(order_id, OTHER)

    assert refused.value.details == {"order_id": order_id}


async def test_unknown_order_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.read.get(desk.ids.order_id(), None)


async def test_slices_come_by_seq_and_none_before_the_split(desk: Desk) -> None:
    order_id = (await desk.accept(split_config=SplitConfig(num_splits=3, duration_minutes=10))).order_id
    before = await desk.read.slices(order_id, CLIENT)
    await desk.split()

    after = await desk.read.slices(order_id, CLIENT)

    assert before == []
    assert [slice_.seq for slice_ in after] == [1, 2, 3]


async def test_pages_lead_through_all_orders_newest_first(desk: Desk) -> None:
    order_ids = [(await desk.accept(f"k-{i}")).order_id for i in range(5)]

    listed, before = [], None
    while True:
        views, before = await desk.read.page(CLIENT, limit=2, before=before)
        listed.append(ids_of(views))
        if before is None:
            break

    newest_first = order_ids[::-1]
    assert listed == [newest_first[:2], newest_first[2:4], newest_first[4:]]


async def test_last_page_that_is_full_has_no_cursor(desk: Desk) -> None:
    for i in range(4):
        await desk.accept(f"k-{i}")

    _, first = await desk.read.page(CLIENT, limit=2, before=None)
    views, last = await desk.read.page(CLIENT, limit=2, before=first)

    assert first is not None
    assert (len(views), last) == (2, None)


async def test_page_of_no_orders_is_empty(desk: Desk) -> None:
    assert await desk.read.page(CLIENT, limit=10, before=None) == ([], None)


async def test_client_pages_through_its_own_orders(desk: Desk) -> None:
    mine = (await desk.accept("k-1")).order_id
    theirs = new_order(desk.ids, client_id=OTHER)
    await desk.store.accept(theirs)

    assert ids_of((await desk.read.page(CLIENT, limit=10, before=None))[0]) == [mine]
    assert ids_of((await desk.read.page(OTHER, limit=10, before=None))[0]) == [theirs.order_id]
    assert ids_of((await desk.read.page(None, limit=10, before=None))[0]) == [theirs.order_id, mine]


# --- where an order's quantity is


async def amended(desk: Desk, quantity: int, *told: ev.AnyExecutionEvent) -> Quantities:
    """Of an order for 100 that rests, was amended at the broker, and of which more was told then."""
    order_id = await desk.order()
    await desk.send_due()
    replacement = ev.Replacement(quantity=quantity)
    events: list[ev.AnyExecutionEvent] = [
        ev.ExecutionReplaceRequested(seq=1, chunk=0, replacement=replacement),
        ev.ExecutionReplaced(seq=1, chunk=0),
        *told,
    ]
    booked = await desk.store.book([Booking(order_id=order_id, event=event) for event in events])
    assert {b.result for b in booked} == {BookResult.APPLIED}
    return (await desk.read.get(order_id, CLIENT)).summary.quantities


def filled(quantity: int) -> ev.ExecutionFilled:
    fill = ev.Fill(
        trade_id=f"T-{quantity}",
        broker_order_id=BrokerOrderId("SB-000001"),
        quantity=quantity,
        price=Decimal(100),
        at=Desk().clock.now(),
    )
    return ev.ExecutionFilled(seq=1, chunk=0, fill=fill)


async def test_what_an_amendment_took_off_counts_as_cancelled(desk: Desk) -> None:
    quantities = await amended(desk, 60, filled(10))

    assert quantities == Quantities(total=100, filled=10, working=50, cancelled=40)


async def test_amended_order_that_has_filled_leaves_nothing_working(desk: Desk) -> None:
    quantities = await amended(desk, 60, filled(60))

    assert quantities == Quantities(total=100, filled=60, cancelled=40)


async def test_fill_beyond_an_amendment_leaves_no_negative_quantity(desk: Desk) -> None:
    wish = ev.ExecutionCancelRequested(seq=1, chunk=0)

    quantities = await amended(desk, 50, wish, filled(70))

    assert quantities.filled == 70
    assert quantities.balanced
    assert min(quantities.working, quantities.cancelled) >= 0


async def test_completion_ahead_of_its_trades_does_not_spoil_the_average(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    told: list[ev.AnyExecutionEvent] = [filled(40), ev.ExecutionCompleted(seq=1, chunk=0)]
    await desk.store.book([Booking(order_id=order_id, event=event) for event in told])

    summary = (await desk.read.get(order_id, CLIENT)).summary

    # All known trades were at 100: nothing says that the rest cost less.
    assert summary.quantities == Quantities(total=100, filled=100)
    assert summary.average_price in (None, Decimal(100))
