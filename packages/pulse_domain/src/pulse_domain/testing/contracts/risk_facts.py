"""What every order store promises the risk gate and the kill switch.

A subclass overrides `store`, empty at every test, `pass_time` and `ids`. A store may trust the clock of whoever
makes order ids to an hour, so they are made by one that is right.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from pulse_domain.errors import DuplicateOrderUniqueKey, ReconcileRequired, RiskRejected, TradingHalted
from pulse_domain.instruments import Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, ClientId, OrderId
from pulse_domain.orders.model import REPLAY_WINDOW_S, NewOrder, Order, Product, Side
from pulse_domain.orders.status import OrderQueueStatus
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.order_store import Booking, OrderStore
from pulse_domain.risk import Breach, RiskLimits, RiskRule, Waiver
from pulse_domain.testing.factories import CLIENT, new_order, order_request, plan, split_order

PassTime = Callable[[float], Awaitable[None]]
_MINUTE = timedelta(minutes=1)
_FEW = RiskLimits(max_open_orders=2)
_ONE_A_MINUTE = RiskLimits(max_orders=1, orders_window=_MINUTE)
_ONCE = RiskLimits(duplicate_window=_MINUTE)
_ALL = RiskLimits(max_open_orders=9, max_orders=9, orders_window=_MINUTE, duplicate_window=_MINUTE)
_DAWN = datetime(2000, 1, 1, tzinfo=UTC)
# More than the pool of a store has connections.
_MANY = 30


def _rules(error: RiskRejected) -> list[str]:
    return [reason["rule"] for reason in error.details["reasons"]]


def _closing(carried: int, *, since: datetime = _DAWN) -> RiskLimits:
    """That an order passes only where it takes a position down; so much of it was there before an instant."""
    waiver = Waiver(breaches=(Breach(RiskRule.DAILY_LOSS, "lost"),), carried=carried, since=since)
    return RiskLimits(waiver=waiver)


def _filled(order: Order, trade_id: str, quantity: int, broker_order_id: str = "B-1") -> ev.ExecutionFilled:
    fill = ev.Fill(
        trade_id=trade_id,
        broker_order_id=BrokerOrderId(broker_order_id),
        quantity=quantity,
        price=Decimal(100),
        at=order.created_at,
    )
    return ev.ExecutionFilled(seq=1, chunk=0, fill=fill)


async def _refused(store: OrderStore, new: NewOrder, limits: RiskLimits) -> list[str]:
    with pytest.raises(RiskRejected) as raised:
        await store.accept(new, limits)
    assert await store.get(new.order_id) is None
    return _rules(raised.value)


async def _book(store: OrderStore, order_id: OrderId, *events: Any) -> None:
    for booked in await store.book([Booking(order_id=order_id, event=event) for event in events]):
        assert booked.result == "APPLIED", booked


class RiskFactsContract:
    @pytest.fixture
    def store(self) -> OrderStore:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def ids(self) -> Ids:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def pass_time(self) -> PassTime:
        pytest.fail("a subclass overrides this fixture")

    # --- what is counted

    async def test_of_limits_that_are_off_nothing_is_counted(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))

        counts = await store.count_orders(CLIENT, order_request(), RiskLimits())

        assert (counts.open_orders, counts.recent_orders, counts.same_orders) == (None, None, None)

    async def test_an_empty_store_counts_nothing(self, store: OrderStore) -> None:
        counts = await store.count_orders(CLIENT, order_request(), _ALL)

        assert (counts.open_orders, counts.recent_orders, counts.same_orders) == (0, (), ())

    async def test_orders_are_open_until_they_are_done(self, store: OrderStore, ids: Ids) -> None:
        async def count() -> int | None:
            return (await store.count_orders(CLIENT, order_request(), _FEW)).open_orders

        seen = []
        order = await split_order(store, ids, [[10]])
        seen.append(await count())  # planned
        await store.claim_executions(10, "executor", 60.0)
        seen.append(await count())  # claimed
        place = {"seq": 1, "chunk": 0}
        accepted = ev.ExecutionAccepted(**place, broker_order_id=BrokerOrderId("B-1"))
        await _book(store, order.order_id, accepted)
        seen.append(await count())  # live
        await store.request_cancel(order.order_id, "desk")
        await _book(store, order.order_id, ev.ExecutionCancelRequested(**place))
        seen.append(await count())  # to be cancelled
        await _book(store, order.order_id, ev.ExecutionCancelled(seq=1, chunk=0))
        seen.append(await count())

        assert seen == [1, 1, 1, 1, 0]

    async def test_orders_that_wait_or_are_being_split_are_open_and_failed_ones_are_not(
        self, store: OrderStore, ids: Ids
    ) -> None:
        for _ in range(3):
            await store.accept(new_order(ids))
        [one, _] = await store.claim_orders(2, "splitter", 60.0)
        before = await store.count_orders(CLIENT, order_request(), _FEW)
        await store.fail_split(one.order_id, one.split_attempt, "no plan")

        after = await store.count_orders(CLIENT, order_request(), _FEW)

        assert (before.open_orders, after.open_orders) == (3, 2)

    async def test_recent_orders_are_those_within_the_window_the_oldest_first(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        limits = RiskLimits(max_orders=2, orders_window=_MINUTE)
        await store.accept(new_order(ids))
        await pass_time(40)
        kept = [await store.accept(new_order(ids)) for _ in range(1)]
        await pass_time(10)
        kept.append(await store.accept(new_order(ids)))
        await pass_time(11)

        counts = await store.count_orders(CLIENT, order_request(), limits)

        views = [await store.get(each.order_id) for each in kept]
        assert counts.recent_orders == tuple(view.order.created_at for view in views if view is not None)

    async def test_no_more_recent_orders_are_told_than_the_limit_allows(
        self, store: OrderStore, ids: Ids
    ) -> None:
        for _ in range(5):
            await store.accept(new_order(ids))

        counts = await store.count_orders(CLIENT, order_request(), RiskLimits(max_orders=3))

        assert counts.recent_orders is not None
        assert len(counts.recent_orders) == 3

    @pytest.mark.parametrize(
        ("stored", "asked", "is_same"),
        [
            ({}, {}, True),
            ({"client_id": ClientId("other")}, {}, False),
            ({"strategy_tag": "RSI"}, {"strategy_tag": "RSI"}, True),
            ({"strategy_tag": "RSI", "client_id": ClientId("other")}, {"strategy_tag": "RSI"}, True),
            ({"strategy_tag": "RSI"}, {"strategy_tag": "MACD"}, False),
            ({"strategy_tag": "RSI"}, {}, False),
            ({"side": Side.SELL}, {}, False),
            ({"total_quantity": 99}, {}, False),
        ],
    )
    async def test_same_orders_are_equal_ones_of_the_strategy_or_else_of_the_client(
        self, store: OrderStore, ids: Ids, stored: dict[str, Any], asked: dict[str, Any], is_same: bool
    ) -> None:
        await store.accept(new_order(ids, **stored))

        counts = await store.count_orders(CLIENT, order_request(**asked), _ONCE)

        assert counts.same_orders is not None
        assert bool(counts.same_orders) is is_same

    async def test_same_orders_are_forgotten_after_the_window(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        await store.accept(new_order(ids))
        await pass_time(61)

        assert (await store.count_orders(CLIENT, order_request(), _ONCE)).same_orders == ()
        await store.accept(new_order(ids), _ONCE)

    # --- what is held where orders are stored

    async def test_where_there_is_room_for_one_more_one_is_stored(self, store: OrderStore, ids: Ids) -> None:
        for _ in range(2):
            await store.accept(new_order(ids), _FEW)

        assert await _refused(store, new_order(ids), _FEW) == [RiskRule.OPEN_ORDERS]
        assert await _refused(store, new_order(ids), _ONE_A_MINUTE) == [RiskRule.ORDER_RATE]
        assert await _refused(store, new_order(ids), _ONCE) == [RiskRule.DUPLICATE_SIGNAL]

    async def test_all_limits_that_refuse_are_told(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))

        limits = RiskLimits(max_open_orders=1, max_orders=1, duplicate_window=_MINUTE)
        assert await _refused(store, new_order(ids), limits) == [
            RiskRule.DUPLICATE_SIGNAL,
            RiskRule.ORDER_RATE,
            RiskRule.OPEN_ORDERS,
        ]

    @pytest.mark.parametrize("by_body", [False, True], ids=["by key", "by body"])
    @pytest.mark.parametrize("limits", [RiskLimits(max_open_orders=3), RiskLimits(max_orders=3)])
    async def test_of_orders_that_come_at_once_no_more_are_stored_than_there_is_room_for(
        self, store: OrderStore, ids: Ids, limits: RiskLimits, by_body: bool
    ) -> None:
        orders = [new_order(ids, body_digest=f"{number:064x}" if by_body else None) for number in range(_MANY)]

        answers = await asyncio.gather(*(store.accept(new, limits) for new in orders), return_exceptions=True)

        refused = [answer for answer in answers if isinstance(answer, RiskRejected)]
        assert len(refused) == _MANY - 3
        assert len(await store.list_orders(None, limit=100)) == 3

    async def test_of_equal_orders_that_come_at_once_one_is_stored(self, store: OrderStore, ids: Ids) -> None:
        orders = [new_order(ids) for _ in range(_MANY)]

        answers = await asyncio.gather(*(store.accept(new, _ONCE) for new in orders), return_exceptions=True)

        assert sum(isinstance(answer, RiskRejected) for answer in answers) == _MANY - 1

    async def test_orders_without_limits_count_for_those_with(self, store: OrderStore, ids: Ids) -> None:
        await asyncio.gather(*(store.accept(new_order(ids)) for _ in range(2)))

        assert await _refused(store, new_order(ids), _FEW) == [RiskRule.OPEN_ORDERS]

    async def test_limits_that_count_nothing_refuse_nothing(self, store: OrderStore, ids: Ids) -> None:
        limits = RiskLimits(max_order_quantity=1, in_session_only=True)
        for _ in range(2):
            assert not (await store.accept(new_order(ids), limits)).replayed

    async def test_what_was_accepted_stays_accepted_though_there_is_no_room(
        self, store: OrderStore, ids: Ids
    ) -> None:
        limits = RiskLimits(max_open_orders=1, max_orders=1, duplicate_window=_MINUTE)
        first = new_order(ids)
        await store.accept(first, limits)
        seen = new_order(ids, body_digest="a" * 64)
        await store.accept(seen)

        again = await store.accept(new_order(ids, order_unique_key=first.order_unique_key), limits)
        by_body = await store.accept(new_order(ids, body_digest="a" * 64), limits)

        assert (again.order_id, again.replayed) == (first.order_id, True)
        assert (by_body.order_id, by_body.replayed) == (seen.order_id, True)
        other = order_request(side=Side.SELL)
        with pytest.raises(DuplicateOrderUniqueKey):
            await store.accept(new_order(ids, order_unique_key=first.order_unique_key, request=other), limits)

    async def test_a_body_that_was_refused_is_not_taken_for_seen(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        await store.accept(new_order(ids))
        refused = new_order(ids, body_digest="b" * 64)
        assert await _refused(store, refused, _ONE_A_MINUTE) == [RiskRule.ORDER_RATE]

        assert await store.find_sighted(CLIENT, "b" * 64) is None
        await pass_time(61)
        accepted = await store.accept(new_order(ids, body_digest="b" * 64), _ONE_A_MINUTE)
        assert not accepted.replayed
        assert REPLAY_WINDOW_S < 60

    async def test_a_halt_comes_before_the_limits(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids))
        await store.halt("desk", "test")

        with pytest.raises(TradingHalted):
            await store.accept(new_order(ids), _ONE_A_MINUTE)

    # --- what is closed

    async def test_what_is_not_asked_for_is_not_looked_for(self, store: OrderStore, ids: Ids) -> None:
        await store.accept(new_order(ids, side=Side.SELL))

        counts = await store.count_orders(CLIENT, order_request(side=Side.SELL), _ALL)

        assert (counts.closable, counts.closing) == (None, None)

    @pytest.mark.parametrize(
        ("request_", "closable", "closing"),
        [
            ({}, 50, 110),
            ({"side": Side.BUY}, -50, 0),
            ({"product": Product.MIS}, 50, 0),
            ({"instrument": Instrument.parse("NSE:TCS")}, 50, 0),
        ],
    )
    async def test_open_orders_of_the_instrument_product_and_side_are_closing_it(
        self, store: OrderStore, ids: Ids, request_: dict[str, Any], closable: int, closing: int
    ) -> None:
        await split_order(store, ids, [[7, 3]], side=Side.SELL, strategy_tag="RSI")
        await store.accept(new_order(ids, side=Side.SELL, client_id=ClientId("other")))
        asked = order_request(**({"side": Side.SELL} | request_))

        counts = await store.count_orders(CLIENT, asked, _closing(50))

        assert (counts.closable, counts.closing) == (closable, closing)

    async def test_what_may_still_fill_is_closing_and_what_was_filled_is_no_more_to_close(
        self, store: OrderStore, ids: Ids
    ) -> None:
        seen = []

        async def look() -> None:
            counts = await store.count_orders(CLIENT, order_request(side=Side.SELL), _closing(100))
            seen.append((counts.closable, counts.closing))

        accepted = await store.accept(new_order(ids, side=Side.SELL, total_quantity=10))
        await look()  # waits
        [order] = await store.claim_orders(1, "splitter", 60.0)
        await look()  # is being split
        await store.save_split(order.order_id, plan(order))
        await look()  # planned
        await store.claim_executions(10, "executor", 60.0)
        await look()  # claimed
        place: dict[str, Any] = {"seq": 1, "chunk": 0}
        unanswered = ev.ExecutionUnanswered(
            **place, attempt=1, reason="TIMEOUT", call_ended_at=order.created_at
        )
        await _book(store, accepted.order_id, unanswered)
        await look()  # unknown
        await _book(
            store, accepted.order_id, ev.ExecutionAccepted(**place, broker_order_id=BrokerOrderId("B-1"))
        )
        await look()  # live
        await _book(store, accepted.order_id, _filled(order, "T-1", 4))
        await look()
        # More than the trades explain: by the broker's running total.
        total = ev.ExecutionCumulativeReported(**place, quantity=6, average_price=Decimal(100))
        await _book(store, accepted.order_id, total)
        await look()
        await store.request_cancel(accepted.order_id, "desk")
        await _book(store, accepted.order_id, ev.ExecutionCancelRequested(**place))
        await look()  # to be cancelled
        await _book(store, accepted.order_id, ev.ExecutionCancelled(**place))
        await look()

        assert seen == [*[(100, 10)] * 6, (96, 6), (94, 4), (94, 4), (94, 0)]

    async def test_fills_of_other_days_and_of_others_are_not_counted_to_what_was_carried(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        others: dict[str, dict[str, Any]] = {
            "B-1": {},
            "B-2": {"product": Product.MIS},
            "B-3": {"strategy_tag": "RSI"},
        }
        for name, fields in others.items():
            order = await split_order(store, ids, [[10]], **fields)
            await store.claim_executions(10, "executor", 60.0)
            accepted = ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=BrokerOrderId(name))
            await _book(store, order.order_id, accepted, _filled(order, name, 10, name))
        now = await store.now()
        asked = order_request(side=Side.SELL)

        counts = await store.count_orders(CLIENT, asked, _closing(-5))
        later = await store.count_orders(CLIENT, asked, _closing(-5, since=now + timedelta(days=2)))

        assert (counts.closable, later.closable) == (15, -5)

    async def test_a_waiver_holds_for_as_many_units_as_are_left_to_close(
        self, store: OrderStore, ids: Ids
    ) -> None:
        def closer(units: int) -> NewOrder:
            return new_order(ids, side=Side.SELL, total_quantity=units)

        await store.accept(closer(60), _closing(100))

        assert await _refused(store, closer(41), _closing(100)) == [RiskRule.DAILY_LOSS]
        assert await _refused(store, new_order(ids, total_quantity=1), _closing(100)) == [RiskRule.DAILY_LOSS]
        seen = replace(closer(41), body_digest="c" * 64)
        assert await _refused(store, seen, _closing(100)) == [RiskRule.DAILY_LOSS]
        both = replace(_closing(100), max_orders=1)
        assert await _refused(store, closer(41), both) == [RiskRule.ORDER_RATE, RiskRule.DAILY_LOSS]
        assert not (await store.accept(closer(40), _closing(100))).replayed
        assert await _refused(store, closer(1), _closing(100)) == [RiskRule.DAILY_LOSS]

    @pytest.mark.parametrize("by_body", [False, True], ids=["by key", "by body"])
    async def test_of_orders_that_close_at_once_no_more_are_stored_than_is_held(
        self, store: OrderStore, ids: Ids, by_body: bool
    ) -> None:
        orders = [
            new_order(ids, side=Side.SELL, total_quantity=30, body_digest=f"{number:064x}" if by_body else None)
            for number in range(_MANY)
        ]

        answers = await asyncio.gather(
            *(store.accept(new, _closing(100)) for new in orders), return_exceptions=True
        )

        assert sum(isinstance(answer, RiskRejected) for answer in answers) == _MANY - 3
        assert len(await store.list_orders(None, limit=100)) == 3

    async def test_a_resend_of_what_closes_is_answered_though_it_leaves_nothing_to_close(
        self, store: OrderStore, ids: Ids
    ) -> None:
        first = new_order(ids, side=Side.SELL, total_quantity=100)
        await store.accept(first, _closing(100))

        again = await store.accept(replace(first, order_id=ids.order_id()), _closing(100))

        assert (again.order_id, again.replayed) == (first.order_id, True)

    # --- the kill switch

    async def test_once_a_halt_is_answered_nothing_more_is_stored(self, store: OrderStore, ids: Ids) -> None:
        """However accepts and the halt overlap: what is there when it is answered is all there is."""
        accepting = [
            asyncio.ensure_future(store.accept(new_order(ids), limits))
            for limits in (None, RiskLimits(max_orders=1000)) * _MANY
        ]
        await asyncio.sleep(0)
        await store.halt("desk", "test")
        stored = {view.order.order_id for view in await store.list_orders(None, limit=1000)}
        answers = await asyncio.gather(*accepting, return_exceptions=True)

        assert {view.order.order_id for view in await store.list_orders(None, limit=1000)} == stored
        assert all(isinstance(answer, TradingHalted) or answer.order_id in stored for answer in answers)  # type: ignore[union-attr]  # the others are answers

    async def test_an_order_of_the_kill_in_force_is_accepted_and_claimed_and_no_other(
        self, store: OrderStore, ids: Ids
    ) -> None:
        waiting = await split_order(store, ids, [[10]])
        state = await store.halt_to_square_off("desk", "test")

        assert (state.halted, state.kill_id is not None) == (True, True)
        assert await store.trading_state() == state
        closing = await split_order(store, ids, [[10]], kill_id=state.kill_id)
        for kill_id in (None, "another"):
            with pytest.raises(TradingHalted):
                await store.accept(new_order(ids, kill_id=kill_id))
        due = await store.next_due()
        assert due is not None
        assert due <= 0
        claims = await store.claim_executions(10, "executor", 60.0)

        assert [claim.order.order_id for claim in claims] == [closing.order_id]
        assert [claim.order.kill_id for claim in claims] == [state.kill_id]
        await store.resume("desk", "test")
        claims = await store.claim_executions(10, "executor", 60.0)
        assert [claim.order.order_id for claim in claims] == [waiting.order_id]

    @pytest.mark.parametrize("ending", ["halt", "resume", "halt_for_reconcile"])
    async def test_any_other_change_ends_the_kill_for_its_orders(
        self, store: OrderStore, ids: Ids, ending: str
    ) -> None:
        killed = await store.halt_to_square_off("desk", "test")
        await split_order(store, ids, [[10]], kill_id=killed.kill_id)

        state = await getattr(store, ending)("desk", "test")

        assert state.kill_id is None
        assert await store.claim_executions(10, "executor", 60.0) == []
        assert await store.next_due() is None
        with pytest.raises(TradingHalted):
            await store.accept(new_order(ids, kill_id=killed.kill_id))

    async def test_a_second_kill_joins_the_one_in_force_and_one_after_a_resume_is_another(
        self, store: OrderStore, pass_time: PassTime
    ) -> None:
        first = await store.halt_to_square_off("desk", "one")
        await pass_time(1)
        joined = await store.halt_to_square_off("telegram:7", "two")
        await store.resume("desk", "over")
        await pass_time(1)
        later = await store.halt_to_square_off("desk", "three")

        assert joined.kill_id == first.kill_id
        assert (joined.changed_by, joined.reason) == ("telegram:7", "two")
        assert later.kill_id not in (None, first.kill_id)

    async def test_where_a_reconcile_is_needed_nothing_is_squared_off(
        self, store: OrderStore, ids: Ids
    ) -> None:
        await store.halt_for_reconcile("worker", "restored")

        state = await store.halt_to_square_off("desk", "test")

        assert (state.needs_reconcile, state.kill_id) == (True, None)
        with pytest.raises(ReconcileRequired):
            await store.resume("desk", "test")

    async def test_orders_of_the_kill_in_force_are_not_open_for_it_and_those_of_an_older_one_are(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        killed = await store.halt_to_square_off("desk", "test")
        accepted = await store.accept(new_order(ids, kill_id=killed.kill_id))
        during = await store.open_orders(10)
        await store.resume("desk", "over")
        await pass_time(1)
        resumed = await store.open_orders(10)
        await store.halt_to_square_off("desk", "again")

        assert (during, resumed) == ([], [accepted.order_id])
        assert await store.open_orders(10) == [accepted.order_id]

    async def test_the_order_of_a_kill_is_known_by_its_key_as_any_other(
        self, store: OrderStore, ids: Ids
    ) -> None:
        killed = await store.halt_to_square_off("desk", "test")
        first = new_order(ids, kill_id=killed.kill_id, order_unique_key="kill-1")
        again = replace(first, order_id=ids.order_id())

        answers = await asyncio.gather(store.accept(first), store.accept(again))

        assert sorted(answer.replayed for answer in answers) == [False, True]
        assert len({answer.order_id for answer in answers}) == 1

    # --- what may still change a position

    async def test_an_instrument_is_unsettled_while_something_of_ours_may_change_its_position(
        self, store: OrderStore, ids: Ids
    ) -> None:
        seen = [bool(await store.unsettled())]
        order = await split_order(store, ids, [[10]])
        seen.append(bool(await store.unsettled()))
        await store.claim_executions(10, "executor", 60.0)
        await store.request_cancel(order.order_id, "desk")
        seen.append(bool(await store.unsettled()))
        place = {"seq": 1, "chunk": 0}
        unanswered = ev.ExecutionUnanswered(
            **place, attempt=1, reason="TIMEOUT", call_ended_at=order.created_at
        )
        await _book(store, order.order_id, unanswered)
        assert await store.unsettled() == {order.request.instrument}
        await _book(store, order.order_id, ev.ExecutionAccepted(**place, broker_order_id=BrokerOrderId("B-1")))
        await _book(store, order.order_id, ev.ExecutionCancelled(seq=1, chunk=0))

        assert seen == [False, True, True]
        assert await store.unsettled() == set()

    async def test_an_instrument_is_unsettled_while_an_order_waits_to_be_split(
        self, store: OrderStore, ids: Ids
    ) -> None:
        accepted = await store.accept(new_order(ids))
        waiting = await store.unsettled()
        await store.request_cancel(accepted.order_id, "desk")
        view = await store.get(accepted.order_id)
        assert view is not None
        assert view.order.queue_status is OrderQueueStatus.SKIPPED

        assert (waiting, await store.unsettled()) == ({view.order.request.instrument}, set())

    async def test_an_instrument_with_an_unresolved_execution_is_unsettled_for_a_day(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        order = await split_order(store, ids, [[10]])
        await store.claim_executions(10, "executor", 60.0)
        place = {"seq": 1, "chunk": 0, "attempt": 1}
        await _book(
            store,
            order.order_id,
            ev.ExecutionUnanswered(**place, reason="TIMEOUT", call_ended_at=order.created_at),
            ev.ExecutionUnresolved(**place, reason="nobody knows"),
        )
        unsettled = await store.unsettled()
        await pass_time(86_500)

        assert (unsettled, await store.unsettled()) == ({order.request.instrument}, set())
