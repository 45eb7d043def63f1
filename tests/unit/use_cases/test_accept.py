import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_domain.errors import (
    CannotSplit,
    DuplicateOrderUniqueKey,
    InvalidInstrument,
    InvalidOrder,
    InvalidPrice,
    InvalidQuantity,
    InvalidSplitConfig,
    LimitsExceeded,
    PulseError,
    StorageUnavailable,
    TradingHalted,
)
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.ids import ClientId
from pulse_domain.orders.model import NewOrder, OrderType, Product, Source, SplitConfig
from pulse_domain.orders.plan import tag_of_only_execution
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.order_store import Accepted, AtOnce
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.risk import RiskLimits
from pulse_domain.testing.factories import TAG_PREFIX, order_request
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder
from tests.unit.use_cases.desk import NIFTY, Desk


async def test_accepted_order_is_stored_and_the_splitter_woken(desk: Desk) -> None:
    accepted = await desk.accept("key-1")

    assert (accepted.order_unique_key, accepted.replayed) == ("key-1", False)
    assert (await desk.view(accepted.order_id)).summary.state is OrderState.ACCEPTED
    assert desk.queue.jobs == [Job(JobKind.SPLIT_ORDER, accepted.order_id)]


async def test_order_keeps_the_terms_of_its_acceptance(desk: Desk) -> None:
    accepted = await desk.accept(instrument=NIFTY, total_quantity=150)
    terms = desk.master.listed[NIFTY]
    desk.master.listed[NIFTY] = InstrumentTerms(lot_size=50)

    order = (await desk.view(accepted.order_id)).order

    assert order.terms == terms
    assert order.request.product is Product.NRML


async def test_order_carries_where_it_came_from(desk: Desk) -> None:
    accepted = await desk.accept_order(
        AcceptCommand(
            client_id=ClientId("desk-9"),
            order_unique_key="k",
            request=order_request(),
            source=Source.TELEGRAM,
            request_id="req-1",
            trace_id="trace-1",
        )
    )

    order = (await desk.view(accepted.order_id)).order

    assert (order.client_id, order.source) == ("desk-9", Source.TELEGRAM)
    assert (order.request_id, order.trace_id) == ("req-1", "trace-1")


async def test_same_request_again_is_the_first_order_and_wakes_nobody(desk: Desk) -> None:
    first = await desk.accept()

    again = await desk.accept()

    assert (again.order_id, again.replayed) == (first.order_id, True)
    assert len(desk.queue.jobs) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"product": None}, {"product": Product.CNC}),
        (
            {"order_type": OrderType.LIMIT, "limit_price": Decimal("1500")},
            {"order_type": OrderType.LIMIT, "limit_price": Decimal("1500.00")},
        ),
    ],
    ids=["product by segment", "price in other digits"],
)
async def test_same_request_in_other_words_is_the_same(
    desk: Desk, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = await desk.accept(**one)

    again = await desk.accept(**other)

    assert (again.order_id, again.replayed) == (first.order_id, True)


async def test_other_request_under_the_same_key_is_refused(desk: Desk) -> None:
    first = await desk.accept()

    with pytest.raises(DuplicateOrderUniqueKey) as refused:
        await desk.accept(total_quantity=200)

    assert refused.value.details["existing_order_id"] == first.order_id


async def test_identical_requests_at_once_make_one_order_and_one_hint(desk: Desk) -> None:
    answers = await asyncio.gather(*[desk.accept() for _ in range(20)])

    assert sum(not answer.replayed for answer in answers) == 1
    assert len({answer.order_id for answer in answers}) == 1
    assert len(desk.queue.jobs) == 1


@pytest.mark.parametrize(
    ("request_fields", "error", "field"),
    [
        ({"instrument": Instrument.parse("NSE:NOSUCH")}, InvalidInstrument, "instrument"),
        ({"total_quantity": 0}, InvalidQuantity, "total_quantity"),
        ({"instrument": NIFTY, "total_quantity": 100}, InvalidQuantity, "total_quantity"),
        ({"order_type": OrderType.LIMIT}, InvalidPrice, "limit_price"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal("10.03")}, InvalidPrice, "limit_price"),
        ({"limit_price": Decimal(10)}, InvalidPrice, "limit_price"),
        ({"product": Product.NRML}, InvalidOrder, "product"),
        (
            {"split_config": SplitConfig(num_splits=1, duration_minutes=5)},
            InvalidSplitConfig,
            "split_config.num_splits",
        ),
        (
            {
                "order_type": OrderType.SL_M,
                "trigger_price": Decimal(10),
                "split_config": SplitConfig(num_splits=2, duration_minutes=5),
            },
            InvalidSplitConfig,
            "split_config",
        ),
    ],
)
async def test_request_against_the_rules_names_its_field_and_leaves_no_trace(
    desk: Desk, request_fields: dict[str, Any], error: type[PulseError], field: str
) -> None:
    with pytest.raises(error) as refused:
        await desk.accept(**request_fields)

    assert refused.value.details["field"] == field
    assert await desk.store.list_orders(None, limit=1) == []
    assert desk.queue.jobs == []


async def test_more_slices_than_lots_are_refused_with_the_feasible_number(desk: Desk) -> None:
    with pytest.raises(CannotSplit) as refused:
        await desk.accept(
            instrument=NIFTY,
            total_quantity=5 * 75,
            split_config=SplitConfig(num_splits=6, duration_minutes=10),
        )

    assert refused.value.details["max_splits"] == 5
    assert await desk.store.list_orders(None, limit=1) == []


async def test_more_executions_than_the_broker_takes_are_refused(desk: Desk) -> None:
    with pytest.raises(LimitsExceeded) as refused:
        await desk.accept(instrument=NIFTY, total_quantity=1800 * 500)

    assert refused.value.details["feasible"] == desk.limits.per_minute
    assert desk.queue.jobs == []


async def test_order_without_key_and_body_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidOrder) as refused:
        await desk.accept(None)

    assert refused.value.details["field"] == "order_unique_key"


async def test_body_sent_again_within_the_window_is_the_first_order(desk: Desk) -> None:
    first = await desk.accept(None, digest="d")
    await desk.pass_time(29)

    again = await desk.accept(None, digest="d")

    assert again == Accepted(order_id=first.order_id, order_unique_key=first.order_unique_key, replayed=True)
    assert first.order_unique_key.startswith("wh_")
    assert len(desk.queue.jobs) == 1


async def test_body_sent_again_later_is_a_new_order(desk: Desk) -> None:
    first = await desk.accept(None, digest="d")
    await desk.pass_time(31)

    second = await desk.accept(None, digest="d")

    assert not second.replayed
    assert second.order_id != first.order_id


async def test_key_counts_more_than_the_body(desk: Desk) -> None:
    first = await desk.accept("k-1", digest="d")
    second = await desk.accept("k-2", digest="d")
    await desk.pass_time(60)
    again = await desk.accept("k-1", digest="d")

    assert first.order_id != second.order_id
    assert (again.order_id, again.replayed) == (first.order_id, True)


@pytest.mark.parametrize("seconds", [-59, 0, 7 * 24 * 3600])
async def test_start_may_be_now_or_up_to_a_week_ahead(desk: Desk, seconds: float) -> None:
    start = desk.clock.now() + timedelta(seconds=seconds)

    accepted = await desk.accept(start_at=start)

    assert (await desk.view(accepted.order_id)).order.starts_at == start


@pytest.mark.parametrize("seconds", [-61, 7 * 24 * 3600 + 1])
async def test_start_in_the_past_or_far_ahead_is_refused(desk: Desk, seconds: float) -> None:
    with pytest.raises(InvalidOrder) as refused:
        await desk.accept(start_at=desk.clock.now() + timedelta(seconds=seconds))

    assert refused.value.details["field"] == "start_at"
    assert desk.queue.jobs == []


async def test_request_whose_start_has_passed_since_is_still_the_same(desk: Desk) -> None:
    start = desk.clock.now() + timedelta(seconds=10)
    first = await desk.accept(start_at=start)
    await desk.pass_time(3600)

    again = await desk.accept(start_at=start)

    assert again == Accepted(order_id=first.order_id, order_unique_key="key-1", replayed=True)
    with pytest.raises(DuplicateOrderUniqueKey):
        await desk.accept(start_at=start, total_quantity=7)


async def test_body_whose_start_has_passed_since_is_still_the_same(desk: Desk) -> None:
    start = desk.clock.now() - timedelta(seconds=50)
    first = await desk.accept(None, digest="d", start_at=start)
    await desk.pass_time(20)

    again = await desk.accept(None, digest="d", start_at=start)

    assert (again.order_id, again.replayed) == (first.order_id, True)


async def test_request_is_still_the_same_when_its_instrument_has_gone(desk: Desk) -> None:
    first = await desk.accept(instrument=NIFTY, total_quantity=75)
    del desk.master.listed[NIFTY]

    again = await desk.accept(instrument=NIFTY, total_quantity=75)

    assert (again.order_id, again.replayed) == (first.order_id, True)


async def test_halted_trading_takes_no_new_order(desk: Desk) -> None:
    first = await desk.accept("k-1")
    await desk.halt("operator", "")

    with pytest.raises(TradingHalted):
        await desk.accept("k-2")

    assert (await desk.accept("k-1")).order_id == first.order_id
    assert len(desk.queue.jobs) == 1


async def test_order_that_may_not_be_stored_wakes_nobody(desk: Desk) -> None:
    class LosingStore(InMemoryOrderStore):
        async def accept(
            self, new: NewOrder, limits: RiskLimits | None = None, at_once: AtOnce | None = None
        ) -> Accepted:
            await super().accept(new, limits, at_once)
            raise StorageUnavailable

    lost = LosingStore(desk.clock)
    accept = AcceptOrder(lost, desk.master, desk.queue, desk.clock, desk.ids, desk.limits)
    command = AcceptCommand(
        client_id=ClientId("desk-1"), order_unique_key="k", request=order_request(), source=Source.API
    )

    with pytest.raises(StorageUnavailable):
        await accept(command)

    assert desk.queue.jobs == []
    # Nothing is lost: the splitter's poll finds what was stored after all.
    assert len(await lost.claim_orders(10, "splitter", 60.0)) == 1


# --- a process that sends orders itself


def sending(desk: Desk, answer: Callable[[NewOrder], Awaitable[Accepted | None]]) -> list[NewOrder]:
    """Have the desk's orders tried to be sent at once; what was tried."""
    tried: list[NewOrder] = []

    async def send(new: NewOrder, limits: RiskLimits | None) -> Accepted | None:
        tried.append(new)
        return await answer(new)

    desk.accept_order = AcceptOrder(
        desk.store, desk.master, desk.queue, desk.clock, desk.ids, desk.limits, send_at_once=send
    )
    return tried


async def test_an_order_that_is_sent_at_once_wakes_nobody(desk: Desk) -> None:
    async def send(new: NewOrder) -> Accepted:
        tag = tag_of_only_execution(new, TAG_PREFIX)
        assert tag is not None
        at_once = AtOnce(executor="executor-1", lease_s=60.0, tag=tag, grace_s=60.0)
        return await desk.store.accept(new, None, at_once)

    tried = sending(desk, send)

    accepted = await desk.accept()

    assert accepted.claim is not None
    assert [new.order_id for new in tried] == [accepted.order_id]
    assert desk.queue.jobs == []


async def test_an_order_that_is_to_wait_for_its_turn_is_accepted_as_any_other(desk: Desk) -> None:
    async def wait(new: NewOrder) -> None:
        return None

    sending(desk, wait)

    accepted = await desk.accept()

    assert accepted.claim is None
    assert (await desk.view(accepted.order_id)).summary.state is OrderState.ACCEPTED
    assert desk.queue.jobs == [Job(JobKind.SPLIT_ORDER, accepted.order_id)]


async def test_a_claim_that_was_lost_is_no_reason_not_to_wake_the_splitter(desk: Desk) -> None:
    async def lose(new: NewOrder) -> Accepted:
        return await desk.store.accept(new)

    sending(desk, lose)

    accepted = await desk.accept()

    assert desk.queue.jobs == [Job(JobKind.SPLIT_ORDER, accepted.order_id)]


async def test_what_the_store_refuses_on_the_way_is_told(desk: Desk) -> None:
    async def halted(new: NewOrder) -> Accepted:
        raise TradingHalted

    sending(desk, halted)

    with pytest.raises(TradingHalted):
        await desk.accept()
