from datetime import timedelta
from decimal import Decimal

import pytest

from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.testing.scripted_broker import Rejects, Unavailable, Unknown
from pulse_domain.use_cases.execute import DEADLINE_PASSED
from tests.unit.use_cases.desk import GRACE_S, LEASE_S, NIFTY, Desk

PLACE = {"seq": 1, "chunk": 0}


async def test_ticket_is_the_order_by_its_stored_terms(desk: Desk) -> None:
    await desk.order(
        instrument=NIFTY,
        side=Side.SELL,
        total_quantity=150,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("24000.10"),
        product=Product.MIS,
        validity=Validity.IOC,
    )
    terms = desk.master.listed[NIFTY]
    desk.master.listed[NIFTY] = InstrumentTerms(lot_size=50)
    [claim] = await desk.claim()

    await desk.send(claim)

    assert desk.broker.tickets == [
        OrderTicket(
            tag=claim.execution.tag,
            instrument=NIFTY,
            side=Side.SELL,
            quantity=150,
            order_type=OrderType.LIMIT,
            product=Product.MIS,
            validity=Validity.IOC,
            limit_price=Decimal("24000.10"),
            trigger_price=None,
            terms=terms,
        )
    ]


async def test_yes_is_the_brokers_order_id(desk: Desk) -> None:
    await desk.order()
    [claim] = await desk.claim()

    booking = await desk.send(claim)

    row = desk.row(claim.execution.tag)
    assert booking.event == ev.ExecutionAccepted(**PLACE, broker_order_id=row.broker_order_id)
    assert booking.answer == {"broker_order_id": row.broker_order_id}


async def test_no_is_a_rejection_with_its_reason(desk: Desk) -> None:
    await desk.order()
    desk.broker.on_place(Rejects("INSUFFICIENT_FUNDS", "You are short by ₹ 12"))
    [claim] = await desk.claim()

    booking = await desk.send(claim)

    assert booking.event == ev.ExecutionRejected(
        **PLACE, reason_code="INSUFFICIENT_FUNDS", message="You are short by ₹ 12"
    )


async def test_certainly_not_sent_is_released_for_later(desk: Desk) -> None:
    await desk.order()
    desk.broker.on_place(Unavailable("RATE_LIMITED"))
    [claim] = await desk.claim()

    booking = await desk.send(claim)

    assert booking.event == ev.ExecutionReleased(
        **PLACE, attempt=1, reason="RATE_LIMITED", not_before=desk.clock.now() + timedelta(seconds=1)
    )


async def test_silence_on_a_closed_socket_is_unanswered_with_its_end(desk: Desk) -> None:
    await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=True, hangs=False))
    [claim] = await desk.claim()

    booking = await desk.send(claim)

    assert booking.event == ev.ExecutionUnanswered(
        **PLACE, attempt=1, reason="TIMEOUT", call_ended_at=desk.clock.now()
    )


async def test_silence_of_a_call_in_the_air_has_no_end(desk: Desk) -> None:
    await desk.order()
    desk.broker.on_place(Unknown(took=False, call_ended=False))
    [claim] = await desk.claim()

    booking = await desk.send(claim)

    assert booking.event == ev.ExecutionUnanswered(**PLACE, attempt=1, reason="TIMEOUT", call_ended_at=None)


async def test_call_is_recorded_with_what_was_asked_and_answered(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Rejects("MARGIN", "no"))
    [claim] = await desk.claim()

    booking = await desk.send(claim)

    assert booking.order_id == order_id
    assert booking.call is not None
    assert (booking.call.broker, booking.call.operation) == ("scripted", "place")
    assert booking.call.began_at == desk.clock.now()
    assert booking.call.request["tag"] == claim.execution.tag
    assert (booking.call.answer, booking.call.error) == (None, "MARGIN: no")
    assert booking.answer == {"place_error": "MARGIN: no"}


async def test_sending_changes_nothing_in_the_store(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    before = await desk.view(order_id)

    await desk.send(claim)

    assert await desk.view(order_id) == before


async def test_call_that_could_outlive_its_lease_is_not_begun(desk: Desk) -> None:
    await desk.order()
    claimed_at = desk.clock.monotonic()
    [claim] = await desk.claim()
    await desk.pass_time(LEASE_S - 9)

    booking = await desk.execute(claim, claimed_at)

    assert booking.event == ev.ExecutionReleased(
        **PLACE, attempt=1, reason=DEADLINE_PASSED, not_before=desk.clock.now()
    )
    assert booking.call is None
    assert desk.broker.tickets == []


async def test_lease_counts_from_before_the_claim(desk: Desk) -> None:
    await desk.order()
    claimed_at = desk.clock.monotonic() - (LEASE_S - 9)
    [claim] = await desk.claim()

    booking = await desk.execute(claim, claimed_at)

    assert isinstance(booking.event, ev.ExecutionReleased)
    assert desk.broker.tickets == []


async def test_claim_is_sent_while_the_call_fits_into_its_lease(desk: Desk) -> None:
    await desk.order()
    claimed_at = desk.clock.monotonic()
    [claim] = await desk.claim()
    await desk.pass_time(GRACE_S / 2)

    booking = await desk.execute(claim, claimed_at)

    assert isinstance(booking.event, ev.ExecutionAccepted)


async def test_claim_is_not_sent_after_its_window_and_grace(desk: Desk) -> None:
    await desk.order()
    await desk.pass_time(GRACE_S - 1)
    claimed_at = desk.clock.monotonic()
    [claim] = await desk.claim()
    # A worker that is stopped here, and goes on while its lease still runs.
    await desk.pass_time(30)

    await desk.execute(claim, claimed_at)

    assert desk.clock.now() > claim.execution.expires_at
    assert desk.broker.tickets == []


async def test_no_call_may_last_beyond_the_window(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    place = desk.broker.place

    async def watched(ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        given.append(timeout_s)
        return await place(ticket, timeout_s=timeout_s)

    monkeypatch.setattr(desk.broker, "place", watched)
    await desk.order("early")
    [early] = await desk.claim()
    await desk.send(early)
    await desk.order("late")
    [late] = await desk.claim()
    claimed_at = desk.clock.monotonic()
    await desk.clock.advance(GRACE_S - 2)

    await desk.execute(late, claimed_at)

    assert given == [10.0, 2.0]
