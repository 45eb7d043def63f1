"""What every order store promises.

A subclass overrides three fixtures, `store` (empty at every test), `pass_time` and `presence`. Tests name
instants relative to the stored order's creation, so that the store's own clock is the only one that counts;
they let time pass only where a promise is about just that, and do not compare a journal with the state
afterwards, as an adapter may let time pass by moving what it stored.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Protocol, get_args

import pytest
from msgspec.structs import replace

from pulse_domain.errors import DuplicateOrderUniqueKey, IllegalTransition, ReconcileRequired, TradingHalted
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import LATE_FILL, OVERFILLED, SECOND_ORDER, UNPLANNED, Execution, apply
from pulse_domain.orders.ids import BrokerOrderId, ClientId, OrderId
from pulse_domain.orders.journal import (
    ATTEMPTS_SPENT,
    CANCELLED_BEFORE_SPLIT,
    OrderHistory,
    accepted_event,
    planned_slices,
    replay,
)
from pulse_domain.orders.model import (
    NewOrder,
    Order,
    OrderType,
    Product,
    Side,
    Source,
    SplitConfig,
    Validity,
)
from pulse_domain.orders.status import (
    ExecutionStatus,
    OrderQueueStatus,
    OrderState,
    Phase,
    SliceOutcome,
    SliceStage,
    TerminalReason,
)
from pulse_domain.orders.summary import Quantities, summarise_history
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.order_store import (
    LATE_S,
    ArchiveResult,
    Booked,
    BookFindings,
    Booking,
    BookResult,
    BrokerCall,
    CancelResult,
    Claim,
    OrderStore,
    OrderView,
    PauseResult,
    Selection,
    SplitResult,
    Stranger,
    Tracked,
)
from pulse_domain.testing.factories import CLIENT, new_order, plan, split_order
from pulse_domain.testing.sequential_ids import SequentialIds

PassTime = Callable[[float], Awaitable[None]]
Restore = Callable[[], Awaitable[None]]


class Presence(Protocol):
    async def hold(self) -> bool: ...

    async def release(self) -> None: ...


# The presence of a named executor at the store under test.
PresenceOf = Callable[[str], Presence]

OTHER_CLIENT = ClientId("desk-2")
# Past for every clock that a store may keep, with microseconds that must survive.
AT = datetime(2025, 1, 6, 4, 30, 0, 123456, tzinfo=UTC)
LATER = AT + timedelta(seconds=30, microseconds=1)
FAR = datetime(2099, 1, 5, 4, 30, tzinfo=UTC)
SAYING = "the broker's “own” words, 100 % \\ {'as': \"sent\"} ₹"

APPLIED, UNCHANGED, REFUSED = BookResult.APPLIED, BookResult.UNCHANGED, BookResult.REFUSED


# --- events, on the first execution of the first slice unless told otherwise ---------------------


def fill_of(
    trade_id: str, quantity: int, *, price: str = "1402.35", broker_order_id: str = "B-1", at: datetime = AT
) -> ev.Fill:
    return ev.Fill(
        trade_id=trade_id,
        broker_order_id=BrokerOrderId(broker_order_id),
        quantity=quantity,
        price=Decimal(price),
        at=at,
    )


def accepted(broker_order_id: str = "B-1", seq: int = 1, chunk: int = 0) -> ev.ExecutionAccepted:
    return ev.ExecutionAccepted(seq=seq, chunk=chunk, broker_order_id=BrokerOrderId(broker_order_id))


def filled(
    trade_id: str,
    quantity: int,
    *,
    seq: int = 1,
    chunk: int = 0,
    price: str = "1402.35",
    broker_order_id: str = "B-1",
) -> ev.ExecutionFilled:
    fill = fill_of(trade_id, quantity, price=price, broker_order_id=broker_order_id)
    return ev.ExecutionFilled(seq=seq, chunk=chunk, fill=fill)


def unanswered(
    attempt: int = 1, *, ended: bool = False, seq: int = 1, chunk: int = 0
) -> ev.ExecutionUnanswered:
    return ev.ExecutionUnanswered(
        seq=seq, chunk=chunk, attempt=attempt, reason="TIMEOUT", call_ended_at=AT if ended else None
    )


def released(
    attempt: int = 1, *, not_before: datetime = AT, seq: int = 1, chunk: int = 0
) -> ev.ExecutionReleased:
    return ev.ExecutionReleased(
        seq=seq, chunk=chunk, attempt=attempt, reason="REFUSED_CONNECTION", not_before=not_before
    )


def rescheduled(was_due_at: datetime, due_at: datetime) -> ev.ExecutionRescheduled:
    return ev.ExecutionRescheduled(seq=1, chunk=0, was_due_at=was_due_at, due_at=due_at)


def absence(at: datetime, attempt: int = 1) -> ev.ExecutionAbsenceSeen:
    return ev.ExecutionAbsenceSeen(seq=1, chunk=0, attempt=attempt, read_began_at=at)


def cumulative(quantity: int, price: str = "1402.40") -> ev.ExecutionCumulativeReported:
    return ev.ExecutionCumulativeReported(seq=1, chunk=0, quantity=quantity, average_price=Decimal(price))


def replacement(quantity: int, limit_price: str | None = None) -> ev.ExecutionReplaceRequested:
    price = None if limit_price is None else Decimal(limit_price)
    return ev.ExecutionReplaceRequested(
        seq=1, chunk=0, replacement=ev.Replacement(quantity=quantity, limit_price=price)
    )


FIRST = {"seq": 1, "chunk": 0}
WITHDRAWN = ev.ExecutionWithdrawn(**FIRST)
LAPSED = ev.ExecutionLapsed(**FIRST)
COMPLETED = ev.ExecutionCompleted(**FIRST)
CANCELLED = ev.ExecutionCancelled(**FIRST, reason=SAYING)
REJECTED = ev.ExecutionRejected(**FIRST, reason_code="INSUFFICIENT_FUNDS", message=SAYING)
EXPIRED = ev.ExecutionExpired(**FIRST)
FAILED = ev.ExecutionFailed(**FIRST, attempt=1, reason="PROVEN_ABSENT")
UNRESOLVED = ev.ExecutionUnresolved(**FIRST, attempt=1, reason="NOT_PROVABLE")
FOUND = ev.ExecutionResolvedFound(
    **FIRST, broker_order_id=BrokerOrderId("B-1"), resolved_by="asha", note=SAYING
)
ABSENT = ev.ExecutionResolvedAbsent(**FIRST, attempt=1, resolved_by="asha", note=SAYING)
CANCEL_REQUESTED = ev.ExecutionCancelRequested(**FIRST)
CANCEL_REFUSED = ev.ExecutionCancelRefused(**FIRST, reason="ALREADY_COMPLETE")
REPLACED = ev.ExecutionReplaced(**FIRST)
REPLACE_REFUSED = ev.ExecutionReplaceRefused(**FIRST, reason="TOO_LATE")
TRIGGERED = ev.ExecutionResting(**FIRST, trigger_pending=False)
AWAITS_TRIGGER = ev.ExecutionResting(**FIRST, trigger_pending=True)

CLAIM = None  # in a story: claimed through the store
# What may be told of one execution of 100 units, in some order. Repeats and refusals are part of it.
STORIES: dict[str, tuple[ev.AnyExecutionEvent | None, ...]] = {
    "rests, triggers and fills": (
        CLAIM, accepted(), accepted(), AWAITS_TRIGGER, AWAITS_TRIGGER, TRIGGERED,
        filled("T-1", 40), filled("T-1", 40), filled("T-2", 60, price="1402.4"), COMPLETED, COMPLETED,
    ),
    "refused connection, then silence, then absence, then a no": (
        CLAIM, released(), CLAIM, unanswered(2), unanswered(2, ended=True), unanswered(2, ended=True),
        absence(AT, 2), absence(AT, 2), absence(LATER, 2), released(2), CLAIM, REJECTED, REJECTED,
    ),
    "given up as absent, and found after all": (
        CLAIM, unanswered(), FAILED, FAILED, accepted(), filled("T-1", 100), COMPLETED,
    ),
    "given up as unresolved, and settled by a person": (CLAIM, unanswered(), UNRESOLVED, FAILED, FAILED),
    "given up as unresolved, and filled after all": (CLAIM, unanswered(), UNRESOLVED, filled("T-1", 30)),
    "given up as unresolved, and cancelled at the broker": (CLAIM, unanswered(), UNRESOLVED, CANCELLED),
    "unresolved, and found by a person": (
        CLAIM, FOUND, unanswered(), UNRESOLVED, FOUND, FOUND, filled("T-1", 40), ABSENT, CANCELLED, FOUND,
    ),
    "unknown, found by a person under another id than the broker's": (
        CLAIM, unanswered(), FOUND, accepted("B-2"), filled("T-1", 100, broker_order_id="B-2"),
    ),
    "unknown, not found by a person, and filled after all": (
        CLAIM, unanswered(), replace(ABSENT, attempt=2), ABSENT, ABSENT, filled("T-1", 30),
    ),
    "a person has no say where nothing is in doubt": (FOUND, ABSENT, WITHDRAWN, FOUND, ABSENT),
    "late, and given another instant": (
        CLAIM, released(not_before=FAR), rescheduled(FAR, LATER), rescheduled(FAR, LATER), rescheduled(FAR, AT),
        WITHDRAWN, rescheduled(LATER, AT),
    ),
    "live on a day that is over, and told after all": (
        CLAIM, accepted(), filled("T-1", 30), UNRESOLVED, UNRESOLVED, accepted(), filled("T-2", 70), COMPLETED,
    ),
    "withdrawn": (WITHDRAWN, WITHDRAWN),
    "lapsed, and filled after all": (LAPSED, LAPSED, filled("T-1", 100), filled("T-1", 100)),
    "cancel refused, asked again, crossed by a fill": (
        CLAIM, CANCEL_REQUESTED, CANCEL_REQUESTED, accepted(), filled("T-1", 30), CANCEL_REFUSED,
        CANCEL_REFUSED, CANCEL_REQUESTED, CANCELLED, CANCELLED, filled("T-2", 10), CANCEL_REFUSED,
    ),
    "cancel waits for adoption": (CLAIM, unanswered(), CANCEL_REQUESTED, accepted(), CANCELLED),
    "amended below the plan": (
        CLAIM, accepted(), replacement(80), replacement(80), replacement(70), REPLACE_REFUSED,
        REPLACE_REFUSED, replacement(50, "1400.50"), filled("T-1", 60), REPLACED, REPLACED, COMPLETED,
    ),
    "a trade is busted, and told again": (
        CLAIM, accepted(), filled("T-1", 60), filled("T-2", 40),
        ev.ExecutionFillBusted(**FIRST, trade_id="T-1"), ev.ExecutionFillBusted(**FIRST, trade_id="T-1"),
        filled("T-1", 60), ev.ExecutionFillBusted(**FIRST, trade_id="T-9"),
    ),
    "totals run ahead of the trades": (
        CLAIM, accepted(), cumulative(70), cumulative(70), cumulative(50), filled("T-1", 30),
        filled("T-2", 40, price="1402.0001"), cumulative(90, "1402.41"), EXPIRED, filled("T-3", 20), EXPIRED,
    ),
    "overfilled": (CLAIM, accepted(), filled("T-1", 60), filled("T-2", 60), COMPLETED),
    "a second order under the same tag": (CLAIM, accepted("B-1"), accepted("B-2"), accepted("B-2"), COMPLETED),
    "known to the broker, not to us": (accepted(), filled("T-1", 100)),
    "ended at the broker before we sent it, as far as we knew": (CANCELLED, accepted()),
    "refusals": (
        released(), unanswered(), CANCEL_REQUESTED, AWAITS_TRIGGER, FAILED,
        CLAIM, WITHDRAWN, LAPSED, released(7), unanswered(2), cumulative(10), REPLACED, absence(AT),
        accepted(), released(), unanswered(), FAILED, rescheduled(AT, FAR), replacement(101), absence(AT),
        filled("T-1", 100), replacement(100), CANCEL_REQUESTED,
        COMPLETED, CANCEL_REQUESTED, replacement(90), REPLACED, CANCELLED, REJECTED, EXPIRED, WITHDRAWN,
    ),
}  # fmt: skip


def stranger(broker_order_id: str) -> Stranger:
    return Stranger(
        broker_order_id=broker_order_id, tag="T1" + 18 * "X", instrument="NSE:RELIANCE", side="BUY",
        quantity=40, filled_quantity=0, status="OPEN", placed_at=AT,
    )  # fmt: skip


# --- reading a store and comparing it with the model ---------------------------------------------


def booking(order: Order | OrderId, event: ev.AnyExecutionEvent) -> Booking:
    return Booking(order_id=order.order_id if isinstance(order, Order) else order, event=event)


async def execution_of(store: OrderStore, order: Order | OrderId, seq: int = 1, chunk: int = 0) -> Execution:
    order_id = order.order_id if isinstance(order, Order) else order
    return (await store.slices(order_id))[seq - 1].executions[chunk]


async def whole_journal(store: OrderStore, order_id: OrderId) -> list[ev.JournalEntry]:
    return await store.journal(order_id, after_seq=0, limit=100_000)


def as_accepted(order: Order) -> Order:
    """The order as it was stored first."""
    return replace(
        order,
        queue_status=OrderQueueStatus.PENDING,
        skip_reason=None,
        failure=None,
        split_attempt=0,
        cancel_requested_at=None,
        paused_at=None,
    )


async def check_history(store: OrderStore, order: Order | OrderId) -> OrderHistory:
    """Assert that the journal, replayed, is the stored state, and that the quantities add up."""
    order_id = order.order_id if isinstance(order, Order) else order
    view = await store.get(order_id)
    assert view is not None
    journal = await whole_journal(store, order_id)
    history = replay(as_accepted(view.order), journal)
    assert [entry.seq for entry in journal] == list(range(1, len(journal) + 1))
    assert view.last_seq == len(journal)
    assert view.order == history.order
    assert await store.slices(order_id) == list(history.slices)
    assert view.summary == summarise_history(history)
    assert view.summary.quantities.balanced, view.summary.quantities
    return history


async def tell(store: OrderStore, order: Order, event: ev.AnyExecutionEvent) -> BookResult:
    """Book one event, and assert that it did what `orders.execution.apply` says, no more and no less."""
    before = await execution_of(store, order, event.seq, event.chunk)
    result, expected = modelled(before, event)
    journal = await whole_journal(store, order.order_id)

    [booked] = await store.book([booking(order, event)])

    assert booked == Booked(result, expected), event
    assert await execution_of(store, order, event.seq, event.chunk) == expected
    added = (await whole_journal(store, order.order_id))[len(journal) :]
    assert [entry.event for entry in added] == ([event] if result is APPLIED else [])
    await check_history(store, order)
    return result


def modelled(before: Execution, event: ev.AnyExecutionEvent) -> tuple[BookResult, Execution]:
    try:
        after = apply(before, event)
    except IllegalTransition:
        return REFUSED, before
    return (UNCHANGED, before) if after is before else (APPLIED, after)


async def claim(store: OrderStore, limit: int = 100, lease_s: float = 60.0) -> list[Claim]:
    return await store.claim_executions(limit, "executor", lease_s)


def names(found: Iterable[Tracked | Claim]) -> list[str]:
    return [it.execution.execution_id for it in found]


class OrderStoreContract:
    """Subclass it and override `store` and `pass_time`; `ids` may stay."""

    @pytest.fixture
    def store(self) -> OrderStore:
        """An empty store; trading is not halted."""
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def pass_time(self) -> PassTime:
        """Lets seconds pass for the store."""
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def presence(self) -> PresenceOf:
        """Makes the presence of a named executor at the store."""
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def restore(self) -> Restore:
        """Makes the store another one, as a backup that is restored elsewhere is."""
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def ids(self) -> Ids:
        return SequentialIds()

    # --- acceptance

    async def test_order_reads_back_as_it_was_accepted(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(
            ids,
            client_id=OTHER_CLIENT,
            order_unique_key="alert:42_a.b-c",
            instrument=Instrument.parse("NFO:M&M26JANFUT"),
            side=Side.SELL,
            total_quantity=7500,
            split_config=SplitConfig(num_splits=12, duration_minutes=60, randomize=False),
            start_at=AT,
            order_type=OrderType.LIMIT,
            limit_price=Decimal("3104.0500"),
            product=Product.MIS,
            validity=Validity.IOC,
            strategy_tag="mean reversion ₹",
            terms=InstrumentTerms(
                lot_size=75, tick_size=Decimal("0.01"), freeze_quantity=1800, units_per_broker_quantity=75
            ),
            source=Source.TRADINGVIEW,
            request_id="req-1",
            trace_id="0af7651916cd43dd8448eb211c80319c",
        )

        answer = await store.accept(new)
        view = await store.get(new.order_id)

        assert (answer.order_id, answer.order_unique_key, answer.replayed) == (
            new.order_id, "alert:42_a.b-c", False,
        )  # fmt: skip
        assert view is not None
        assert view.order == Order(
            order_id=new.order_id,
            client_id=new.client_id,
            order_unique_key=new.order_unique_key,
            request=new.request,
            terms=new.terms,
            source=new.source,
            request_id=new.request_id,
            trace_id=new.trace_id,
            created_at=view.order.created_at,
            starts_at=AT,
            ends_at=AT + timedelta(minutes=60),
        )
        assert view.order.request.fingerprint() == new.fingerprint
        assert view.order.created_at.utcoffset() is not None
        assert view.summary.state is OrderState.ACCEPTED
        assert view.summary.quantities == Quantities(total=7500, unsent=7500)

    async def test_trigger_order_without_split_reads_back(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(ids, order_type=OrderType.SL, limit_price=Decimal(101), trigger_price=Decimal("100.95"))

        await store.accept(new)

        view = await store.get(new.order_id)
        assert view is not None
        assert view.order.request == new.request

    async def test_window_without_a_start_begins_at_the_stores_own_now(
        self, store: OrderStore, ids: Ids
    ) -> None:
        new = new_order(ids, split_config=SplitConfig(num_splits=2, duration_minutes=30))

        await store.accept(new)

        view = await store.get(new.order_id)
        assert view is not None
        assert view.order.starts_at == view.order.created_at
        assert view.order.ends_at == view.order.created_at + timedelta(minutes=30)

    async def test_window_that_the_market_has_moved_is_kept(self, store: OrderStore, ids: Ids) -> None:
        split = SplitConfig(num_splits=2, duration_minutes=30)
        moved = (AT + timedelta(hours=1), AT + timedelta(hours=1, minutes=20))
        plain = new_order(ids, start_at=AT, split_config=split, window=moved)
        alert = new_order(ids, split_config=split, window=moved, body_digest="d" * 64)

        for new in (plain, alert):
            await store.accept(new)

            view = await store.get(new.order_id)
            assert view is not None
            assert (view.order.starts_at, view.order.ends_at) == moved
            assert view.order.request == new.request

    async def test_first_journal_row_is_the_acceptance(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(ids)

        await store.accept(new)

        [entry] = await whole_journal(store, new.order_id)
        assert (entry.seq, entry.event) == (1, accepted_event(new))
        await check_history(store, new.order_id)

    async def test_same_request_under_the_same_key_is_the_first_order(
        self, store: OrderStore, ids: Ids
    ) -> None:
        first = await store.accept(new_order(ids, order_unique_key="k"))

        again = await store.accept(new_order(ids, order_unique_key="k"))

        assert again == replace(first, replayed=True)
        assert len(await store.list_orders(None, limit=10)) == 1
        assert len(await whole_journal(store, first.order_id)) == 1

    async def test_accept_repeated_as_it_was_is_a_replay(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(ids)

        first, again = await store.accept(new), await store.accept(new)

        assert again == replace(first, replayed=True)

    async def test_replay_finds_an_order_that_is_long_done(self, store: OrderStore, ids: Ids) -> None:
        first = await store.accept(new_order(ids, order_unique_key="k"))
        await store.request_cancel(first.order_id, "desk-1")

        again = await store.accept(new_order(ids, order_unique_key="k"))

        assert again == replace(first, replayed=True)

    async def test_other_request_under_the_same_key_is_a_conflict(self, store: OrderStore, ids: Ids) -> None:
        first = await store.accept(new_order(ids, order_unique_key="k"))

        with pytest.raises(DuplicateOrderUniqueKey) as refused:
            await store.accept(new_order(ids, order_unique_key="k", total_quantity=101))

        assert refused.value.details == {"existing_order_id": first.order_id}
        assert len(await store.list_orders(None, limit=10)) == 1

    async def test_key_of_another_client_is_another_key(self, store: OrderStore, ids: Ids) -> None:
        first = await store.accept(new_order(ids, order_unique_key="k"))

        other = await store.accept(new_order(ids, order_unique_key="k", client_id=OTHER_CLIENT))

        assert not other.replayed
        assert other.order_id != first.order_id

    async def test_key_is_compared_to_the_letter(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids, order_unique_key="k"))

        other = await store.accept(new_order(ids, order_unique_key="K"))

        assert not other.replayed

    async def test_what_a_key_stands_for_can_be_looked_up(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(ids, order_unique_key="k")
        await store.accept(new)

        assert await store.find_accepted(CLIENT, "k") == (new.order_id, new.fingerprint)
        assert await store.find_accepted(OTHER_CLIENT, "k") is None
        assert await store.find_accepted(CLIENT, "k2") is None

    async def test_fifty_identical_requests_at_once_make_one_order(self, store: OrderStore, ids: Ids) -> None:
        requests = [new_order(ids, order_unique_key="k") for _ in range(50)]

        answers = await asyncio.gather(*[store.accept(new) for new in requests])

        assert Counter(answer.replayed for answer in answers) == {False: 1, True: 49}
        assert len({answer.order_id for answer in answers}) == 1
        [view] = await store.list_orders(None, limit=100)
        assert view.order.order_id == answers[0].order_id
        assert len(await whole_journal(store, view.order.order_id)) == 1

    async def test_different_requests_racing_for_a_key_leave_one_order(
        self, store: OrderStore, ids: Ids
    ) -> None:
        requests = [new_order(ids, order_unique_key="k", total_quantity=100 + i % 2) for i in range(20)]

        answers = await asyncio.gather(*[store.accept(new) for new in requests], return_exceptions=True)

        [view] = await store.list_orders(None, limit=100)
        for new, answer in zip(requests, answers, strict=True):
            if new.request == view.order.request:
                assert not isinstance(answer, BaseException), answer
                assert answer.order_id == view.order.order_id
            else:
                assert isinstance(answer, DuplicateOrderUniqueKey)
                assert answer.details == {"existing_order_id": view.order.order_id}

    async def test_body_seen_again_within_the_window_is_the_first_order(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        first = await store.accept(new_order(ids, body_digest="d"))
        await pass_time(20)

        again = await store.accept(new_order(ids, body_digest="d"))

        assert again == replace(first, replayed=True)
        assert len(await store.list_orders(None, limit=10)) == 1

    async def test_window_counts_from_the_first_sight(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        first = await store.accept(new_order(ids, body_digest="d"))
        await pass_time(20)
        await store.accept(new_order(ids, body_digest="d"))
        await pass_time(20)

        second = await store.accept(new_order(ids, body_digest="d"))
        third = await store.accept(new_order(ids, body_digest="d"))

        assert not second.replayed
        assert second.order_id != first.order_id
        assert third == replace(second, replayed=True)

    async def test_a_sighted_order_is_found_while_its_window_runs(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        first = await store.accept(new_order(ids, body_digest="d"))

        found = await store.find_sighted(CLIENT, "d")
        others = [await store.find_sighted(CLIENT, "e"), await store.find_sighted(OTHER_CLIENT, "d")]
        await pass_time(31)

        assert found == replace(first, replayed=True)
        assert others == [None, None]
        assert await store.find_sighted(CLIENT, "d") is None

    async def test_body_is_known_by_its_digest_alone(self, store: OrderStore, ids: Ids) -> None:
        first = await store.accept(new_order(ids, body_digest="d"))

        again = await store.accept(new_order(ids, body_digest="d", strategy_tag="read in another way"))

        assert again == replace(first, replayed=True)

    async def test_other_bodies_and_other_senders_are_other_orders(self, store: OrderStore, ids: Ids) -> None:
        answers = [
            await store.accept(new_order(ids, body_digest="d")),
            await store.accept(new_order(ids, body_digest="e")),
            await store.accept(new_order(ids, body_digest="d", client_id=OTHER_CLIENT)),
        ]

        assert [answer.replayed for answer in answers] == [False] * 3
        assert len({answer.order_id for answer in answers}) == 3

    async def test_twenty_identical_bodies_at_once_make_one_order(self, store: OrderStore, ids: Ids) -> None:
        requests = [new_order(ids, body_digest="d") for _ in range(20)]

        answers = await asyncio.gather(*[store.accept(new) for new in requests])

        assert Counter(answer.replayed for answer in answers) == {False: 1, True: 19}
        assert len({(answer.order_id, answer.order_unique_key) for answer in answers}) == 1
        assert len(await store.list_orders(None, limit=100)) == 1

    async def test_halted_store_refuses_new_orders(self, store: OrderStore, ids: Ids) -> None:
        await store.halt("operator", "fat finger")

        with pytest.raises(TradingHalted):
            await store.accept(new_order(ids))
        with pytest.raises(TradingHalted):
            await store.accept(new_order(ids, body_digest="d"))

        assert await store.list_orders(None, limit=10) == []

    async def test_halted_store_still_knows_what_it_accepted(self, store: OrderStore, ids: Ids) -> None:
        keyed = await store.accept(new_order(ids, order_unique_key="k"))
        hooked = await store.accept(new_order(ids, body_digest="d"))
        await store.halt("operator", "")

        assert await store.accept(new_order(ids, order_unique_key="k")) == replace(keyed, replayed=True)
        assert await store.accept(new_order(ids, body_digest="d")) == replace(hooked, replayed=True)
        with pytest.raises(DuplicateOrderUniqueKey):
            await store.accept(new_order(ids, order_unique_key="k", total_quantity=7))

    async def test_refused_request_may_be_sent_again_after_the_halt(self, store: OrderStore, ids: Ids) -> None:
        await store.halt("operator", "")
        for again in (new_order(ids, order_unique_key="k"), new_order(ids, body_digest="d")):
            with pytest.raises(TradingHalted):
                await store.accept(again)
        await store.resume("operator", "")

        assert not (await store.accept(new_order(ids, order_unique_key="k"))).replayed
        assert not (await store.accept(new_order(ids, body_digest="d"))).replayed

    # --- cancel

    async def test_cancel_before_the_split_skips_the_order(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(ids)
        await store.accept(new)

        assert await store.request_cancel(new.order_id, "desk-1") is CancelResult.REQUESTED

        history = await check_history(store, new.order_id)
        assert history.order.queue_status is OrderQueueStatus.SKIPPED
        assert history.order.skip_reason == CANCELLED_BEFORE_SPLIT
        assert history.order.cancel_requested_at is not None
        summary = summarise_history(history)
        assert (summary.state, summary.done, summary.quantities.cancelled) == (OrderState.CANCELLED, True, 100)
        assert await store.claim_orders(10, "splitter", 60.0) == []
        assert [entry.event for entry in await whole_journal(store, new.order_id)][1:] == [
            ev.CancelRequested(requested_by="desk-1"),
            ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT),
        ]

    async def test_cancel_during_the_split_drops_the_plan(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        [order] = await store.claim_orders(1, "splitter", 60.0)

        assert await store.request_cancel(order.order_id, "desk-1") is CancelResult.REQUESTED
        assert await store.save_split(order.order_id, plan(order)) is SplitResult.SKIPPED

        history = await check_history(store, order.order_id)
        assert history.order.queue_status is OrderQueueStatus.SKIPPED
        assert history.slices == ()
        assert await store.next_due() is None

    async def test_cancel_after_the_split_stops_all_claims(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[40], [60]])

        assert await store.request_cancel(order.order_id, "desk-1") is CancelResult.REQUESTED

        assert await claim(store) == []
        assert await store.next_due() is None
        assert len(await store.select(Selection.TO_WITHDRAW, limit=10)) == 2
        history = await check_history(store, order)
        assert not summarise_history(history).done

    async def test_paused_order_is_neither_split_nor_claimed_until_it_is_resumed(
        self, store: OrderStore, ids: Ids
    ) -> None:
        split = await split_order(store, ids, [[40], [60]])
        unsplit = await store.accept(new_order(ids, split_config=SplitConfig(num_splits=2, duration_minutes=5)))
        for order_id in (split.order_id, unsplit.order_id):
            assert await store.set_paused(order_id, True, "asha") is PauseResult.CHANGED

        assert await claim(store) == []
        assert await store.claim_orders(10, "splitter", 60.0) == []
        assert await store.next_due() is None
        for order_id in (split.order_id, unsplit.order_id):
            assert (await check_history(store, order_id)).order.paused_at is not None
            assert await store.set_paused(order_id, False, "ravi") is PauseResult.CHANGED

        assert len(await claim(store)) == 2
        [taken] = await store.claim_orders(10, "splitter", 60.0)
        assert taken.order_id == unsplit.order_id
        for order_id in (split.order_id, unsplit.order_id):
            history = await check_history(store, order_id)
            assert history.order.paused_at is None
            told = [entry.event for entry in await whole_journal(store, order_id)]
            assert ev.OrderPaused(paused_by="asha") in told
            assert ev.OrderResumed(resumed_by="ravi") in told

    async def test_pausing_twice_is_pausing_once(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        assert await store.set_paused(order.order_id, False, "asha") is PauseResult.ALREADY

        results = await asyncio.gather(*[store.set_paused(order.order_id, True, f"p-{i}") for i in range(10)])

        assert Counter(results) == {PauseResult.CHANGED: 1, PauseResult.ALREADY: 9}
        told = [entry.event for entry in await whole_journal(store, order.order_id)]
        assert sum(isinstance(event, ev.OrderPaused) for event in told) == 1
        assert await store.set_paused(ids.order_id(), True, "asha") is PauseResult.NOT_FOUND

    async def test_paused_order_whose_window_is_over_is_split_so_that_it_lapses(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        new = new_order(ids, split_config=SplitConfig(num_splits=2, duration_minutes=1))
        await store.accept(new)
        await store.set_paused(new.order_id, True, "asha")
        await pass_time(61)

        [order] = await store.claim_orders(10, "splitter", 60.0)
        assert await store.save_split(order.order_id, plan(order, expires_in_s=60)) is SplitResult.SAVED

        assert await claim(store) == []
        [overdue] = await store.select(Selection.OVERDUE, limit=10)
        assert overdue.order.order_id == new.order_id

    async def test_paused_order_is_not_late(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, due_in_s=-60)
        assert len(await store.select(Selection.LATE, limit=10)) == 1

        await store.set_paused(order.order_id, True, "asha")

        assert await store.select(Selection.LATE, limit=10) == []

    async def test_paused_order_can_be_cancelled(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await store.set_paused(order.order_id, True, "asha")

        await store.request_cancel(order.order_id, "desk-1")

        assert len(await store.select(Selection.TO_WITHDRAW, limit=10)) == 1

    async def test_pause_and_claims_at_once_share_the_executions_out(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[10] for _ in range(10)])

        rounds, _ = await asyncio.gather(
            asyncio.gather(*[store.claim_executions(1, f"x-{i}", 60.0) for i in range(5)]),
            store.set_paused(order.order_id, True, "asha"),
        )

        journal = [entry.event for entry in await whole_journal(store, order.order_id)]
        paused_at = journal.index(ev.OrderPaused(paused_by="asha"))
        assert not any(isinstance(event, ev.ExecutionClaimed) for event in journal[paused_at:])
        assert sum(isinstance(event, ev.ExecutionClaimed) for event in journal) == sum(map(len, rounds))
        assert await claim(store) == []

    async def test_asking_for_a_cancel_twice_is_asking_once(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(ids)
        await store.accept(new)
        await store.request_cancel(new.order_id, "desk-1")
        journal = await whole_journal(store, new.order_id)

        assert await store.request_cancel(new.order_id, "desk-2") is CancelResult.ALREADY

        assert await whole_journal(store, new.order_id) == journal

    async def test_twenty_cancels_at_once_are_noted_once(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)

        results = await asyncio.gather(*[store.request_cancel(order.order_id, f"desk-{i}") for i in range(20)])

        assert Counter(results) == {CancelResult.REQUESTED: 1, CancelResult.ALREADY: 19}
        journal = await whole_journal(store, order.order_id)
        assert sum(isinstance(entry.event, ev.CancelRequested) for entry in journal) == 1

    async def test_cancel_of_an_unknown_order_is_not_found(self, store: OrderStore, ids: Ids) -> None:
        assert await store.request_cancel(ids.order_id(), "desk-1") is CancelResult.NOT_FOUND

    # --- splitting

    async def test_orders_are_claimed_oldest_first_up_to_the_limit(self, store: OrderStore, ids: Ids) -> None:
        order_ids = [(await store.accept(new_order(ids))).order_id for _ in range(5)]

        first = await store.claim_orders(2, "splitter", 60.0)
        rest = await store.claim_orders(10, "splitter", 60.0)

        assert [order.order_id for order in first] == order_ids[:2]
        assert [order.order_id for order in rest] == order_ids[2:]
        assert await store.claim_orders(10, "splitter", 60.0) == []

    async def test_claimed_order_carries_its_attempt(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))

        [order] = await store.claim_orders(1, "splitter-7", 60.0)

        assert (order.split_attempt, order.queue_status) == (1, OrderQueueStatus.IN_PROGRESS)
        history = await check_history(store, order)
        assert history.order == order
        journal = await whole_journal(store, order.order_id)
        assert journal[-1].event == ev.SplitClaimed(attempt=1, executor="splitter-7")

    async def test_claimers_at_once_never_share_an_order(self, store: OrderStore, ids: Ids) -> None:
        order_ids = [(await store.accept(new_order(ids))).order_id for _ in range(30)]

        rounds = await asyncio.gather(*[store.claim_orders(2, f"splitter-{i}", 60.0) for i in range(20)])
        rest = await store.claim_orders(30, "splitter", 60.0)

        claimed = [order.order_id for orders in [*rounds, rest] for order in orders]
        assert sorted(claimed) == order_ids
        assert all(len(orders) <= 2 for orders in rounds)

    async def test_plan_reads_back_as_it_was_saved(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids, total_quantity=6000))
        [order] = await store.claim_orders(1, "splitter", 60.0)
        rows = [[1800, 1800, 150], [75], [1800, 375]]
        saved = plan(order, rows, due_in_s=[0.000001, 59.999999, 3600.5], expires_in_s=3660.123456)

        assert await store.save_split(order.order_id, saved) is SplitResult.SAVED

        slices = await store.slices(order.order_id)
        done = replace(order, queue_status=OrderQueueStatus.DONE)
        assert slices == planned_slices(done, saved)
        assert [(s.seq, s.quantity, s.stage, s.outcome) for s in slices] == [
            (1, 3750, SliceStage.SCHEDULED, None),
            (2, 75, SliceStage.SCHEDULED, None),
            (3, 2175, SliceStage.SCHEDULED, None),
        ]
        assert (await whole_journal(store, order.order_id))[-1].event == saved
        history = await check_history(store, order)
        assert history.order == done
        assert summarise_history(history).state is OrderState.SCHEDULED

    async def test_plan_of_a_thousand_executions_reads_back(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[10] * 10 for _ in range(100)], due_in_s=range(100))

        slices = await store.slices(order.order_id)

        assert [s.seq for s in slices] == list(range(1, 101))
        assert all([e.chunk for e in s.executions] == list(range(10)) for s in slices)
        assert len({e.tag for s in slices for e in s.executions}) == 1000
        await check_history(store, order)

    async def test_plan_saved_twice_is_stored_once(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        [order] = await store.claim_orders(1, "splitter", 60.0)
        await store.save_split(order.order_id, plan(order, [[40], [60]]))
        slices, journal = await store.slices(order.order_id), await whole_journal(store, order.order_id)

        again = await store.save_split(order.order_id, plan(order, [[50], [50]]))

        assert again is SplitResult.STALE
        assert await store.slices(order.order_id) == slices
        assert await whole_journal(store, order.order_id) == journal

    async def test_plan_saved_by_many_at_once_is_stored_once(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        [order] = await store.claim_orders(1, "splitter", 60.0)

        results = await asyncio.gather(
            *[store.save_split(order.order_id, plan(order, [[40], [60]])) for _ in range(10)]
        )

        assert Counter(results) == {SplitResult.SAVED: 1, SplitResult.STALE: 9}
        assert len(await store.slices(order.order_id)) == 2
        await check_history(store, order)

    async def test_plan_of_an_order_that_nobody_claimed_is_stale(self, store: OrderStore, ids: Ids) -> None:
        new = new_order(ids)
        await store.accept(new)
        view = await store.get(new.order_id)
        assert view is not None

        assert await store.save_split(new.order_id, plan(view.order)) is SplitResult.STALE
        assert not await store.fail_split(new.order_id, 0, "no plan")

        assert await store.get(new.order_id) == view

    async def test_plan_of_an_earlier_attempt_is_stale(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        [slow] = await store.claim_orders(1, "slow", 0.0)
        await store.recover_splits(3)
        [order] = await store.claim_orders(1, "quick", 60.0)

        assert await store.save_split(slow.order_id, plan(slow, [[100]])) is SplitResult.STALE
        assert not await store.fail_split(slow.order_id, slow.split_attempt, "no plan")
        assert await store.slices(order.order_id) == []
        assert await store.save_split(order.order_id, plan(order, [[40], [60]])) is SplitResult.SAVED
        assert await store.save_split(slow.order_id, plan(slow, [[100]])) is SplitResult.STALE

        assert order.split_attempt == 2
        assert len(await store.slices(order.order_id)) == 2
        await check_history(store, order)

    async def test_order_without_a_plan_fails(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        [order] = await store.claim_orders(1, "splitter", 60.0)

        assert await store.fail_split(order.order_id, order.split_attempt, SAYING)
        assert not await store.fail_split(order.order_id, order.split_attempt, SAYING)
        assert await store.save_split(order.order_id, plan(order)) is SplitResult.STALE

        history = await check_history(store, order)
        assert (history.order.queue_status, history.order.failure) == (OrderQueueStatus.FAILED, SAYING)
        summary = summarise_history(history)
        assert (summary.state, summary.done, summary.quantities.failed) == (OrderState.FAILED, True, 100)
        assert await store.claim_orders(10, "splitter", 60.0) == []

    async def test_split_order_cannot_fail_any_more(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)

        assert not await store.fail_split(order.order_id, order.split_attempt, "no plan")

        history = await check_history(store, order)
        assert history.order.queue_status is OrderQueueStatus.DONE

    async def test_split_whose_lease_runs_is_left_alone(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        await store.accept(new_order(ids))
        await store.claim_orders(1, "splitter", 60.0)

        assert await store.recover_splits(3) == []

    async def test_split_whose_lease_ran_out_is_put_back(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        accepted_id = (await store.accept(new_order(ids))).order_id
        await store.claim_orders(1, "splitter", 60.0)
        await pass_time(61)

        assert await store.recover_splits(3) == [accepted_id]
        assert await store.recover_splits(3) == []
        [order] = await store.claim_orders(10, "splitter", 60.0)

        assert (order.order_id, order.split_attempt) == (accepted_id, 2)

    async def test_recovery_is_journalled(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        [order] = await store.claim_orders(1, "splitter", 0.0)

        await store.recover_splits(3)

        history = await check_history(store, order)
        assert (history.order.queue_status, history.order.split_attempt) == (OrderQueueStatus.PENDING, 1)
        journal = await whole_journal(store, order.order_id)
        assert journal[-1].event == ev.SplitLeaseExpired(attempt=1)

    async def test_split_fails_when_its_attempts_are_spent(self, store: OrderStore, ids: Ids) -> None:
        order_id = (await store.accept(new_order(ids))).order_id
        for _ in range(3):
            assert len(await store.claim_orders(1, "splitter", 0.0)) == 1
            assert await store.recover_splits(3) == [order_id]

        history = await check_history(store, order_id)
        assert (history.order.queue_status, history.order.failure) == (OrderQueueStatus.FAILED, ATTEMPTS_SPENT)
        assert await store.claim_orders(1, "splitter", 60.0) == []

    async def test_recovered_split_of_a_cancelled_order_is_skipped(self, store: OrderStore, ids: Ids) -> None:
        order_id = (await store.accept(new_order(ids))).order_id
        await store.claim_orders(1, "splitter", 0.0)
        await store.request_cancel(order_id, "desk-1")

        assert await store.recover_splits(3) == [order_id]

        history = await check_history(store, order_id)
        assert history.order.queue_status is OrderQueueStatus.SKIPPED
        assert history.order.skip_reason == CANCELLED_BEFORE_SPLIT

    async def test_recoveries_at_once_recover_once(self, store: OrderStore, ids: Ids) -> None:
        order_ids = [(await store.accept(new_order(ids))).order_id for _ in range(5)]
        await store.claim_orders(5, "splitter", 0.0)

        rounds = await asyncio.gather(*[store.recover_splits(3) for _ in range(10)])

        assert sorted(order_id for recovered in rounds for order_id in recovered) == order_ids
        for order_id in order_ids:
            await check_history(store, order_id)

    async def test_cancel_and_plan_at_once_leave_nothing_to_send(self, store: OrderStore, ids: Ids) -> None:
        for _ in range(10):
            await store.accept(new_order(ids))
        orders = await store.claim_orders(10, "splitter", 60.0)

        outcomes = await asyncio.gather(
            *[
                step
                for order in orders
                for step in (
                    store.save_split(order.order_id, plan(order, [[40], [60]])),
                    store.request_cancel(order.order_id, "desk-1"),
                )
            ]
        )

        assert set(outcomes[1::2]) == {CancelResult.REQUESTED}
        assert await claim(store) == []
        to_withdraw = Counter(t.order.order_id for t in await store.select(Selection.TO_WITHDRAW, limit=100))
        for order, outcome in zip(orders, outcomes[::2], strict=True):
            history = await check_history(store, order)
            if outcome is SplitResult.SKIPPED:
                assert history.order.queue_status is OrderQueueStatus.SKIPPED
                assert history.slices == ()
            else:
                assert outcome is SplitResult.SAVED
                assert to_withdraw[order.order_id] == 2

    # --- execution

    async def test_nothing_planned_means_nothing_due(self, store: OrderStore, ids: Ids) -> None:
        assert await store.next_due() is None
        await store.accept(new_order(ids))
        assert await store.next_due() is None

    async def test_next_due_tells_the_seconds_until_the_earliest(self, store: OrderStore, ids: Ids) -> None:
        await split_order(store, ids, [[40], [60]], due_in_s=[1800, 2400])
        await split_order(store, ids, due_in_s=1200)

        seconds = await store.next_due()

        assert seconds is not None
        assert 1100 < seconds <= 1200

    async def test_next_due_is_not_positive_for_what_is_due(self, store: OrderStore, ids: Ids) -> None:
        await split_order(store, ids, due_in_s=-10)

        seconds = await store.next_due()

        assert seconds is not None
        assert -60 < seconds <= -10

    async def test_next_due_leaves_out_what_cannot_be_claimed(self, store: OrderStore, ids: Ids) -> None:
        expired = await split_order(store, ids, due_in_s=-20, expires_in_s=-10)
        cancelled = await split_order(store, ids)
        await store.request_cancel(cancelled.order_id, "desk-1")
        withdrawn = await split_order(store, ids)
        await tell(store, withdrawn, WITHDRAWN)
        await split_order(store, ids, due_in_s=-1)
        assert len(await claim(store)) == 1

        assert await store.next_due() is None
        assert (await execution_of(store, expired)).phase is Phase.PLANNED

    async def test_next_due_of_a_halted_store_is_none(self, store: OrderStore, ids: Ids) -> None:
        await split_order(store, ids)
        await store.halt("operator", "")

        assert await store.next_due() is None

    async def test_execution_is_claimed_when_it_is_due_and_not_before(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        await split_order(store, ids, due_in_s=100)
        assert await claim(store) == []
        await pass_time(101)

        assert len(await claim(store)) == 1

    async def test_claim_carries_attempt_executor_and_lease(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        planned = await execution_of(store, order)

        [taken] = await store.claim_executions(10, "executor-7", 45.0)

        view = await store.get(order.order_id)
        assert view is not None
        assert taken.order == view.order
        assert 0 < taken.lease_s <= 45.0
        lease_until = taken.execution.lease_until
        assert lease_until is not None
        assert lease_until >= view.order.created_at + timedelta(seconds=45)
        assert taken.execution == replace(planned, attempt=1, executor="executor-7", lease_until=lease_until)
        assert await execution_of(store, order) == taken.execution
        assert (await whole_journal(store, order.order_id))[-1].event == ev.ExecutionClaimed(
            seq=1, chunk=0, attempt=1, executor="executor-7", lease_until=lease_until
        )
        await check_history(store, order)

    async def test_claims_come_by_due_instant_up_to_the_limit(self, store: OrderStore, ids: Ids) -> None:
        late = await split_order(store, ids, [[10], [20], [30]], due_in_s=[-3, -1, 600])
        early = await split_order(store, ids, [[40, 50]], due_in_s=-2)

        first, rest = await claim(store, limit=2), await claim(store, limit=10)

        due = [(c.order.order_id, c.execution.seq, c.execution.chunk) for c in [*first, *rest]]
        assert len(first) == 2
        assert due == [
            (late.order_id, 1, 0), (early.order_id, 1, 0), (early.order_id, 1, 1), (late.order_id, 2, 0),
        ]  # fmt: skip

    async def test_claimed_execution_is_not_claimed_again(self, store: OrderStore, ids: Ids) -> None:
        await split_order(store, ids)
        await claim(store, lease_s=0.0)

        assert await claim(store) == []

    async def test_late_executions_are_claimed_once_they_are_given_another_instant(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        order = await split_order(store, ids, [[10], [20, 30], [40]], due_in_s=[-1, 0, 300])
        await pass_time(LATE_S + 1)
        assert await claim(store) == []
        due_in = await store.next_due()
        assert due_in is not None
        assert due_in < -LATE_S

        late = await store.select(Selection.LATE, limit=10)
        assert [(t.execution.seq, t.execution.chunk) for t in late] == [(1, 0), (2, 0), (2, 1)]
        now = await store.now()
        for tracked in late:
            moved = ev.ExecutionRescheduled(
                seq=tracked.execution.seq,
                chunk=tracked.execution.chunk,
                was_due_at=tracked.execution.due_at,
                due_at=now if tracked.execution.seq == 1 else now + timedelta(seconds=60),
            )
            assert await tell(store, order, moved) is APPLIED
            assert await tell(store, order, moved) is UNCHANGED

        assert await store.select(Selection.LATE, limit=10) == []
        assert [c.execution.seq for c in await claim(store)] == [1]

    async def test_late_leaves_out_what_is_never_to_be_sent(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        await split_order(store, ids, due_in_s=-20, expires_in_s=5)
        cancelled = await split_order(store, ids)
        await store.request_cancel(cancelled.order_id, "trader")
        claimed = await split_order(store, ids)
        assert [c.order.order_id for c in await claim(store)] == [claimed.order_id]
        await pass_time(LATE_S + 1)

        assert await store.select(Selection.LATE, limit=10) == []

    async def test_executor_is_dead_once_it_was_here_and_has_gone(
        self, store: OrderStore, presence: PresenceOf
    ) -> None:
        one, other = presence("executor-1"), presence("executor-2")
        assert await one.hold()
        assert await other.hold()
        everybody = ["executor-1", "executor-2", "executor-3"]
        assert await store.dead_executors(everybody) == set()

        await one.release()

        async with asyncio.timeout(20):
            while await store.dead_executors(everybody) != {"executor-1"}:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
        assert await store.dead_executors(["executor-2"]) == set()
        assert await one.hold()
        assert await store.dead_executors(everybody) == set()
        await one.release()
        await other.release()

    async def test_execution_past_its_window_is_not_claimed(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        await split_order(store, ids, due_in_s=-20, expires_in_s=-10)
        await split_order(store, ids, expires_in_s=100)
        await pass_time(101)

        assert await claim(store) == []

    async def test_halted_store_claims_nothing_until_it_is_resumed(self, store: OrderStore, ids: Ids) -> None:
        await split_order(store, ids)
        await store.halt("operator", "")
        assert await claim(store) == []
        await store.resume("operator", "")

        assert len(await claim(store)) == 1

    async def test_halted_store_still_splits_and_books(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await store.accept(new_order(ids))
        await store.halt("operator", "")

        assert len(await store.claim_orders(10, "splitter", 60.0)) == 1
        assert await tell(store, order, accepted()) is APPLIED

    async def test_released_execution_is_claimed_as_the_next_attempt(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await tell(store, order, released(1))

        [taken] = await claim(store)

        assert taken.execution.attempt == 2
        await check_history(store, order)

    async def test_released_execution_waits_for_its_instant(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await tell(store, order, released(1, not_before=order.created_at + timedelta(seconds=100)))

        assert await claim(store) == []
        seconds = await store.next_due()
        assert seconds is not None
        assert 0 < seconds <= 100
        await pass_time(101)

        assert [taken.execution.attempt for taken in await claim(store)] == [2]

    async def test_released_execution_that_is_to_be_cancelled_is_not_claimed(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await tell(store, order, CANCEL_REQUESTED)
        await tell(store, order, released())
        other = await split_order(store, ids)

        assert [taken.order.order_id for taken in await claim(store)] == [other.order_id]

        assert await store.next_due() is None
        await check_history(store, order)

    async def test_twenty_claimers_at_once_never_claim_the_same(self, store: OrderStore, ids: Ids) -> None:
        for _ in range(4):
            await split_order(store, ids, [[5, 5], [10], [10, 10, 10], [10, 10]])

        rounds = await asyncio.gather(*[store.claim_executions(3, f"x-{i}", 60.0) for i in range(20)])
        rest = await claim(store)

        claims = [taken for taken_together in [*rounds, rest] for taken in taken_together]
        assert len(claims) == len(set(names(claims))) == 32
        assert all(len(taken) <= 3 for taken in rounds)
        for i, taken_together in enumerate(rounds):
            assert {taken.execution.executor for taken in taken_together} <= {f"x-{i}"}
        for view in await store.list_orders(None, limit=10):
            await check_history(store, view.order)

    async def test_cancel_and_claims_at_once_share_the_executions_out(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids, [[10] for _ in range(10)])

        rounds, _ = await asyncio.gather(
            asyncio.gather(*[store.claim_executions(1, f"x-{i}", 60.0) for i in range(5)]),
            store.request_cancel(order.order_id, "desk-1"),
        )

        claimed = {name for taken in rounds for name in names(taken)}
        withdrawable = set(names(await store.select(Selection.TO_WITHDRAW, limit=100)))
        cancellable = set(names(await store.select(Selection.TO_CANCEL, limit=100)))
        assert claimed == cancellable
        assert len(claimed | withdrawable) == 10
        assert not claimed & withdrawable
        assert await claim(store) == []
        await check_history(store, order)

    async def test_nothing_is_claimed_once_halt_has_returned(self, store: OrderStore, ids: Ids) -> None:
        await split_order(store, ids, [[1] for _ in range(60)])
        stop = asyncio.Event()

        async def claimer(name: str) -> list[Claim]:
            taken: list[Claim] = []
            while not stop.is_set():
                taken += await store.claim_executions(1, name, 60.0)
                await asyncio.sleep(0)
            return taken

        claimers = [asyncio.create_task(claimer(f"x-{i}")) for i in range(5)]
        await asyncio.sleep(0)
        await store.halt("operator", "")
        in_flight = {execution.execution_id for execution in await store.in_flight()}
        for _ in range(10):
            await asyncio.sleep(0)
        stop.set()
        rounds = await asyncio.gather(*claimers)

        assert {name for taken in rounds for name in names(taken)} == in_flight

    # --- booking

    @pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
    async def test_events_do_to_a_stored_execution_what_they_do_to_a_value(
        self, store: OrderStore, ids: Ids, story: Sequence[ev.AnyExecutionEvent | None]
    ) -> None:
        order = await split_order(store, ids, [[100]])

        for event in story:
            if event is CLAIM:
                before = await execution_of(store, order)
                [taken] = await claim(store)
                assert taken.execution == replace(
                    before, attempt=before.attempt + 1, executor="executor", reason=None,
                    lease_until=taken.execution.lease_until,
                )  # fmt: skip
                await check_history(store, order)
            else:
                await tell(store, order, event)

    def test_stories_tell_every_kind_of_event(self) -> None:
        told = {type(event) for story in STORIES.values() for event in story if event is not None}

        assert told | {ev.ExecutionClaimed} == set(get_args(ev.AnyExecutionEvent))

    async def test_booking_takes_the_broker_call_and_answer_along(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        call = BrokerCall(
            broker="scripted",
            operation="place",
            began_at=AT,
            duration_ms=187,
            request={"tag": "T1", "quantity": 100, "nested": {"words": SAYING, "none": None}},
            answer={"data": [1, 2.5, True]},
            error=None,
        )
        failed_call = replace(call, answer=None, error=SAYING)

        results = await store.book(
            [
                Booking(order_id=order.order_id, event=accepted(), call=call, answer={"words": SAYING}),
                Booking(order_id=order.order_id, event=accepted(), call=failed_call),
                Booking(order_id=order.order_id, event=released(1), call=failed_call, answer={"n": 1}),
            ]
        )

        assert [booked.result for booked in results] == [APPLIED, UNCHANGED, REFUSED]
        await check_history(store, order)

    async def test_recorded_calls_are_counted_once_from_an_instant_on(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        cancelling = ev.ExecutionCancelRequested(seq=1, chunk=0)
        calls = [
            BrokerCall(
                broker="scripted", operation=operation, began_at=AT + timedelta(seconds=seconds),
                duration_ms=5, request={},
            )
            for operation, seconds in (("place", 0), ("cancel", 10), ("cancel", 20))
        ]  # fmt: skip
        events: list[ev.AnyExecutionEvent] = [accepted(), cancelling, cancelling]
        bookings = [
            Booking(order_id=order.order_id, event=event, call=call)
            for event, call in zip(events, calls, strict=True)
        ]

        for _ in range(2):
            await store.book(bookings)

        since = [AT, AT + timedelta(microseconds=1), AT + timedelta(seconds=20), AT + timedelta(seconds=21)]
        assert [await store.broker_calls(instant) for instant in since] == [3, 2, 1, 0]

    async def test_booking_nothing_changes_nothing(self, store: OrderStore) -> None:
        assert await store.book([]) == []

    async def test_bookings_of_what_does_not_exist_are_not_found(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        waiting = (await store.accept(new_order(ids))).order_id

        results = await store.book(
            [
                booking(ids.order_id(), accepted()),
                booking(waiting, accepted()),
                booking(order, accepted(seq=2)),
                booking(order, accepted(seq=0)),
                booking(order, accepted(chunk=1)),
                booking(order, accepted(chunk=-1)),
                booking(order, accepted()),
            ]
        )

        assert results[:-1] == [Booked(BookResult.NOT_FOUND)] * 6
        assert results[-1].result is APPLIED
        await check_history(store, order)
        await check_history(store, waiting)

    async def test_bookings_of_one_slice_are_taken_in_their_order(self, store: OrderStore, ids: Ids) -> None:
        one = await split_order(store, ids, [[60, 40], [100]])
        two = await split_order(store, ids)
        await claim(store)
        told: list[tuple[Order, ev.AnyExecutionEvent, BookResult]] = [
            (one, accepted("B-1"), APPLIED),
            (two, accepted("B-9"), APPLIED),
            (one, filled("T-1", 10), APPLIED),
            (one, accepted("B-2", chunk=1), APPLIED),
            (one, filled("T-1", 10), UNCHANGED),
            (one, released(1), REFUSED),
            (one, filled("T-2", 50), APPLIED),
            (two, filled("T-1", 100, broker_order_id="B-9"), APPLIED),
            (one, accepted("B-3", seq=2), APPLIED),
            (one, COMPLETED, APPLIED),
            (one, filled("T-3", 1), APPLIED),
        ]

        results = await store.book([booking(order, event) for order, event, _ in told])

        assert [booked.result for booked in results] == [result for _, _, result in told]
        [first, second] = (await store.slices(one.order_id))[0].executions
        assert [fill.trade_id for fill in first.fills] == ["T-1", "T-2", "T-3"]
        assert (first.terminal, set(first.flags)) == (TerminalReason.COMPLETED, {LATE_FILL, OVERFILLED})
        assert second.broker_order_id == "B-2"
        assert results[0].execution is not None
        assert results[0].execution.fills == ()
        assert results[-1].execution == first
        for order in (one, two):
            await check_history(store, order)
            events = [entry.event for entry in await whole_journal(store, order.order_id)]
            booked = [e for o, e, result in told if o is order and result is APPLIED]
            assert [e for e in events if not isinstance(e, ev.ExecutionClaimed)][-len(booked) :] == booked

    async def test_chunks_of_one_slice_booked_at_once_lose_nothing(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[10] * 20])
        await claim(store)

        rounds = await asyncio.gather(
            *[
                store.book(
                    [
                        booking(order, accepted(f"B-{chunk}", chunk=chunk)),
                        booking(order, filled("T-1", 10, chunk=chunk, broker_order_id=f"B-{chunk}")),
                    ]
                )
                for chunk in range(20)
            ]
        )

        assert all([booked.result for booked in taken] == [APPLIED, APPLIED] for taken in rounds)
        [slice_] = await store.slices(order.order_id)
        assert [execution.filled_quantity for execution in slice_.executions] == [10] * 20
        assert (slice_.stage, slice_.outcome) == (SliceStage.PROCESSED, SliceOutcome.FILLED)
        history = await check_history(store, order)
        assert summarise_history(history).state is OrderState.FILLED

    async def test_slices_of_one_order_booked_at_once_share_its_journal(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids, [[10] for _ in range(20)])
        await claim(store)

        await asyncio.gather(
            *[store.book([booking(order, accepted(f"B-{seq}", seq=seq))]) for seq in range(1, 21)]
        )

        history = await check_history(store, order)
        assert {slice_.stage for slice_ in history.slices} == {SliceStage.PROCESSED}

    async def test_trades_of_one_execution_booked_at_once_are_all_kept(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)

        rounds = await asyncio.gather(*[store.book([booking(order, filled(f"T-{i}", 5))]) for i in range(20)])

        assert all(taken[0].result is APPLIED for taken in rounds)
        assert (await execution_of(store, order)).filled_quantity == 100
        await check_history(store, order)

    async def test_one_trade_told_by_many_at_once_counts_once(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)

        rounds = await asyncio.gather(*[store.book([booking(order, filled("T-1", 30))]) for _ in range(20)])

        assert Counter(taken[0].result for taken in rounds) == {APPLIED: 1, UNCHANGED: 19}
        assert (await execution_of(store, order)).filled_quantity == 30
        await check_history(store, order)

    async def test_many_orders_booked_together_from_many_sides_do_not_block(
        self, store: OrderStore, ids: Ids
    ) -> None:
        orders = [await split_order(store, ids, [[50, 50]]) for _ in range(6)]
        await claim(store)
        events = [
            booking(order, accepted(f"B-{i}-{chunk}", chunk=chunk))
            for i, order in enumerate(orders)
            for chunk in range(2)
        ]

        # In opposite orders: a store that locks as it goes would wait for itself.
        await asyncio.wait_for(
            asyncio.gather(*[store.book(events[:: 1 if i % 2 else -1]) for i in range(8)]), timeout=30
        )

        for order in orders:
            history = await check_history(store, order)
            assert {e.phase for e in history.slices[0].executions} == {Phase.LIVE}

    async def test_trade_id_of_another_order_is_another_trade(self, store: OrderStore, ids: Ids) -> None:
        one, two = await split_order(store, ids), await split_order(store, ids)
        await claim(store)

        await tell(store, one, filled("T-1", 100, broker_order_id="B-1"))
        await tell(store, two, filled("T-1", 100, broker_order_id="B-2"))

        assert (await execution_of(store, one)).filled_quantity == 100
        assert (await execution_of(store, two)).filled_quantity == 100

    async def test_trade_id_of_another_trading_day_is_another_trade(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        # A trading day is one of India's: 18:29 and 18:31 UTC lie on two of them.
        evening = datetime(2025, 1, 6, 18, 29, tzinfo=UTC)
        for at, result in (
            (evening, APPLIED),
            (evening - timedelta(hours=12), UNCHANGED),
            (evening + timedelta(minutes=2), APPLIED),
        ):
            event = ev.ExecutionFilled(**FIRST, fill=fill_of("T-1", 10, at=at))
            assert await tell(store, order, event) is result

        assert (await execution_of(store, order)).filled_quantity == 20

    async def test_one_trade_never_counts_for_two_executions(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[50, 50]])
        other = await split_order(store, ids)
        await claim(store)
        await tell(store, order, filled("T-1", 10))

        results = await store.book(
            [booking(order, filled("T-1", 10, chunk=1)), booking(other, filled("T-1", 10))]
        )

        assert not {booked.result for booked in results} & {APPLIED}
        history = await check_history(store, order)
        assert summarise_history(history).quantities.filled == 10
        assert summarise_history(await check_history(store, other)).quantities.filled == 0

    async def test_running_total_is_replaced_by_its_trades(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await tell(store, order, accepted())

        await tell(store, order, cumulative(70, "1402.40"))
        provisional = await execution_of(store, order)
        await tell(store, order, filled("T-1", 30, price="1402.00"))
        between = await execution_of(store, order)
        await tell(store, order, filled("T-2", 40, price="1403.00"))
        explained = await execution_of(store, order)

        assert (provisional.filled_quantity, provisional.filled_value) == (70, Decimal("98168.00"))
        assert (between.filled_quantity, between.filled_value) == (70, Decimal("98168.00"))
        assert (explained.filled_quantity, explained.filled_value) == (70, Decimal("98180.00"))

    async def test_late_trade_is_booked_and_flagged_and_does_not_reopen(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await tell(store, order, accepted())
        await tell(store, order, CANCELLED)

        assert await tell(store, order, filled("T-1", 30)) is APPLIED

        execution = await execution_of(store, order)
        assert (execution.status, execution.flags) == (ExecutionStatus.CANCELLED, (LATE_FILL,))
        assert (execution.filled_quantity, execution.leaves_quantity) == (30, 0)
        [slice_] = await store.slices(order.order_id)
        assert slice_.outcome is SliceOutcome.PARTIALLY_FILLED

    async def test_late_fact_corrects_what_was_given_up(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[50], [50]])
        await claim(store)
        for seq, closing in (
            (1, FAILED),
            (2, ev.ExecutionUnresolved(seq=2, chunk=0, attempt=1, reason="NOT_PROVABLE")),
        ):
            await tell(store, order, unanswered(seq=seq))
            await tell(store, order, closing)
        closed = await store.slices(order.order_id)

        await tell(store, order, filled("T-1", 50))
        await tell(store, order, accepted("B-2", seq=2))

        assert [s.outcome for s in closed] == [SliceOutcome.FAILED, SliceOutcome.UNRESOLVED]
        assert [s.outcome for s in await store.slices(order.order_id)] == [SliceOutcome.FILLED, None]

    async def test_second_broker_order_is_flagged(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await tell(store, order, accepted("B-1"))
        await tell(store, order, accepted("B-2"))

        execution = await execution_of(store, order)

        assert execution.broker_order_id == "B-1"
        assert execution.flags == (UNPLANNED, f"{SECOND_ORDER}:B-2")

    async def test_outcome_of_an_attempt_that_was_replaced_is_refused(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await tell(store, order, released(1))
        await claim(store)

        assert await tell(store, order, released(1)) is REFUSED
        assert await tell(store, order, unanswered(1)) is REFUSED

        assert (await execution_of(store, order)).phase is Phase.CLAIMED

    async def test_owners_at_once_leave_an_attempt_once(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        decisions: list[ev.AnyExecutionEvent] = [released(1), unanswered(1), unanswered(1, ended=True)] * 5

        rounds = await asyncio.gather(*[store.book([booking(order, event)]) for event in decisions])

        took = [d for d, [booked] in zip(decisions, rounds, strict=True) if booked.result is APPLIED]
        execution = await execution_of(store, order)
        assert sum(isinstance(decision, ev.ExecutionReleased) for decision in took) <= 1
        assert execution.phase in (Phase.PLANNED, Phase.UNKNOWN)
        await check_history(store, order)

    # --- journal

    async def test_journal_is_read_in_pages(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await tell(store, order, accepted())
        whole = await whole_journal(store, order.order_id)

        assert [type(entry.event) for entry in whole] == [
            ev.OrderAccepted, ev.SplitClaimed, ev.SplitSaved, ev.ExecutionClaimed, ev.ExecutionAccepted,
        ]  # fmt: skip
        assert await store.journal(order.order_id, after_seq=0, limit=2) == whole[:2]
        assert await store.journal(order.order_id, after_seq=2, limit=2) == whole[2:4]
        assert await store.journal(order.order_id, after_seq=4, limit=2) == whole[4:]
        assert await store.journal(order.order_id, after_seq=5, limit=2) == []
        assert await store.journal(order.order_id, after_seq=99, limit=2) == []
        assert await store.journal(ids.order_id(), after_seq=0, limit=2) == []

    async def test_orders_count_their_journal_rows_apart(self, store: OrderStore, ids: Ids) -> None:
        one, two = await split_order(store, ids), await split_order(store, ids)

        for order, broker_order_id in ((one, "B-1"), (two, "B-2")):
            await tell(store, order, accepted(broker_order_id))
        for order, broker_order_id in ((two, "B-2"), (one, "B-1")):
            await tell(store, order, filled("T-1", 100, broker_order_id=broker_order_id))

        for order in (one, two):
            journal = await whole_journal(store, order.order_id)
            assert [entry.seq for entry in journal] == [1, 2, 3, 4, 5]
            assert all(entry.at.utcoffset() is not None for entry in journal)

    async def test_journal_heads_of_orders_that_exist(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        waiting = (await store.accept(new_order(ids))).order_id

        heads = await store.journal_heads([waiting, order.order_id, ids.order_id()])

        assert heads == {order.order_id: 3, waiting: 1}
        assert await store.journal_heads([]) == {}

    async def test_every_prefix_of_a_journal_balances(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[60, 40], [100], [100]])
        await claim(store)
        told: list[ev.AnyExecutionEvent] = [
            accepted("B-1"), filled("T-1", 70), unanswered(chunk=1), accepted("B-2", chunk=1),
            unanswered(seq=2), ev.ExecutionUnresolved(seq=2, chunk=0, attempt=1, reason="NOT_PROVABLE"),
            released(seq=3), ev.ExecutionLapsed(seq=3, chunk=0),
            ev.ExecutionCancelled(seq=1, chunk=1), filled("T-2", 5, chunk=1, broker_order_id="B-2"),
        ]  # fmt: skip
        await store.book([booking(order, event) for event in told])

        history = await check_history(store, order)
        journal = await whole_journal(store, order.order_id)

        assert len(journal) == 3 + 4 + len(told)
        for length in range(len(journal) + 1):
            summary = summarise_history(replay(as_accepted(history.order), journal[:length]))
            assert summary.quantities.balanced, (length, summary)

    # --- selections

    async def test_overdue_are_planned_executions_past_their_window(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        early = await split_order(store, ids, [[50], [50]], due_in_s=[-30, -20], expires_in_s=-10)
        soon = await split_order(store, ids, due_in_s=-40, expires_in_s=100)
        taken = await split_order(store, ids, expires_in_s=100)
        await split_order(store, ids, expires_in_s=200)
        await tell(store, taken, accepted())

        before = await store.select(Selection.OVERDUE, limit=10)
        await pass_time(101)
        after = await store.select(Selection.OVERDUE, limit=10)

        assert [(t.order.order_id, t.execution.seq) for t in before] == [
            (early.order_id, 1),
            (early.order_id, 2),
        ]
        assert [t.order.order_id for t in after] == [soon.order_id, early.order_id, early.order_id]

    async def test_lease_expired_are_claims_without_an_answer(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        silent = await split_order(store, ids)
        answered = await split_order(store, ids)
        await claim(store, lease_s=50.0)
        await tell(store, answered, accepted())
        await split_order(store, ids, due_in_s=3000)

        before = await store.select(Selection.LEASE_EXPIRED, limit=10)
        await pass_time(51)
        after = await store.select(Selection.LEASE_EXPIRED, limit=10)

        assert before == []
        assert [t.order.order_id for t in after] == [silent.order_id]

    async def test_unknown_are_executions_without_an_answer(self, store: OrderStore, ids: Ids) -> None:
        orders = [await split_order(store, ids) for _ in range(4)]
        await claim(store)
        for order in orders[:3]:
            await tell(store, order, unanswered())
        await tell(store, orders[1], accepted())
        await tell(store, orders[2], FAILED)

        found = await store.select(Selection.UNKNOWN, limit=10)

        assert [t.order.order_id for t in found] == [orders[0].order_id]

    async def test_working_are_executions_live_at_the_broker(self, store: OrderStore, ids: Ids) -> None:
        orders = [await split_order(store, ids) for _ in range(5)]
        await claim(store)
        for i, order in enumerate(orders[:4]):
            await tell(store, order, accepted(f"B-{i}"))
        await tell(store, orders[1], filled("T-1", 99, broker_order_id="B-1"))
        await tell(store, orders[2], filled("T-1", 100, broker_order_id="B-2"))
        await tell(store, orders[3], CANCELLED)

        found = await store.select(Selection.WORKING, limit=10)

        assert {t.order.order_id for t in found} == {orders[0].order_id, orders[1].order_id}

    async def test_filled_execution_whose_cancel_is_pending_still_works(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        for event in (accepted(), CANCEL_REQUESTED, filled("T-1", 100)):
            await tell(store, order, event)

        assert len(await store.select(Selection.WORKING, limit=10)) == 1
        await tell(store, order, CANCEL_REFUSED)
        assert await store.select(Selection.WORKING, limit=10) == []

    async def test_to_withdraw_are_planned_executions_of_cancelled_orders(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids, [[50], [50]], due_in_s=[0, 600])
        await split_order(store, ids, due_in_s=600)
        await claim(store)
        await store.request_cancel(order.order_id, "desk-1")

        found = await store.select(Selection.TO_WITHDRAW, limit=10)
        assert [(t.order.order_id, t.execution.seq) for t in found] == [(order.order_id, 2)]
        await tell(store, order, ev.ExecutionWithdrawn(seq=2, chunk=0))

        assert await store.select(Selection.TO_WITHDRAW, limit=10) == []

    async def test_to_withdraw_finds_what_was_released_after_the_cancel(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await store.request_cancel(order.order_id, "desk-1")
        await tell(store, order, CANCEL_REQUESTED)
        await tell(store, order, released())

        assert len(await store.select(Selection.TO_WITHDRAW, limit=10)) == 1
        assert await store.select(Selection.TO_CANCEL, limit=10) == []

    async def test_to_cancel_are_executions_of_cancelled_orders_that_may_be_live(
        self, store: OrderStore, ids: Ids
    ) -> None:
        rows = [[10], [10], [10], [10], [10], [10]]
        order = await split_order(store, ids, rows, due_in_s=[-5, -4, -3, -2, -1, 600])
        bystander = await split_order(store, ids, due_in_s=-9)
        await tell(store, bystander, accepted("B-9"))
        await tell(store, order, accepted("B-2", seq=2))
        await tell(store, order, filled("T-1", 10, seq=3, broker_order_id="B-3"))
        await tell(store, order, accepted("B-4", seq=4))
        await tell(store, order, ev.ExecutionCancelled(seq=4, chunk=0))
        await claim(store, limit=1)
        await store.request_cancel(order.order_id, "desk-1")

        found = await store.select(Selection.TO_CANCEL, limit=10)

        assert [(t.order.order_id, t.execution.seq) for t in found] == [
            (order.order_id, 1),
            (order.order_id, 2),
        ]

    async def test_past_window_are_live_executions_of_split_orders(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        ended, filled_up, wished, running, whole = [
            await split_order(store, ids, split_config=SplitConfig(num_splits=2, duration_minutes=minutes))
            for minutes in (1, 1, 1, 60)
        ] + [await split_order(store, ids, split_config=None)]
        assert len(await claim(store, limit=10)) == 5
        for number, order in enumerate((ended, filled_up, wished, running, whole)):
            await tell(store, order, accepted(f"B-{number}"))
        await tell(store, filled_up, filled("T-1", 100, broker_order_id="B-1"))
        await tell(store, wished, CANCEL_REQUESTED)
        assert await store.select(Selection.PAST_WINDOW, limit=10) == []
        await pass_time(61)

        past = await store.select(Selection.PAST_WINDOW, limit=10)

        assert [t.order.order_id for t in past] == [ended.order_id]
        to_cancel = await store.select(Selection.TO_CANCEL, limit=10)
        assert [t.order.order_id for t in to_cancel] == [wished.order_id]

    async def test_to_cancel_drops_what_is_in_doubt_and_marked(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await store.request_cancel(order.order_id, "desk-1")
        await tell(store, order, unanswered())
        before = await store.select(Selection.TO_CANCEL, limit=10)
        await tell(store, order, CANCEL_REQUESTED)

        marked = await store.select(Selection.TO_CANCEL, limit=10)
        await tell(store, order, accepted())

        assert (len(before), len(marked)) == (1, 0)
        assert len(await store.select(Selection.TO_CANCEL, limit=10)) == 1

    async def test_found_by_hand_lists_what_a_person_named(self, store: OrderStore, ids: Ids) -> None:
        named = await split_order(store, ids)
        await claim(store)
        await tell(store, named, unanswered())
        adopted = await split_order(store, ids)
        await claim(store)
        await tell(store, adopted, accepted("B-2"))
        assert await store.select(Selection.FOUND_BY_HAND, limit=10) == []

        await tell(store, named, FOUND)
        live = await store.select(Selection.FOUND_BY_HAND, limit=10)
        await tell(store, named, CANCELLED)
        ended = await store.select(Selection.FOUND_BY_HAND, limit=10)

        assert [t.order.order_id for t in live] == [t.order.order_id for t in ended] == [named.order_id]

    async def test_in_doubt_lists_what_a_person_should_look_at(self, store: OrderStore, ids: Ids) -> None:
        unknown = await split_order(store, ids, due_in_s=-3)
        unresolved = await split_order(store, ids, due_in_s=-2)
        await claim(store)
        await tell(store, unknown, unanswered())
        await tell(store, unresolved, unanswered())
        await tell(store, unresolved, UNRESOLVED)
        unplanned = await split_order(store, ids, due_in_s=-1)
        await tell(store, unplanned, accepted())
        await split_order(store, ids)
        await claim(store)

        found = await store.select(Selection.IN_DOUBT, limit=10)
        await tell(store, unresolved, ABSENT)
        left = await store.select(Selection.IN_DOUBT, limit=10)

        assert [t.order.order_id for t in found] == [unknown.order_id, unresolved.order_id, unplanned.order_id]
        assert [t.order.order_id for t in left] == [unknown.order_id, unplanned.order_id]

    async def test_selections_come_by_due_instant_up_to_the_limit(self, store: OrderStore, ids: Ids) -> None:
        late = await split_order(store, ids, [[50], [50]], due_in_s=[-30, -10])
        early = await split_order(store, ids, [[50, 50]], due_in_s=-20)
        await store.request_cancel(late.order_id, "desk-1")
        await store.request_cancel(early.order_id, "desk-1")
        expected = [
            (late.order_id, 1, 0), (early.order_id, 1, 0), (early.order_id, 1, 1), (late.order_id, 2, 0),
        ]  # fmt: skip

        for limit in (2, 10):
            found = await store.select(Selection.TO_WITHDRAW, limit=limit)
            assert [
                (t.order.order_id, t.execution.seq, t.execution.chunk) for t in found
            ] == expected[:limit]  # fmt: skip

    async def test_selected_executions_come_with_order_and_all_facts(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[50, 50]])
        await claim(store)
        await store.book(
            [
                booking(order, accepted("B-2", chunk=1)),
                booking(order, filled("T-1", 10, chunk=1, broker_order_id="B-2")),
                booking(order, filled("T-2", 20, chunk=1, broker_order_id="B-2")),
            ]
        )

        [tracked] = await store.select(Selection.WORKING, limit=10)

        view = await store.get(order.order_id)
        assert view is not None
        assert tracked == Tracked(order=view.order, execution=await execution_of(store, order, 1, 1))
        assert len(tracked.execution.fills) == 2

    # --- halt

    async def test_store_starts_trading(self, store: OrderStore) -> None:
        assert not (await store.trading_state()).halted

    async def test_halt_and_resume_tell_who_and_why(self, store: OrderStore) -> None:
        halted = await store.halt("operator", SAYING)
        assert await store.trading_state() == halted
        resumed = await store.resume("admin", "all clear")

        assert (halted.halted, halted.changed_by, halted.reason) == (True, "operator", SAYING)
        assert (resumed.halted, resumed.changed_by, resumed.reason) == (False, "admin", "all clear")
        assert await store.trading_state() == resumed
        assert halted.changed_at is not None
        assert resumed.changed_at is not None
        assert halted.changed_at <= resumed.changed_at

    async def test_halt_for_a_reconcile_is_not_ended_by_an_ordinary_resume(self, store: OrderStore) -> None:
        halted = await store.halt_for_reconcile("pulse", "RESTORED")
        assert (halted.halted, halted.needs_reconcile, halted.reason) == (True, True, "RESTORED")

        with pytest.raises(ReconcileRequired):
            await store.resume("operator", "all clear")
        again = await store.halt("operator", "a halt in between")

        assert (again.needs_reconcile, again.reason) == (True, "a halt in between")
        assert await store.halt_for_reconcile("pulse", "once is enough") == again
        with pytest.raises(ReconcileRequired):
            await store.resume("operator", "all clear")
        assert await store.trading_state() == again

    async def test_confirm_needs_a_complete_look_since_the_halt(
        self, store: OrderStore, pass_time: PassTime
    ) -> None:
        await store.note_findings(BookFindings(complete=True))
        await store.halt_for_reconcile("pulse", "RESTORED")
        with pytest.raises(ReconcileRequired):
            await store.confirm_reconciled("asha", "looked")
        await pass_time(1)
        await store.note_findings(BookFindings(complete=False))
        with pytest.raises(ReconcileRequired):
            await store.confirm_reconciled("asha", "looked")
        await store.note_findings(BookFindings(complete=True))

        resumed = await store.confirm_reconciled("asha", "looked")

        assert (resumed.halted, resumed.needs_reconcile) == (False, False)
        assert (resumed.changed_by, resumed.reason) == ("asha", "looked")
        await store.halt("operator", "an ordinary one")
        assert not (await store.resume("operator", "all clear")).halted

    async def test_confirm_ends_an_ordinary_halt_too(self, store: OrderStore) -> None:
        await store.halt("operator", "fat finger")

        assert not (await store.confirm_reconciled("asha", "looked")).halted

    async def test_findings_read_back_and_a_confirmed_reconcile_makes_strangers_known(
        self, store: OrderStore, pass_time: PassTime
    ) -> None:
        assert await store.findings() is None
        strangers = (stranger("B-7"), stranger("B-8"))
        await store.note_findings(BookFindings(complete=False))
        await store.note_findings(BookFindings(complete=True, strangers=strangers))
        found = await store.findings()
        assert found is not None
        assert (found.complete, found.strangers, found.known) == (True, strangers, frozenset())
        assert found.noted_at is not None

        await store.halt_for_reconcile("pulse", "STRANGERS")
        await pass_time(1)
        await store.note_findings(BookFindings(complete=True, strangers=strangers))
        await store.confirm_reconciled("asha", "looked")
        await store.note_findings(BookFindings(complete=True, strangers=(*strangers, stranger("B-9"))))

        later = await store.findings()
        assert later is not None
        assert {row.broker_order_id for row in later.strangers} == {"B-7", "B-8", "B-9"}
        assert later.known == {"B-7", "B-8"}

    async def test_restored_store_is_noticed_once_and_halted(self, store: OrderStore, restore: Restore) -> None:
        assert not await store.notice_restore("worker-1")
        assert not await store.notice_restore("worker-2")
        assert not (await store.trading_state()).halted
        await restore()

        noticed = await asyncio.gather(*[store.notice_restore(f"worker-{i}") for i in range(5)])

        assert sorted(noticed) == [False, False, False, False, True]
        state = await store.trading_state()
        assert (state.halted, state.needs_reconcile) == (True, True)
        assert state.reason is not None
        assert state.reason.startswith("RESTORED")
        assert not await store.notice_restore("worker-1")

    async def test_restored_store_claims_nothing_even_before_anybody_has_noticed(
        self, store: OrderStore, ids: Ids, restore: Restore
    ) -> None:
        await split_order(store, ids)
        await store.notice_restore("worker-1")
        await restore()

        assert await claim(store) == []
        assert await store.notice_restore("worker-1")
        assert await claim(store) == []

    async def test_halting_twice_stays_halted(self, store: OrderStore) -> None:
        await store.halt("operator", "one")
        await store.halt("operator", "two")
        assert (await store.trading_state()).halted
        await store.resume("operator", "")

        assert not (await store.trading_state()).halted

    async def test_in_flight_are_claims_whose_lease_runs(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        order = await split_order(store, ids, [[25], [25], [25], [25]])
        await claim(store, limit=3, lease_s=50.0)
        await tell(store, order, accepted(seq=1))
        await tell(store, order, unanswered(seq=2))
        await store.halt("operator", "")

        assert [execution.seq for execution in await store.in_flight()] == [3]
        assert await store.in_flight() == [await execution_of(store, order, 3)]
        await pass_time(51)
        assert await store.in_flight() == []

    # --- reading

    async def test_order_of_another_client_is_not_shown(self, store: OrderStore, ids: Ids) -> None:
        order_id = (await store.accept(new_order(ids))).order_id

        own = await store.get(order_id, CLIENT)

        assert own is not None
        assert await store.get(order_id) == own
        assert await store.get(order_id, OTHER_CLIENT) is None
        assert await store.get(ids.order_id()) is None
        assert await store.get(ids.order_id(), CLIENT) is None

    async def test_slices_of_an_order_that_is_not_split_are_none(self, store: OrderStore, ids: Ids) -> None:
        order_id = (await store.accept(new_order(ids))).order_id

        assert await store.slices(order_id) == []
        assert await store.slices(ids.order_id()) == []

    async def test_orders_are_listed_newest_first_in_pages(self, store: OrderStore, ids: Ids) -> None:
        order_ids = [(await store.accept(new_order(ids))).order_id for _ in range(7)]
        newest_first = order_ids[::-1]

        listed: list[OrderId] = []
        before = None
        while views := await store.list_orders(CLIENT, limit=3, before=before):
            assert len(views) <= 3
            listed += [view.order.order_id for view in views]
            before = listed[-1]

        assert listed == newest_first
        assert await store.list_orders(CLIENT, limit=3, before=order_ids[0]) == []

    async def test_page_is_not_moved_by_newer_orders(self, store: OrderStore, ids: Ids) -> None:
        order_ids = [(await store.accept(new_order(ids))).order_id for _ in range(4)]
        first = await store.list_orders(CLIENT, limit=2)
        await store.accept(new_order(ids))

        second = await store.list_orders(CLIENT, limit=2, before=first[-1].order.order_id)

        assert [view.order.order_id for view in second] == [order_ids[1], order_ids[0]]

    async def test_client_lists_its_own_orders(self, store: OrderStore, ids: Ids) -> None:
        mine = [(await store.accept(new_order(ids))).order_id for _ in range(2)]
        theirs = (await store.accept(new_order(ids, client_id=OTHER_CLIENT))).order_id

        def listed(views: Iterable[OrderView]) -> list[OrderId]:
            return [view.order.order_id for view in views]

        assert listed(await store.list_orders(CLIENT, limit=10)) == mine[::-1]
        assert listed(await store.list_orders(OTHER_CLIENT, limit=10)) == [theirs]
        assert listed(await store.list_orders(None, limit=10)) == [theirs, *mine[::-1]]
        assert await store.list_orders(OTHER_CLIENT, limit=10, before=theirs) == []

    async def test_listed_orders_are_what_is_read_one_by_one(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[40, 20], [40]])
        await claim(store, limit=2)
        await tell(store, order, filled("T-1", 15))
        waiting = (await store.accept(new_order(ids))).order_id
        await store.request_cancel(waiting, "desk-1")

        listed = await store.list_orders(None, limit=10)

        assert listed == [await store.get(waiting), await store.get(order.order_id)]
        assert listed[1].summary.quantities == Quantities(
            total=100, filled=15, working=25, unknown=20, unsent=40
        )
        assert listed[1].summary.average_price == Decimal("1402.35")

    async def test_open_orders_are_those_that_a_cancel_would_change(self, store: OrderStore, ids: Ids) -> None:
        filled_one = await split_order(store, ids)
        await claim(store, limit=1)
        await tell(store, filled_one, filled("T-1", 100))
        working = await split_order(store, ids)
        await claim(store, limit=1)
        await tell(store, working, filled("T-2", 15))
        planned = await split_order(store, ids, [[50], [50]], due_in_s=600)
        cancelled = await split_order(store, ids, due_in_s=600)
        await store.request_cancel(cancelled.order_id, "desk-1")
        waiting = (await store.accept(new_order(ids))).order_id
        skipped = (await store.accept(new_order(ids))).order_id
        await store.request_cancel(skipped, "desk-1")

        found = await store.open_orders(10)

        assert found == [working.order_id, planned.order_id, waiting]
        assert await store.open_orders(2) == found[:2]
        done = {view.order.order_id for view in await store.list_orders(None, limit=10) if view.summary.done}
        assert done.isdisjoint(found)
        assert filled_one.order_id in done

    async def test_orders_in_doubt_are_open_until_they_are_given_up(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await claim(store, limit=1)
        assert await store.open_orders(10) == [order.order_id]

        await tell(store, order, ev.ExecutionUnanswered(seq=1, chunk=0, attempt=1, reason="TIMEOUT"))
        in_doubt = await store.open_orders(10)
        await tell(store, order, ev.ExecutionUnresolved(seq=1, chunk=0, attempt=1, reason="NOT_PROVABLE"))

        assert (in_doubt, await store.open_orders(10)) == ([order.order_id], [])

    async def test_executions_are_found_by_their_tags(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[30, 30], [40]])
        other = await split_order(store, ids)
        wanted = [(await execution_of(store, order, 1, 1)), (await execution_of(store, other))]

        found = await store.find_by_tags([execution.tag for execution in wanted] + ["T1NOBODYCARRIESTHIS0"])

        assert {t.execution.execution_id: t.execution for t in found} == {e.execution_id: e for e in wanted}
        assert {t.order.order_id for t in found} == {order.order_id, other.order_id}
        assert await store.find_by_tags([]) == []

    async def test_ended_executions_are_found_by_their_tags_too(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids)
        await tell(store, order, LAPSED)

        [tracked] = await store.find_by_tags([(await execution_of(store, order)).tag])

        assert tracked.execution.terminal is TerminalReason.LAPSED

    async def test_executions_of_the_last_day_are_found_by_their_broker_order_ids(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        orders = [await split_order(store, ids) for _ in range(3)]
        await claim(store, limit=10)
        for number, order in enumerate(orders):
            await tell(store, order, accepted(f"B-{number}"))

        found = await store.find_by_broker_order_ids(["B-0", "B-2", "B-9"])

        assert {t.order.order_id for t in found} == {orders[0].order_id, orders[2].order_id}
        assert await store.find_by_broker_order_ids([]) == []
        await pass_time(24 * 3600 + 1)
        assert await store.find_by_broker_order_ids(["B-0"]) == []

    async def test_broker_order_ids_are_those_of_executions_due_since(
        self, store: OrderStore, ids: Ids
    ) -> None:
        old = await split_order(store, ids, due_in_s=-7200)
        order = await split_order(store, ids, [[50], [50]], due_in_s=[-60, 0])
        await tell(store, old, accepted("B-0"))
        await tell(store, order, accepted("B-1"))
        await tell(store, order, CANCELLED)

        since = order.created_at - timedelta(seconds=3600)

        assert await store.broker_order_ids(since) == {"B-1"}
        assert await store.broker_order_ids(old.created_at - timedelta(days=1)) == {"B-0", "B-1"}
        assert await store.broker_order_ids(order.created_at + timedelta(days=1)) == set()

    # --- housekeeping

    async def test_old_sightings_are_forgotten_and_young_ones_kept(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        old = await store.accept(new_order(ids, body_digest="d"))
        await pass_time(20)
        young = await store.accept(new_order(ids, body_digest="e"))

        assert await store.forget_sightings(3600.0) == 0
        assert await store.forget_sightings(10.0) == 1
        assert await store.forget_sightings(10.0) == 0

        assert await store.accept(new_order(ids, body_digest="e")) == replace(young, replayed=True)
        assert not (await store.accept(new_order(ids, body_digest="d"))).replayed
        assert await store.get(old.order_id) is not None

    async def test_orders_done_for_long_are_archived_and_their_keys_are_free_again(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        traded = await split_order(store, ids, [[10], [20]], order_unique_key="traded")
        await claim(store)
        for seq, quantity in ((1, 10), (2, 20)):
            # The same trades as of other tests would be another order's.
            trade = filled(f"T-{seq}", quantity, seq=seq, broker_order_id=f"B-{seq}")
            await store.book([booking(traded, accepted(f"B-{seq}", seq=seq)), booking(traded, trade)])
        refused = await split_order(store, ids)
        await claim(store)
        await store.book([booking(refused, REJECTED)])
        skipped = await store.accept(new_order(ids, body_digest="d"))
        await store.request_cancel(skipped.order_id, "desk")

        assert (await store.archive(3600.0, limit=10)).archived == 0
        await pass_time(60)
        first = await store.archive(10.0, limit=2)
        second = await store.archive(10.0, limit=2, after=first.last)

        assert first == ArchiveResult(archived=2, last=refused.order_id)
        assert second == ArchiveResult(archived=1, last=skipped.order_id)
        assert await store.archive(10.0, limit=2) == ArchiveResult(archived=0, last=None)
        for order_id in (traded.order_id, refused.order_id, skipped.order_id):
            assert await store.get(order_id) is None
            assert await store.slices(order_id) == []
            assert await store.journal(order_id, after_seq=0, limit=10) == []
        assert await store.find_accepted(CLIENT, "traded") is None
        again = await store.accept(new_order(ids, order_unique_key="traded"))
        assert not again.replayed
        assert [view.order.order_id for view in await store.list_orders(None, limit=10)] == [again.order_id]

    async def test_orders_that_are_not_over_are_not_archived(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        working = await split_order(store, ids, [[10], [10]])
        unresolved = await split_order(store, ids)
        await claim(store)
        await store.book([booking(working, accepted()), booking(working, filled("T-1", 10))])
        await store.book([booking(unresolved, unanswered()), booking(unresolved, UNRESOLVED)])
        planned = await split_order(store, ids, due_in_s=600)
        waiting = await store.accept(new_order(ids))
        await pass_time(60)

        assert await store.archive(10.0, limit=10) == ArchiveResult(archived=0, last=waiting.order_id)
        for order_id in (working.order_id, unresolved.order_id, planned.order_id, waiting.order_id):
            assert await store.get(order_id) is not None

    async def test_an_order_that_was_corrected_lately_is_not_archived(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        order = await split_order(store, ids)
        await claim(store)
        await store.book([booking(order, accepted()), booking(order, CANCELLED)])
        await pass_time(60)
        await store.book([booking(order, filled("T-1", 10))])

        assert (await store.archive(30.0, limit=10)).archived == 0
        await pass_time(60)
        assert (await store.archive(30.0, limit=10)).archived == 1

    async def test_store_answers(self, store: OrderStore) -> None:
        await store.ping()

    # --- anything, in any order

    @pytest.mark.parametrize("seed", [1, 2, 3])
    async def test_random_walk_keeps_journal_and_state_equal(
        self, store: OrderStore, ids: Ids, seed: int
    ) -> None:
        walk = _Walk(store, ids, seed)

        for _ in range(200):
            for order_id in await walk.step():
                await check_history(store, order_id)

        for order_id in walk.order_ids:
            history = await check_history(store, order_id)
            journal = await whole_journal(store, order_id)
            for length in range(len(journal)):
                part = replay(as_accepted(history.order), journal[:length])
                assert summarise_history(part).quantities.balanced, (order_id, length)
        # A walk that never gets anywhere proves nothing.
        assert walk.results[APPLIED] > 30
        assert walk.results[REFUSED] > 10
        assert walk.results[UNCHANGED] > 5


class _Walk:
    """Random steps, each compared with what the model makes of the state before it."""

    def __init__(self, store: OrderStore, ids: Ids, seed: int) -> None:
        self.store = store
        self.ids = ids
        self.rng = Random(seed)  # noqa: S311  # repeatable, not secret
        self.results: Counter[BookResult] = Counter()
        self._accepted: list[NewOrder] = []
        self._splitting: list[Order] = []
        self._split: list[OrderId] = []
        self._steps: tuple[tuple[int, Callable[[], Awaitable[list[OrderId]]]], ...] = (
            (12, self._accept), (3, self._accept_again), (3, self._cancel), (8, self._claim_orders),
            (12, self._finish_split), (4, self._recover), (12, self._claim_executions), (50, self._book),
            (2, self._halt_and_resume),
        )  # fmt: skip

    @property
    def order_ids(self) -> list[OrderId]:
        return [new.order_id for new in self._accepted]

    async def step(self) -> list[OrderId]:
        """Do something; returns the orders that it may have touched."""
        [step] = self.rng.choices([s for _, s in self._steps], [weight for weight, _ in self._steps])
        return await step()

    async def _accept(self) -> list[OrderId]:
        if len(self._accepted) >= 12:
            return await self._book()
        new = new_order(self.ids, total_quantity=self.rng.choice([60, 100, 120]))
        assert not (await self.store.accept(new)).replayed
        self._accepted.append(new)
        return [new.order_id]

    async def _accept_again(self) -> list[OrderId]:
        if not self._accepted:
            return []
        known = self.rng.choice(self._accepted)
        answer = await self.store.accept(replace(known, order_id=self.ids.order_id()))
        assert (answer.order_id, answer.replayed) == (known.order_id, True)
        return [known.order_id]

    async def _cancel(self) -> list[OrderId]:
        if len(self._accepted) < 6:
            return []
        order_id = self.rng.choice(self.order_ids)
        await self.store.request_cancel(order_id, "desk-1")
        return [order_id]

    async def _claim_orders(self) -> list[OrderId]:
        orders = await self.store.claim_orders(self.rng.randint(1, 2), "splitter", self.rng.choice([0.0, 60.0]))
        self._splitting += orders
        return [order.order_id for order in orders]

    async def _finish_split(self) -> list[OrderId]:
        if not self._splitting:
            return await self._claim_orders()
        order = self.rng.choice(self._splitting)
        if self.rng.random() < 0.05:
            await self.store.fail_split(order.order_id, order.split_attempt, "no plan")
            return [order.order_id]
        total, part = order.request.total_quantity, order.request.total_quantity // 4
        rows = self.rng.choice([[[total]], [[part, total - part]], [[part], [part, total - 2 * part]]])
        due = [self.rng.choice([-5.0, -1.0, 0.0, 900.0]) for _ in rows]
        result = await self.store.save_split(
            order.order_id,
            plan(order, rows, due_in_s=due, expires_in_s=self.rng.choice([-0.5, 3600.0, 3600.0])),
        )
        if result is SplitResult.SAVED:
            self._split.append(order.order_id)
        return [order.order_id]

    async def _recover(self) -> list[OrderId]:
        return await self.store.recover_splits(2)

    async def _claim_executions(self) -> list[OrderId]:
        claims = await self.store.claim_executions(
            self.rng.randint(1, 4), "executor", self.rng.choice([0.0, 60.0])
        )
        return list({taken.order.order_id for taken in claims})

    async def _halt_and_resume(self) -> list[OrderId]:
        await self.store.halt("operator", "")
        assert await self.store.claim_executions(10, "executor", 60.0) == []
        await self.store.resume("operator", "")
        return []

    async def _book(self) -> list[OrderId]:
        if not self._split:
            return []
        state = {
            (order_id, slice_.seq, execution.chunk): execution
            for order_id in self.rng.sample(self._split, min(2, len(self._split)))
            for slice_ in await self.store.slices(order_id)
            for execution in slice_.executions
        }
        bookings, expected = [], []
        for _ in range(self.rng.choice([1, 1, 2, 5])):
            key = self.rng.choice(list(state))
            event = self._event(state[key])
            result, state[key] = modelled(state[key], event)
            bookings.append(booking(key[0], event))
            expected.append(Booked(result, state[key]))

        assert await self.store.book(bookings) == expected

        self.results.update(booked.result for booked in expected)
        return list({key[0] for key in state})

    def _event(self, execution: Execution) -> ev.AnyExecutionEvent:
        rng = self.rng
        place = {"seq": execution.seq, "chunk": execution.chunk}
        own = {**place, "attempt": execution.attempt - (rng.random() < 0.1)}
        broker_order_id = BrokerOrderId("B" + execution.execution_id[3:] + rng.choice(["", "", "", "", "x"]))
        at = AT + timedelta(seconds=rng.randint(0, 5))
        trade = ev.Fill(
            trade_id=f"T-{rng.randint(1, 5)}", broker_order_id=BrokerOrderId("B" + execution.execution_id[3:]),
            quantity=rng.choice([5, 10, 25, 60]), price=Decimal(rng.randint(200_000, 200_400)) / 20, at=at,
        )  # fmt: skip
        price = Decimal(rng.randint(1000, 2000))
        quantity = rng.choice([20, 25, 60])
        # Ends are rare, so that there is something left to happen.
        weighted: list[tuple[int, ev.AnyExecutionEvent]] = [
            (12, ev.ExecutionFilled(**place, fill=trade)),
            (8, ev.ExecutionAccepted(**place, broker_order_id=broker_order_id)),
            (8, ev.ExecutionUnanswered(**own, reason="TIMEOUT", call_ended_at=rng.choice([None, at]))),
            (6, ev.ExecutionReleased(**own, reason="REFUSED_CONNECTION", not_before=at)),
            (4, ev.ExecutionAbsenceSeen(**own, read_began_at=at)),
            (4, ev.ExecutionCumulativeReported(**place, quantity=rng.randint(1, 70), average_price=price)),
            (3, ev.ExecutionCancelRequested(**place)),
            (3, ev.ExecutionCancelRefused(**place, reason="NO")),
            (3, ev.ExecutionResting(**place, trigger_pending=rng.random() < 0.5)),
            (3, ev.ExecutionFillBusted(**place, trade_id=trade.trade_id)),
            (3, ev.ExecutionReplaceRequested(**place, replacement=ev.Replacement(quantity=quantity))),
            (3, ev.ExecutionReplaced(**place)),
            (2, ev.ExecutionReplaceRefused(**place, reason="NO")),
            (2, ev.ExecutionFailed(**own, reason="PROVEN_ABSENT")),
            (2, ev.ExecutionUnresolved(**own, reason="NOT_PROVABLE")),
            (1, ev.ExecutionCompleted(**place)),
            (1, ev.ExecutionCancelled(**place, reason=SAYING)),
            (1, ev.ExecutionRejected(**place, reason_code="MARGIN", message=SAYING)),
            (1, ev.ExecutionExpired(**place)),
            (1, ev.ExecutionWithdrawn(**place)),
            (1, ev.ExecutionLapsed(**place)),
        ]
        [event] = rng.choices([e for _, e in weighted], [w for w, _ in weighted])
        return event
