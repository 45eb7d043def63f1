"""What every order store promises of its fills and of its ledger.

A subclass overrides two fixtures, `store` (empty at every test) and `pass_time`.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_domain.instruments import Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import trading_day
from pulse_domain.orders.ids import ClientId, execution_id, execution_uuid
from pulse_domain.orders.model import Order, Product, Side, Source
from pulse_domain.orders.status import LEDGER_STATUS, LedgerStatus
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.order_store import Booking, BookResult, LedgerRow, LedgerWish, OrderStore
from pulse_domain.positions import LedgerFill, PositionKey, fold
from pulse_domain.testing.contracts.order_store import (
    AT,
    LATER,
    PassTime,
    accepted,
    booking,
    fill_of,
    filled,
    released,
)
from pulse_domain.testing.factories import CLIENT, split_order
from pulse_domain.testing.sequential_ids import SequentialIds

OTHER = ClientId("desk-2")
TCS = Instrument.parse("NSE:TCS")
REJECTED = ev.ExecutionRejected(seq=1, chunk=0, reason_code="MARGIN", message="no funds")
COMPLETED = ev.ExecutionCompleted(seq=1, chunk=0)


def reported(quantity: int, average_price: str) -> ev.ExecutionCumulativeReported:
    return ev.ExecutionCumulativeReported(
        seq=1, chunk=0, quantity=quantity, average_price=Decimal(average_price)
    )


async def book(store: OrderStore, order: Order, *events: ev.AnyExecutionEvent) -> None:
    results = [booked.result for booked in await store.book([booking(order, event) for event in events])]
    assert results == [BookResult.APPLIED] * len(events)


async def working(store: OrderStore, ids: Ids, quantity: int = 100, **over: object) -> Order:
    """An order whose only execution is claimed and may be at the broker."""
    order = await split_order(store, ids, [[quantity]], **over)  # type: ignore[arg-type]  # fields by name
    assert [claim.order.order_id for claim in await store.claim_executions(1, "executor", 60.0)] == [
        order.order_id
    ]
    return order


def told(fills: list[LedgerFill]) -> list[tuple[str, int, Decimal | None, bool]]:
    return [(it.trade_id, it.quantity, it.value, it.provisional) for it in fills]


class OrderLedgerContract:
    """Fixtures to give: `store` (an `OrderStore`), `pass_time` (a `PassTime`)."""

    @pytest.fixture
    def ids(self) -> Ids:
        return SequentialIds()

    # --- fills

    async def test_a_fill_names_whose_it_is(self, store: OrderStore, ids: Ids) -> None:
        order = await working(
            store, ids, strategy_tag="macd", instrument=TCS, side=Side.SELL, product=Product.MIS,
            source=Source.STRATEGY,
        )  # fmt: skip
        await book(store, order, accepted(), filled("T-1", 40, price="1402.35"))

        assert await store.fills() == [
            LedgerFill(
                client_id=CLIENT,
                strategy_tag="macd",
                instrument=TCS,
                product=Product.MIS,
                side=Side.SELL,
                source=Source.STRATEGY,
                quantity=40,
                value=Decimal("56094.00"),
                at=AT,
                order_id=order.order_id,
                seq=1,
                chunk=0,
                trade_id="T-1",
            )
        ]

    async def test_fills_come_in_the_order_of_their_instants(self, store: OrderStore, ids: Ids) -> None:
        first = await working(store, ids)
        second = await working(store, ids, side=Side.SELL)
        late = ev.ExecutionFilled(seq=1, chunk=0, fill=fill_of("T-1", 10, at=LATER))
        early = ev.ExecutionFilled(
            seq=1, chunk=0, fill=fill_of("T-2", 20, broker_order_id="B-2", at=LATER - timedelta(microseconds=1))
        )
        await book(store, first, late)
        await book(store, second, early)

        assert [fill.trade_id for fill in await store.fills()] == ["T-2", "T-1"]

    async def test_no_fill_is_none(self, store: OrderStore, ids: Ids) -> None:
        await working(store, ids)

        assert await store.fills() == []

    async def test_a_trade_that_was_taken_back_does_not_count(self, store: OrderStore, ids: Ids) -> None:
        order = await working(store, ids)
        await book(store, order, filled("T-1", 40), filled("T-2", 20))
        await book(store, order, ev.ExecutionFillBusted(seq=1, chunk=0, trade_id="T-1"))

        assert [fill.trade_id for fill in await store.fills()] == ["T-2"]

    async def test_what_no_trade_explains_counts_once_and_goes_as_the_trades_come(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await working(store, ids)
        began = await store.now()
        await book(store, order, accepted(), filled("T-1", 40, price="100"), reported(100, "101.2"))

        fills = await store.fills()
        assert told(fills) == [
            ("T-1", 40, Decimal(4000), False),
            ("", 60, Decimal("6120"), True),
        ]
        assert began <= fills[1].at <= await store.now()

        await book(store, order, filled("T-2", 60, price="102"))
        assert told(await store.fills()) == [
            ("T-1", 40, Decimal(4000), False),
            ("T-2", 60, Decimal(6120), False),
        ]

    async def test_what_is_complete_without_a_price_counts_at_that_of_its_trades(
        self, store: OrderStore, ids: Ids
    ) -> None:
        order = await working(store, ids)
        await book(store, order, accepted(), filled("T-1", 50, price="100.5"), COMPLETED)

        assert told(await store.fills()) == [
            ("T-1", 50, Decimal("5025"), False),
            ("", 50, Decimal("5025"), True),
        ]

    async def test_what_is_complete_without_any_trade_has_no_price(self, store: OrderStore, ids: Ids) -> None:
        order = await working(store, ids)
        await book(store, order, accepted(), COMPLETED)

        assert told(await store.fills()) == [("", 100, None, True)]

    async def test_a_running_total_at_no_price_has_none(self, store: OrderStore, ids: Ids) -> None:
        order = await working(store, ids)
        await book(store, order, accepted(), reported(30, "0"))

        assert told(await store.fills()) == [("", 30, None, True)]

    async def test_positions_do_not_change_when_orders_are_archived(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        bought = await working(store, ids, strategy_tag="macd")
        await book(store, bought, accepted(), filled("T-1", 40, price="100"), reported(100, "101.2"), COMPLETED)
        busted = await working(store, ids)
        await book(
            store,
            busted,
            filled("T-2", 60, broker_order_id="B-2"),
            filled("T-3", 40, broker_order_id="B-2"),
            ev.ExecutionFillBusted(seq=1, chunk=0, trade_id="T-2"),
        )
        untouched = await working(store, ids, strategy_tag="rsi", side=Side.SELL)
        await book(store, untouched, filled("T-4", 10, broker_order_id="B-3"))
        before = await store.fills()
        await pass_time(60)

        assert (await store.archive(10.0, limit=10)).archived == 2

        assert await store.get(bought.order_id) is None
        assert await store.fills() == before
        # New ones come on top, and a second pass takes nothing twice.
        sold = await working(store, ids, strategy_tag="macd", side=Side.SELL)
        await book(store, sold, filled("T-5", 100, price="110", broker_order_id="B-4"))
        await pass_time(60)
        assert (await store.archive(10.0, limit=10)).archived == 1
        after = fold(await store.fills())
        macd = [standing for key, standing in after.items() if key.strategy_tag == "macd"]
        assert [(it.quantity, it.realised) for it in macd] == [(0, Decimal(880))]

    async def test_fills_of_a_stretch_of_time(self, store: OrderStore, ids: Ids) -> None:
        order = await working(store, ids)
        for number in range(3):
            fill = fill_of(f"T-{number}", 10, at=AT + timedelta(seconds=number))
            await book(store, order, ev.ExecutionFilled(seq=1, chunk=0, fill=fill))

        async def found(since: int | None = None, until: int | None = None) -> list[str]:
            bounds = [None if s is None else AT + timedelta(seconds=s) for s in (since, until)]
            return [fill.trade_id for fill in await store.fills(since=bounds[0], until=bounds[1])]

        assert await found() == ["T-0", "T-1", "T-2"]
        assert await found(since=1) == ["T-1", "T-2"]
        assert await found(until=1) == ["T-0"]
        assert await found(since=1, until=2) == ["T-1"]

    async def test_units_since_an_instant(self, store: OrderStore, ids: Ids) -> None:
        for number, (side, quantity, tag) in enumerate(
            [(Side.BUY, 50, "macd"), (Side.SELL, 80, "macd"), (Side.BUY, 7, None), (Side.BUY, 30, "macd")]
        ):
            order = await working(store, ids, quantity, side=side, strategy_tag=tag)
            fill = fill_of("T-1", quantity, broker_order_id=f"B-{number}", at=AT + timedelta(seconds=number))
            await book(store, order, ev.ExecutionFilled(seq=1, chunk=0, fill=fill))
        key = PositionKey("macd", Instrument.parse("NSE:RELIANCE"), Product.CNC)

        assert await store.units_since(AT) == {key: 0, PositionKey(None, key.instrument, key.product): 7}
        assert await store.units_since(AT + timedelta(seconds=3)) == {key: 30}
        assert await store.units_since(AT + timedelta(seconds=4)) == {}

    async def test_a_mark_changes_with_the_fills_before_it_and_with_nothing_else(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        until = AT + timedelta(days=1)
        marks = [await store.fills_mark(until)]
        order = await working(store, ids)
        assert await store.fills_mark(until) == marks[0]
        for event in (
            filled("T-1", 40),
            filled("T-2", 60),
            ev.ExecutionFillBusted(seq=1, chunk=0, trade_id="T-1"),
        ):
            await book(store, order, event)
            marks.append(await store.fills_mark(until))
        assert len(set(marks)) == len(marks)

        late = ev.ExecutionFilled(seq=1, chunk=0, fill=fill_of("T-3", 5, at=until))
        await book(store, order, late)
        assert await store.fills_mark(until) == marks[-1]
        assert await store.fills_mark(until + timedelta(seconds=1)) != marks[-1]
        await pass_time(60)
        assert (await store.archive(10.0, limit=10)).archived == 1
        assert await store.fills_mark(until) == marks[-1]

    # --- the ledger

    async def test_a_row_holds_ids_status_and_quantities(self, store: OrderStore, ids: Ids) -> None:
        order = await split_order(store, ids, [[60], [25, 15]], strategy_tag="macd")
        await store.claim_executions(1, "executor", 60.0)
        await book(store, order, accepted("B-1"), filled("T-1", 60))

        last, middle, first = await store.ledger(LedgerWish(), limit=10)

        assert [(row.execution.seq, row.execution.chunk) for row in (first, middle, last)] == [
            (1, 0), (2, 0), (2, 1),
        ]  # fmt: skip
        assert first.internal_id == execution_uuid(execution_id(order.order_id, 1, 0))
        assert (first.execution.broker_order_id, first.order.request.strategy_tag) == ("B-1", "macd")
        assert (first.status, first.execution.filled_quantity) == (LedgerStatus.TRADED, 60)
        assert [fill.trade_id for fill in first.execution.fills] == ["T-1"]
        assert (last.status, last.execution.quantity, last.answers) == (LedgerStatus.OPEN, 15, {})

    async def test_status_follows_from_what_is_reported(self, store: OrderStore, ids: Ids) -> None:
        ends: dict[str, list[ev.AnyExecutionEvent]] = {
            "filled": [filled("T-1", 100)],
            "rejected": [REJECTED],
            "cancelled": [accepted("B-2"), ev.ExecutionCancelled(seq=1, chunk=0)],
            "expired": [accepted("B-3"), ev.ExecutionExpired(seq=1, chunk=0)],
            "working": [accepted("B-4")],
            "lost": [ev.ExecutionUnanswered(seq=1, chunk=0, attempt=1, reason="TIMEOUT")],
            "claimed": [],
        }
        for key, events in ends.items():
            order = await working(store, ids, order_unique_key=key)
            await book(store, order, *events)

        rows = await store.ledger(LedgerWish(), limit=10)

        assert {row.order.order_unique_key: row.status.value for row in rows} == {
            "filled": "TRADED", "rejected": "REJECTED", "cancelled": "CANCELLED", "expired": "CANCELLED",
            "working": "OPEN", "lost": "OPEN", "claimed": "OPEN",
        }  # fmt: skip
        assert all(row.status is LEDGER_STATUS[row.execution.status] for row in rows)
        for status in LedgerStatus:
            assert await store.ledger(LedgerWish(status=status), limit=10) == [
                row for row in rows if row.status is status
            ]

    async def test_answers_keep_the_last_of_each_kind(self, store: OrderStore, ids: Ids) -> None:
        order = await working(store, ids)

        async def answered(event: ev.AnyExecutionEvent, answer: dict[str, Any]) -> BookResult:
            [booked] = await store.book([Booking(order_id=order.order_id, event=event, answer=answer)])
            return booked.result

        await answered(released(1), {"error": "BUSY: later", "n": 1})
        await answered(accepted(), {"status": "OPEN", "raw": {"a": "₹"}})
        await answered(filled("T-1", 1), {"raw": {"b": [1.5, None]}})
        # What was known already tells nothing new.
        assert await answered(filled("T-1", 1), {"status": "doubled"}) is BookResult.UNCHANGED

        [row] = await store.ledger(LedgerWish(), limit=10)

        assert row.answers == {"error": "BUSY: later", "n": 1, "status": "OPEN", "raw": {"b": [1.5, None]}}

    async def test_rows_are_told_by_day_strategy_instrument_and_client(
        self, store: OrderStore, ids: Ids
    ) -> None:
        today = await split_order(store, ids, strategy_tag="macd", instrument=TCS)
        other = await split_order(store, ids, client_id=OTHER)
        next_week = await split_order(store, ids, due_in_s=7 * 86400.0, expires_in_s=8 * 86400.0)

        async def found(**wish: object) -> list[str]:
            rows = await store.ledger(LedgerWish(**wish), limit=10)  # type: ignore[arg-type]  # by name
            return [row.order.order_id for row in rows]

        assert await found() == [next_week.order_id, other.order_id, today.order_id]
        assert await found(client_id=OTHER) == [other.order_id]
        assert await found(strategy_tag="macd") == [today.order_id]
        assert await found(strategy_tag="rsi") == []
        assert await found(instrument=TCS) == [today.order_id]
        day = trading_day(today.created_at)
        assert await found(day=day, client_id=CLIENT) == [today.order_id]
        assert await found(day=day + timedelta(days=7)) == [next_week.order_id]
        assert await found(day=day - timedelta(days=1)) == []

    async def test_pages_follow_one_another_without_gap_or_double(self, store: OrderStore, ids: Ids) -> None:
        for _ in range(3):
            await split_order(store, ids, [[10], [20, 30]])
        whole = await store.ledger(LedgerWish(), limit=100)
        pages: list[LedgerRow] = []
        while page := await store.ledger(
            LedgerWish(),
            limit=2,
            before=(lambda e: (e.order_id, e.seq, e.chunk))(pages[-1].execution) if pages else None,
        ):
            pages += page

        assert len(whole) == 9
        assert pages == whole
