import asyncio
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from pulse_domain.orders.execution import LATE_FILL, OVERFILLED, SECOND_ORDER, UNPLANNED, Execution
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import Side
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus
from pulse_domain.testing.scripted_broker import NoTrades, Unavailable, Unknown
from pulse_domain.use_cases.book_facts import FactsReport
from tests.unit.use_cases.desk import RELIANCE, Desk


async def live(desk: Desk, **request: Any) -> tuple[OrderId, str]:
    """An order that rests at the broker, and the broker's id of it."""
    order_id = await desk.order(**request)
    await desk.send_due()
    return order_id, (await desk.execution(order_id)).broker_order_id or ""


async def book(desk: Desk, **changes: Any) -> FactsReport:
    """Book what the broker's whole book says, its rows changed on the way."""
    return await desk.facts([replace(row, **changes) for row in desk.broker.rows()])


async def test_no_rows_are_no_facts(desk: Desk) -> None:
    assert await desk.facts([]) == FactsReport()


async def test_order_is_adopted_by_its_tag(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=False))
    await desk.send_due()

    report = await book(desk)

    execution = await desk.execution(order_id)
    assert (execution.phase, report.applied) == (Phase.LIVE, 1)
    assert execution.broker_order_id == desk.row(execution.tag).broker_order_id


async def test_order_is_adopted_by_any_of_its_tags(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=False))
    await desk.send_due()
    tag = (await desk.execution(order_id)).tag

    await book(desk, tags=("strategy", tag, "amo"))

    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_trades_of_a_grown_total_are_asked_for_and_booked(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    fills = [desk.broker.fill(broker_order_id, 40, "100.10"), desk.broker.fill(broker_order_id, 60, "100.20")]

    await book(desk)

    execution = await desk.execution(order_id)
    assert execution.fills == tuple(fills)
    assert execution.status is ExecutionStatus.FILLED
    summary = (await desk.view(order_id)).summary
    assert (summary.state, summary.average_price) == (OrderState.FILLED, Decimal("100.1600"))


async def test_partial_fill_works_on(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 40)

    await book(desk)

    assert (await desk.execution(order_id)).status is ExecutionStatus.PARTIALLY_FILLED
    quantities = (await desk.view(order_id)).summary.quantities
    assert (quantities.filled, quantities.working) == (40, 60)


async def test_same_rows_again_change_nothing(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 100)
    await book(desk)
    view = await desk.view(order_id)

    report = await book(desk)

    assert report.applied == 0
    assert await desk.view(order_id) == view


async def test_push_with_its_trades_needs_no_question(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    fill = desk.broker.fill(broker_order_id, 100)

    await book(desk, fills=(fill,))

    assert desk.broker.asked_trades == []
    execution = await desk.execution(order_id)
    assert (execution.fills, execution.provisional_quantity) == ((fill,), 0)


async def test_trades_that_are_known_are_not_asked_for_again(desk: Desk) -> None:
    _, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 40)

    for _ in range(3):
        await book(desk)

    assert desk.broker.asked_trades == [broker_order_id]


async def test_stale_push_takes_nothing_back(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 40)
    stale = desk.row((await desk.execution(order_id)).tag)
    desk.broker.fill(broker_order_id, 60)
    await book(desk)
    done = await desk.execution(order_id)

    await desk.facts([stale])
    await desk.facts([replace(stale, filled_quantity=0, average_price=Decimal(0))])

    assert await desk.execution(order_id) == done


async def test_push_and_read_at_once_count_a_trade_once(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 40)

    await asyncio.gather(*[book(desk) for _ in range(10)])

    assert (await desk.execution(order_id)).filled_quantity == 40


@pytest.mark.parametrize(
    ("status", "reported", "state"),
    [
        (BrokerOrderStatus.CANCELLED, ExecutionStatus.CANCELLED, OrderState.CANCELLED),
        (BrokerOrderStatus.REJECTED, ExecutionStatus.REJECTED, OrderState.REJECTED),
        (BrokerOrderStatus.EXPIRED, ExecutionStatus.EXPIRED, OrderState.EXPIRED),
    ],
)
async def test_end_at_the_broker_ends_the_order(
    desk: Desk, status: BrokerOrderStatus, reported: ExecutionStatus, state: OrderState
) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.end(broker_order_id, status)

    await book(desk)

    assert (await desk.execution(order_id)).status is reported
    assert (await desk.view(order_id)).summary.state is state


async def test_rejection_keeps_the_brokers_reason(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.end(
        broker_order_id, BrokerOrderStatus.REJECTED, reason_code="MARGIN", reason="Insufficient funds"
    )

    await book(desk)

    execution = await desk.execution(order_id)
    assert (execution.reason_code, execution.reason) == ("MARGIN", "Insufficient funds")


async def test_fills_before_the_end_are_booked_with_it(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 30)
    desk.broker.end(broker_order_id, BrokerOrderStatus.CANCELLED)

    report = await book(desk)

    summary = (await desk.view(order_id)).summary
    assert (summary.state, summary.quantities.filled) == (OrderState.PARTIALLY_FILLED, 30)
    assert report.flagged == ()


async def test_stop_order_waits_and_is_triggered(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.edit(broker_order_id, status=BrokerOrderStatus.TRIGGER_PENDING)
    await book(desk)
    assert (await desk.execution(order_id)).status is ExecutionStatus.TRIGGER_PENDING

    desk.broker.edit(broker_order_id, status=BrokerOrderStatus.OPEN)
    await book(desk)

    assert (await desk.execution(order_id)).status is ExecutionStatus.OPEN


async def test_order_on_its_way_to_the_exchange_is_live(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=True))
    await desk.send_due()

    await book(desk, status=BrokerOrderStatus.PENDING)

    assert (await desk.execution(order_id)).phase is Phase.LIVE


# --- totals and trades


async def test_total_without_trades_is_booked_provisionally(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 40, "100.10")
    desk.broker.on_trades(Unavailable())

    await book(desk)

    execution = await desk.execution(order_id)
    assert (execution.fills, execution.filled_quantity) == ((), 40)
    assert execution.filled_value == Decimal("4004.00")


async def test_trades_that_explain_part_leave_the_rest_provisional(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    fill = desk.broker.fill(broker_order_id, 40)
    desk.broker.edit(broker_order_id, filled_quantity=70)

    await book(desk)

    execution = await desk.execution(order_id)
    assert (execution.fills, execution.filled_quantity) == ((fill,), 70)


async def test_pushed_trades_replace_the_provisional_total(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    fill = desk.broker.fill(broker_order_id, 40, "100.10")
    desk.broker.on_trades(NoTrades())
    await book(desk, average_price=Decimal("100.50"))
    assert (await desk.execution(order_id)).filled_value == Decimal("4020.00")

    await book(desk, fills=(fill,))

    execution = await desk.execution(order_id)
    assert (execution.filled_quantity, execution.filled_value) == (40, Decimal("4004.00"))


async def test_trades_that_come_late_replace_the_provisional_total(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    fill = desk.broker.fill(broker_order_id, 40, "100.10")
    desk.broker.on_trades(Unavailable())
    await book(desk)

    await book(desk)

    execution = await desk.execution(order_id)
    assert execution.fills == (fill,)
    assert execution.filled_quantity == 40


async def test_trades_that_come_after_the_end_replace_the_provisional_total(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    fill = desk.broker.fill(broker_order_id, 100, "100.10")
    desk.broker.on_trades(Unavailable())
    await book(desk)
    assert (await desk.execution(order_id)).status is ExecutionStatus.FILLED

    await book(desk)

    execution = await desk.execution(order_id)
    assert (execution.fills, execution.filled_quantity, execution.flags) == ((fill,), 100, ())


# --- what contradicts us


async def test_rows_of_others_are_left_alone(desk: Desk) -> None:
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100)
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100, tags=["by-hand", "T1short"])

    assert await book(desk) == FactsReport(nameless=True)


async def test_row_with_our_prefix_and_no_execution_is_reported(desk: Desk) -> None:
    stranger = desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100, tags=["T1" + "Z" * 18])

    report = await book(desk)

    assert report == FactsReport(strangers=(stranger,))


async def test_stranger_does_not_hide_our_own(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100, tags=["T1" + "Z" * 18])
    desk.broker.fill(broker_order_id, 100)

    report = await book(desk)

    assert len(report.strangers) == 1
    assert (await desk.execution(order_id)).status is ExecutionStatus.FILLED


async def test_late_fill_is_booked_and_flagged(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.end(broker_order_id, BrokerOrderStatus.CANCELLED)
    await book(desk)
    desk.broker.fill(broker_order_id, 30)

    report = await book(desk)

    execution = await desk.execution(order_id)
    assert (execution.status, execution.filled_quantity) == (ExecutionStatus.CANCELLED, 30)
    assert [t.execution.flags for t in report.flagged] == [(LATE_FILL,)]
    assert (await desk.view(order_id)).summary.state is OrderState.PARTIALLY_FILLED


async def test_overfill_is_booked_and_flagged(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    desk.broker.fill(broker_order_id, 60)
    desk.broker.fill(broker_order_id, 60)

    report = await book(desk)

    assert [t.execution.flags for t in report.flagged] == [(OVERFILLED,)]
    quantities = (await desk.view(order_id)).summary.quantities
    assert (quantities.filled, quantities.overfilled) == (120, 20)
    assert quantities.balanced


async def test_order_that_we_had_not_sent_is_taken_in_and_flagged(desk: Desk) -> None:
    order_id = await desk.order()
    tag = (await desk.execution(order_id)).tag
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100, tags=[tag])

    report = await book(desk)

    assert [t.execution.flags for t in report.flagged] == [(UNPLANNED,)]
    assert (await desk.execution(order_id)).phase is Phase.LIVE
    assert await desk.claim() == []


async def test_flag_is_reported_once(desk: Desk) -> None:
    _, broker_order_id = await live(desk)
    desk.broker.end(broker_order_id, BrokerOrderStatus.CANCELLED)
    await book(desk)
    desk.broker.fill(broker_order_id, 10)
    await book(desk)
    desk.broker.fill(broker_order_id, 10)

    report = await book(desk)

    assert (report.applied, report.flagged) == (1, ())


async def second_order(desk: Desk, execution: Execution) -> BrokerOrder:
    return desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100, tags=[execution.tag])


async def test_second_order_under_one_tag_is_flagged(desk: Desk) -> None:
    order_id, _ = await live(desk)
    second = await second_order(desk, await desk.execution(order_id))

    report = await book(desk)

    assert [t.execution.flags for t in report.flagged] == [(f"{SECOND_ORDER}:{second.broker_order_id}",)]


async def test_two_orders_under_one_tag_are_both_seen(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=False))
    await desk.send_due()
    first = desk.row((await desk.execution(order_id)).tag)
    second = await second_order(desk, await desk.execution(order_id))

    report = await book(desk)

    execution = await desk.execution(order_id)
    assert {execution.broker_order_id, *(f.partition(":")[2] for f in execution.flags)} == {
        first.broker_order_id, second.broker_order_id,
    }  # fmt: skip
    assert len(report.flagged) == 1


async def test_end_of_a_second_order_in_the_same_read_does_not_end_the_first(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=False))
    await desk.send_due()
    second = await second_order(desk, await desk.execution(order_id))
    desk.broker.end(second.broker_order_id, BrokerOrderStatus.CANCELLED)

    await book(desk)

    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_trades_of_both_orders_under_one_tag_are_booked(desk: Desk) -> None:
    order_id, broker_order_id = await live(desk)
    second = await second_order(desk, await desk.execution(order_id))
    desk.broker.fill(broker_order_id, 100)
    desk.broker.fill(second.broker_order_id, 100)

    await book(desk)

    assert (await desk.view(order_id)).summary.quantities.overfilled == 100


async def test_end_of_a_second_order_does_not_end_the_first(desk: Desk) -> None:
    order_id, _ = await live(desk)
    second = await second_order(desk, await desk.execution(order_id))
    await book(desk)
    desk.broker.end(second.broker_order_id, BrokerOrderStatus.CANCELLED)

    await desk.facts([row for row in desk.broker.rows() if row.broker_order_id == second.broker_order_id])

    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_a_row_without_a_tag_is_known_by_its_broker_order_id(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    row = desk.row((await desk.execution(order_id)).tag)

    early = await desk.facts([replace(row, tags=(), broker_order_id="B-unheard-of")])
    known = await desk.facts([replace(row, tags=(), status=BrokerOrderStatus.CANCELLED)])

    assert (early.nameless, known.nameless) == (True, False)
    assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED
