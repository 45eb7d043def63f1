import asyncio

import pytest

from pulse_domain.errors import TradingHalted
from pulse_domain.orders.status import ExecutionStatus, Phase
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.scripted_broker import Unknown
from tests.unit.use_cases.desk import LEASE_S, Desk


async def test_halt_of_an_idle_system_answers_at_once(desk: Desk) -> None:
    await desk.order()

    report = await desk.halt("operator", "fat finger")

    assert (report.state.halted, report.state.changed_by, report.state.reason) == (
        True, "operator", "fat finger",
    )  # fmt: skip
    assert report.in_flight == ()
    assert await desk.claim() == []


async def test_halt_waits_for_calls_in_the_air(desk: Desk) -> None:
    await desk.order()
    [claim] = await desk.claim()
    halting = asyncio.create_task(desk.halt("operator", ""))
    await settle()
    await desk.pass_time(0.5)
    assert not halting.done()

    await desk.record([await desk.send(claim)])
    await desk.pass_time(0.2)

    assert halting.done()
    assert (await halting).in_flight == ()


async def test_halt_lists_what_is_still_in_flight(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=True, hangs=True))
    [claim] = await desk.claim()
    sending = asyncio.create_task(desk.send(claim))
    await settle()
    halting = asyncio.create_task(desk.halt("operator", ""))
    await settle()

    await desk.pass_time(3)
    report = await halting

    assert report.in_flight == (claim.execution,)
    await desk.pass_time(10)
    await desk.record([await sending])
    assert (await desk.execution(order_id)).phase is Phase.UNKNOWN


async def test_halt_does_not_list_what_can_no_longer_be_sent(desk: Desk) -> None:
    await desk.order()
    await desk.claim()
    await desk.pass_time(LEASE_S)

    assert (await desk.halt("operator", "")).in_flight == ()


async def test_unknown_execution_is_not_in_flight(desk: Desk) -> None:
    await desk.order()
    desk.broker.on_place(Unknown(took=False, call_ended=True))
    await desk.send_due()

    assert (await desk.halt("operator", "")).in_flight == ()


async def test_halted_trading_takes_no_orders_and_sends_none(desk: Desk) -> None:
    order_id = await desk.order("k-1")
    await desk.halt("operator", "")

    with pytest.raises(TradingHalted):
        await desk.accept("k-2")
    assert await desk.send_due() == []

    assert (await desk.execution(order_id)).status is ExecutionStatus.PLANNED
    assert desk.broker.tickets == []


async def test_halted_trading_still_cancels_and_follows_orders(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    await desk.halt("operator", "")

    await desk.request_cancel(order_id, None, "operator")
    await desk.cancel_executions()
    await desk.reconcile()

    assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED


async def test_resumed_trading_sends_what_is_still_within_its_window(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.halt("operator", "")
    await desk.pass_time(10)

    state = await desk.resume("operator", "all clear")
    await desk.send_due()

    assert (state.halted, state.reason) == (False, "all clear")
    assert (await desk.execution(order_id)).phase is Phase.LIVE
    assert not (await desk.accept("k-2")).replayed


async def test_halting_twice_is_halting_once(desk: Desk) -> None:
    await desk.halt("operator", "one")

    assert (await desk.halt("operator", "two")).state.halted
    assert not (await desk.resume("operator", "")).halted
