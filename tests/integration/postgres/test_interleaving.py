"""Every pair of steps, overlapping on two connections, does what the in-memory store does one by one.

The first step runs in a transaction that is held open while the second one starts on another connection;
then the first commits. Answers and stored state must be those of one of the two orders. A claim may also
have passed over rows that were held at that moment: then it answers nothing and changes nothing. A booking is
atomic by slice: where it overlaps with another, the journal rows of its slices may stand in another order.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.errors import PulseError
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import NewOrder, Side
from pulse_domain.ports.order_store import AtOnce, Booking, OrderStore
from pulse_domain.risk import Breach, RiskLimits, RiskRule, Waiver
from pulse_domain.testing.factories import new_order, order_request
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.sequential_ids import SequentialIds

NOW = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
# Time stands still, so that both stores write the very same instants.
FROZEN_CLOCK = f"""
CREATE SCHEMA IF NOT EXISTS fake_time;
CREATE OR REPLACE FUNCTION fake_time.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT timestamptz ''{NOW.isoformat()}''';
"""

Step = Callable[[OrderStore], Awaitable[Any]]
# Order ids begin with the instant, which limits within a window go by.
_FIRST_ID = int(NOW.timestamp() * 1000)
PENDING, SPLITTING, WORKING, FRESH, RIVAL, OTHER = (
    replace(new_order(SequentialIds(_FIRST_ID + number)), order_unique_key=key)
    for number, key in (
        (1, "pending"), (2, "splitting"), (3, "working"), (4, "fresh"), (5, "fresh"), (6, "other"),
    )
)  # fmt: skip


def asking(new: NewOrder, **request: Any) -> NewOrder:
    asked = order_request(**request)
    return replace(new, request=asked, fingerprint=asked.fingerprint())


RIVAL = asking(RIVAL, side=Side.SELL)
# These two are equal, and equal to none of the others.
FRESH, OTHER = asking(FRESH, total_quantity=60), asking(OTHER, total_quantity=60)


def plan(new: NewOrder, *offsets_s: float) -> ev.SplitSaved:
    quantity = new.request.total_quantity // len(offsets_s)
    return ev.SplitSaved(
        attempt=1,
        expires_at=NOW + timedelta(hours=1),
        slices=tuple(
            ev.PlannedSlice(
                quantity,
                NOW + timedelta(seconds=offset_s),
                (ev.PlannedExecution(quantity, f"TG{new.order_unique_key:->15}{seq:03d}"),),
            )
            for seq, offset_s in enumerate(offsets_s, start=1)
        ),
    )


def book(*events: ev.AnyExecutionEvent) -> Step:
    return lambda store: store.book([Booking(order_id=WORKING.order_id, event=event) for event in events])


def filled(seq: int, trade_id: str, quantity: int = 5) -> ev.ExecutionFilled:
    fill = ev.Fill(
        trade_id=trade_id,
        broker_order_id=BrokerOrderId(f"B-{seq}"),
        quantity=quantity,
        price=Decimal("100.05"),
        at=NOW,
    )
    return ev.ExecutionFilled(seq=seq, chunk=0, fill=fill)


def accepted(seq: int) -> ev.ExecutionAccepted:
    return ev.ExecutionAccepted(seq=seq, chunk=0, broker_order_id=BrokerOrderId(f"B-{seq}"))


async def prepare(store: OrderStore) -> None:
    """An order that waits, one that is being split, and one at work: slice 1 claimed, 2 due, 3 live."""
    await store.accept(SPLITTING)
    await store.claim_orders(1, "splitter", 300)
    await store.accept(WORKING)
    await store.claim_orders(1, "splitter", 300)
    await store.save_split(WORKING.order_id, plan(WORKING, -3, -1, -2))
    await store.claim_executions(2, "executor", 120)
    await book(accepted(3))(store)
    await store.accept(PENDING)


UNANSWERED = ev.ExecutionUnanswered(seq=1, chunk=0, attempt=1, reason="TIMEOUT", call_ended_at=NOW)
RELEASED = ev.ExecutionReleased(seq=1, chunk=0, attempt=1, reason="UNAVAILABLE", not_before=NOW)
# Room for one of the two, beside what the three others have open.
CLOSES = RiskLimits(
    waiver=Waiver(breaches=(Breach(RiskRule.DAILY_LOSS, "lost"),), carried=-370, since=NOW - timedelta(hours=9))
)
AT_ONCE = AtOnce(executor="executor", lease_s=120, tag="TG" + "0" * 18, grace_s=60)
ANOTHER_AT_ONCE = replace(AT_ONCE, tag="TG" + "1" * 18)
STEPS: dict[str, Step] = {
    "accept again": lambda store: store.accept(PENDING),
    "accept new": lambda store: store.accept(FRESH),
    "accept another under the same key": lambda store: store.accept(RIVAL),
    "accept new at once": lambda store: store.accept(FRESH, None, AT_ONCE),
    "accept one of a few at once": lambda store: store.accept(FRESH, RiskLimits(max_open_orders=4), AT_ONCE),
    "claim orders": lambda store: store.claim_orders(10, "other", 300),
    "cancel pending": lambda store: store.request_cancel(PENDING.order_id, "desk"),
    "cancel splitting": lambda store: store.request_cancel(SPLITTING.order_id, "desk"),
    "cancel working": lambda store: store.request_cancel(WORKING.order_id, "desk"),
    "save split": lambda store: store.save_split(SPLITTING.order_id, plan(SPLITTING, 0, 60)),
    "fail split": lambda store: store.fail_split(SPLITTING.order_id, 1, "no plan"),
    "recover splits": lambda store: store.recover_splits(3),
    "claim executions": lambda store: store.claim_executions(10, "other", 120),
    "accepted": book(accepted(1)),
    "unanswered": book(UNANSWERED),
    "released": book(RELEASED),
    "filled": book(filled(3, "T-1")),
    "filled again": book(filled(3, "T-1")),
    "withdrawn": book(ev.ExecutionWithdrawn(seq=2, chunk=0)),
    "cancel requested": book(*(ev.ExecutionCancelRequested(seq=seq, chunk=0) for seq in (1, 3))),
    "many facts": book(filled(3, "T-2"), accepted(1), filled(1, "T-3"), ev.ExecutionCompleted(seq=3, chunk=0)),
    "halt": lambda store: store.halt("desk", "test"),
    "halt to square off": lambda store: store.halt_to_square_off("desk", "test"),
    "resume": lambda store: store.resume("desk", "test"),
    "accept one of a few": lambda store: store.accept(FRESH, RiskLimits(max_open_orders=4)),
    "accept another of a few": lambda store: store.accept(OTHER, RiskLimits(max_open_orders=4)),
    "accept four a minute": lambda store: store.accept(OTHER, RiskLimits(max_orders=4)),
    "accept once": lambda store: store.accept(FRESH, RiskLimits(duplicate_window=timedelta(minutes=1))),
    "accept another once": lambda store: store.accept(OTHER, RiskLimits(duplicate_window=timedelta(minutes=1))),
    "accept what closes": lambda store: store.accept(FRESH, CLOSES),
    "accept more of what closes": lambda store: store.accept(OTHER, CLOSES),
    "accept what closes at once": lambda store: store.accept(OTHER, CLOSES, ANOTHER_AT_ONCE),
}  # fmt: skip
CLAIMS = {"claim orders", "claim executions", "recover splits"}
PAIRS = list(itertools.product(STEPS, repeat=2))


class OneConnection:
    """A pool that always hands out the same connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def acquire(self, *, timeout: float | None = None) -> "OneConnection":
        return self

    async def __aenter__(self) -> asyncpg.Connection:
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        pass


async def outcome(step: Step, store: OrderStore) -> Any:
    try:
        return await step(store)
    except PulseError as error:
        return type(error).__name__


async def state(store: OrderStore) -> list[Any]:
    found: list[Any] = [await store.trading_state()]
    for new in (PENDING, SPLITTING, WORKING, FRESH, RIVAL, OTHER):
        journal = await store.journal(new.order_id, after_seq=0, limit=1000)
        assert [entry.seq for entry in journal] == list(range(1, len(journal) + 1))
        by_slice: dict[int, list[Any]] = {}
        for entry in journal:
            slice_seq = entry.event.seq if isinstance(entry.event, ev.ExecutionEvent) else 0
            by_slice.setdefault(slice_seq, []).append((entry.at, entry.event))
        found += [await store.get(new.order_id), await store.slices(new.order_id), by_slice]
    return found


async def one_by_one(*steps: Step) -> tuple[list[Any], list[Any]]:
    store = InMemoryOrderStore(FakeClock(NOW))
    await prepare(store)
    answers = [await outcome(step, store) for step in steps]
    return answers, await state(store)


async def overlapping(
    first: Step, second: Step, one: asyncpg.Connection, other: asyncpg.Connection, watch: asyncpg.Pool
) -> tuple[list[Any], list[Any]]:
    holder, rival = (PostgresOrderStore(Database(OneConnection(c))) for c in (one, other))
    async with one.transaction():
        first_answer = await outcome(first, holder)
        task = asyncio.ensure_future(outcome(second, rival))
        await _finished_or_waiting(task, other.get_server_pid(), watch)
    second_answer = await asyncio.wait_for(task, 5)
    return [first_answer, second_answer], await state(PostgresOrderStore(Database(OneConnection(one))))


async def _finished_or_waiting(task: asyncio.Future[Any], pid: int, watch: asyncpg.Pool) -> None:
    while not task.done():
        waiting = await watch.fetchval(
            "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1", pid
        )
        if waiting:
            return
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{a} | {b}" for a, b in PAIRS])
async def test_overlapping_steps_do_what_one_order_of_them_does(
    first: str, second: str, database: asyncpg.Pool
) -> None:
    await database.execute(FROZEN_CLOCK)
    async with database.acquire() as one, database.acquire() as other:
        for connection in (one, other):
            await connection.execute("SET search_path = fake_time, public, pg_catalog")
        await prepare(PostgresOrderStore(Database(OneConnection(one))))

        answers, stored = await overlapping(STEPS[first], STEPS[second], one, other, database)

        for connection in (one, other):
            await connection.execute("RESET search_path")
    forward, forward_state = await one_by_one(STEPS[first], STEPS[second])
    backward, backward_state = await one_by_one(STEPS[second], STEPS[first])
    allowed = [(forward, forward_state), (backward[::-1], backward_state)]
    if second in CLAIMS:
        alone, alone_state = await one_by_one(STEPS[first])
        allowed.append(([*alone, []], alone_state))
    assert (answers, stored) in [tuple(each) for each in allowed]
