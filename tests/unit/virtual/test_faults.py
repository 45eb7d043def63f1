"""Misbehaviour on demand, as the tests of the order protocol need it."""

import pytest

from pulse_adapters.virtual.faults import Call, LoseAnswer, LoseRequest, Refuse, Truncate, Unavailable
from pulse_domain.errors import BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from tests.unit.virtual.tickets import TIMEOUT_S, limit, ticket


async def tags(exchange) -> list[str]:
    return [tag for row in (await exchange.order_book()).orders for tag in row.tags]


async def test_refused_call(exchange):
    exchange.faults.on(Call.PLACE, Refuse("MARGIN", "not enough funds"))

    with pytest.raises(BrokerRejected, match="not enough funds") as refused:
        await exchange.place(ticket(), timeout_s=TIMEOUT_S)

    assert refused.value.reason_code == "MARGIN"
    assert await tags(exchange) == []


async def test_unavailable_call_was_not_sent(exchange, clock):
    exchange.faults.on(Call.PLACE, Unavailable("HTTP_429"))

    with pytest.raises(BrokerUnavailable) as unavailable:
        await exchange.place(ticket(), timeout_s=TIMEOUT_S)

    assert unavailable.value.reason_code == "HTTP_429"
    assert await tags(exchange) == []


@pytest.mark.parametrize(("fault", "placed"), [(LoseRequest(), []), (LoseAnswer(), ["ONCE"])])
async def test_lost_call_ends_at_its_timeout(exchange, clock, fault, placed):
    exchange.faults.on(Call.PLACE, fault)

    with pytest.raises(BrokerOutcomeUnknown) as unknown:
        await exchange.place(ticket(tag="ONCE"), timeout_s=3.0)

    assert unknown.value.call_ended
    assert clock.monotonic() == pytest.approx(3.0)
    assert await tags(exchange) == placed


async def test_refusal_whose_answer_is_lost_is_unknown_too(exchange):
    exchange.faults.on(Call.PLACE, LoseAnswer())

    with pytest.raises(BrokerOutcomeUnknown):
        await exchange.place(limit("100.02"), timeout_s=3.0)

    assert await tags(exchange) == []


async def test_faults_come_in_their_order_and_once(exchange):
    exchange.faults.on(Call.PLACE, None, Refuse("A"), Unavailable())

    await exchange.place(ticket(), timeout_s=TIMEOUT_S)
    with pytest.raises(BrokerRejected):
        await exchange.place(ticket(), timeout_s=TIMEOUT_S)
    with pytest.raises(BrokerUnavailable):
        await exchange.place(ticket(), timeout_s=TIMEOUT_S)
    await exchange.place(ticket(), timeout_s=TIMEOUT_S)


async def test_hidden_order_appears_late(exchange):
    exchange.faults.hidden_reads = 2
    await exchange.place(ticket(tag="LATE"), timeout_s=TIMEOUT_S)
    await exchange.place(ticket(tag="PROMPT"), timeout_s=TIMEOUT_S)

    reads = [await tags(exchange) for _ in range(3)]

    assert reads == [["PROMPT"], ["PROMPT"], ["LATE", "PROMPT"]]


async def test_truncated_book_says_so(exchange):
    for tag in ("A", "B"):
        await exchange.place(ticket(tag=tag), timeout_s=TIMEOUT_S)
    exchange.faults.on(Call.ORDER_BOOK, Truncate())

    read = await exchange.order_book()

    assert not read.complete
    assert [row.tags for row in read.orders] == [("A",)]


@pytest.mark.parametrize("fault", [Unavailable(), LoseAnswer(), LoseRequest()])
async def test_read_that_fails_is_unavailable(exchange, fault):
    order_id = await exchange.place(ticket(), timeout_s=TIMEOUT_S)
    exchange.faults.on(Call.ORDER_BOOK, fault)
    exchange.faults.on(Call.TRADES, fault)

    with pytest.raises(BrokerUnavailable):
        await exchange.order_book()
    with pytest.raises(BrokerUnavailable):
        await exchange.trades(order_id)


async def test_doubled_and_lost_updates(exchange):
    exchange.faults.doubled_updates = 1
    updates = exchange.updates()

    first = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    exchange.faults.lost_updates = 1
    await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    third = await exchange.place(limit(90), timeout_s=TIMEOUT_S)

    assert [(await anext(updates)).broker_order_id for _ in range(3)] == [first, first, third]


async def test_lost_answer_to_a_cancel_cancels_all_the_same(exchange):
    order_id = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    exchange.faults.on(Call.CANCEL, LoseAnswer())

    with pytest.raises(BrokerOutcomeUnknown):
        await exchange.cancel(order_id, timeout_s=3.0)

    [row] = (await exchange.order_book()).orders
    assert row.status == "CANCELLED"
