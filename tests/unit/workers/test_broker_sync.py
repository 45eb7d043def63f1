from collections.abc import AsyncIterator
from typing import Any

import pytest

from pulse_background.wakeup import Wakeup
from pulse_background.workers.broker_sync import BrokerSync
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.status import ExecutionStatus, Phase, TerminalReason
from pulse_domain.ports.broker import BookRead, Broker, BrokerOrder
from pulse_domain.ports.order_store import Claim
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.scripted_broker import Partial, Unavailable, Unknown
from pulse_domain.use_cases.book_facts import BookFacts
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileSettings
from pulse_domain.use_cases.review import InspectBook
from tests.unit.workers.floor import Broken, Floor, SlowBroker, running

INTERVAL_S = 5.0
RETRY_S = 1.0
LIVE, UNKNOWN = Phase.LIVE, Phase.UNKNOWN


class Sync(BrokerSync):
    def __init__(self, floor: Floor, broker: Broker | None = None) -> None:
        self.hints = Wakeup(floor.clock)
        facts = BookFacts(floor.store, broker or floor.broker, TAG_PREFIX)
        super().__init__(
            broker or floor.broker,
            facts,
            Reconcile(floor.store, broker or floor.broker, facts, floor.clock, ReconcileSettings()),
            InspectBook(floor.store, "worker-1"),
            floor.clock,
            self.hints,
            interval_s=INTERVAL_S,
        )


@pytest.fixture
def sync(floor: Floor) -> Sync:
    return Sync(floor)


async def claimed(floor: Floor, **over: Any) -> Claim:
    """An execution whose call is in the air."""
    await floor.order(**over)
    [claim] = await floor.store.claim_executions(1, "executor-1", 120.0)
    return claim


async def send(floor: Floor, claim: Claim) -> OrderId:
    """Send it, and record what came of it, as some process does."""
    execute = ExecuteSlice(floor.broker, floor.clock, ExecuteSettings(executor="executor-1"))
    await floor.record([await execute(claim, floor.clock.monotonic())])
    return claim.order.order_id


def arrive(floor: Floor, claim: Claim, *, quantity: int | None = None) -> BrokerOrder:
    """Let the order appear at the broker, and nobody be told."""
    request = claim.order.request
    return floor.broker.foreign(
        instrument=request.instrument,
        side=request.side,
        quantity=quantity or claim.execution.quantity,
        tags=[claim.execution.tag],
    )


# --- pushed updates


async def test_a_pushed_update_is_booked_at_once(floor: Floor, sync: Sync) -> None:
    claim = await claimed(floor)
    async with running(sync.run()):
        arrive(floor, claim)
        await settle()

        assert await floor.phases(claim.order.order_id) == [LIVE]


async def test_a_pushed_fill_is_booked_with_its_trade(floor: Floor, sync: Sync) -> None:
    order_id = await send(floor, await claimed(floor))
    async with running(sync.run()):
        [row] = floor.broker.rows()
        floor.broker.fill(row.broker_order_id, 100)
        await settle()

        execution = await floor.execution(order_id)
        assert (execution.status, len(execution.fills)) == (ExecutionStatus.FILLED, 1)


async def test_an_update_told_twice_is_booked_once(floor: Floor, sync: Sync) -> None:
    order_id = await send(floor, await claimed(floor))
    async with running(sync.run()):
        [row] = floor.broker.rows()
        floor.broker.fill(row.broker_order_id, 40)
        floor.broker.push(row.broker_order_id)
        floor.broker.push(row.broker_order_id, with_fills=True)
        await settle(100)

        assert (await floor.execution(order_id)).filled_quantity == 40


async def test_an_update_that_could_not_be_booked_is_made_good_by_a_read(floor: Floor, sync: Sync) -> None:
    claim = await claimed(floor)
    async with running(sync.run()):
        floor.store.fail("find_by_tags")
        arrive(floor, claim)
        await settle()

        assert await floor.phases(claim.order.order_id) == [LIVE]


async def test_updates_are_followed_again_after_the_store_was_away(floor: Floor, sync: Sync) -> None:
    order_id = await send(floor, await claimed(floor))
    [row] = floor.broker.rows()
    async with running(sync.run()):
        floor.store.away = True
        floor.broker.push(row.broker_order_id)
        await floor.clock.advance(3)
        floor.store.away = False
        await floor.clock.advance(RETRY_S)
        reads = floor.broker.reads
        floor.broker.fill(row.broker_order_id, 100)
        await settle()

        assert (await floor.execution(order_id)).status is ExecutionStatus.FILLED
        assert floor.broker.reads == reads


class TornBroker(SlowBroker):
    """Its stream of updates breaks off once."""

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor.clock)
        self.streams = 0

    def updates(self) -> AsyncIterator[BrokerOrder]:
        self.streams += 1
        return self._torn() if self.streams == 1 else super().updates()

    async def _torn(self) -> AsyncIterator[BrokerOrder]:
        raise BrokerUnavailable("SOCKET_CLOSED")
        yield


async def test_a_stream_that_breaks_off_is_taken_up_again(floor: Floor) -> None:
    floor.broker = broker = TornBroker(floor)
    claim = await claimed(floor)
    async with running(Sync(floor).run()):
        await floor.clock.advance(RETRY_S)
        streams = broker.streams
        arrive(floor, claim)
        await settle()

        assert streams == 2
        assert await floor.phases(claim.order.order_id) == [LIVE]


async def test_a_stream_that_breaks_off_is_made_good_by_a_read_at_once(floor: Floor) -> None:
    floor.broker = broker = TornBroker(floor)

    async with running(Sync(floor).run()):
        await settle()

        assert broker.reads == 2


async def test_a_stream_that_ends_is_taken_up_again(floor: Floor, sync: Sync) -> None:
    async with running(sync.run()) as run:
        await floor.broker.close()
        await floor.clock.advance(10 * RETRY_S)

        assert not run.done()


# --- the book


async def test_the_book_is_read_at_once_and_then_at_every_interval(floor: Floor, sync: Sync) -> None:
    async with running(sync.run()):
        reads = [floor.broker.reads]
        for _ in range(3):
            await floor.clock.advance(INTERVAL_S)
            reads.append(floor.broker.reads)

    assert reads == [1, 2, 3, 4]


async def test_a_hint_makes_any_process_read_the_book(floor: Floor, sync: Sync) -> None:
    floor.broker.pushes = False
    order_id = await send(floor, await claimed(floor))
    async with running(sync.follow_hints()):
        [row] = floor.broker.rows()
        floor.broker.fill(row.broker_order_id, 100)
        await settle()
        before = floor.broker.reads
        sync.hints.call()
        await settle()

        assert (before, floor.broker.reads) == (0, 1)
        assert (await floor.execution(order_id)).status is ExecutionStatus.FILLED


async def test_hints_that_come_together_share_a_read(floor: Floor, sync: Sync) -> None:
    async with running(sync.follow_hints()):
        reads = []
        for _ in range(10):
            sync.hints.call()
            await floor.clock.advance(0.1)
        reads.append(floor.broker.reads)
        await floor.clock.advance(10)
        reads.append(floor.broker.reads)

    assert reads == [1, 2]


async def test_a_read_on_a_hint_that_failed_ends_nothing(floor: Floor, sync: Sync) -> None:
    floor.broker.on_read(Unavailable())
    async with running(sync.follow_hints()) as following:
        for _ in range(2):
            sync.hints.call()
            await floor.clock.advance(1)

        assert not following.done()
        assert floor.broker.reads == 2


async def test_what_no_update_told_is_found_in_the_book(floor: Floor, sync: Sync) -> None:
    floor.broker.pushes = False
    order_id = await send(floor, await claimed(floor))
    async with running(sync.run()):
        [row] = floor.broker.rows()
        floor.broker.fill(row.broker_order_id, 100)
        before = (await floor.execution(order_id)).status
        await floor.clock.advance(INTERVAL_S)

        assert before is ExecutionStatus.OPEN
        assert (await floor.execution(order_id)).status is ExecutionStatus.FILLED


async def test_an_unknown_execution_is_adopted_from_the_book(floor: Floor, sync: Sync) -> None:
    floor.broker.pushes = False
    claim = await claimed(floor)
    arrive(floor, claim)
    await floor.clock.advance(120)

    async with running(sync.run()):
        assert await floor.phases(claim.order.order_id) == [LIVE]


async def test_an_order_of_somebody_else_is_no_concern_of_ours(floor: Floor, sync: Sync) -> None:
    claim = await claimed(floor)
    request = claim.order.request
    async with running(sync.run()) as run:
        floor.broker.foreign(
            instrument=request.instrument, side=request.side, quantity=1, tags=["by hand", TAG_PREFIX]
        )
        await floor.clock.advance(2 * INTERVAL_S)

        assert not run.done()
        assert await floor.phases(claim.order.order_id) == [Phase.CLAIMED]


async def test_an_order_with_our_prefix_that_we_do_not_know_ends_nothing(floor: Floor, sync: Sync) -> None:
    claim = await claimed(floor)
    request = claim.order.request
    async with running(sync.run()) as run:
        floor.broker.foreign(
            instrument=request.instrument, side=request.side, quantity=1, tags=[TAG_PREFIX + "A" * 18]
        )
        await floor.clock.advance(2 * INTERVAL_S)

        assert not run.done()


@pytest.mark.parametrize("trouble", ["broker", "find_by_tags", "book", "broker_order_ids", "select"])
async def test_a_read_that_failed_is_made_good_by_the_next(floor: Floor, sync: Sync, trouble: str) -> None:
    floor.broker.pushes = False
    claim = await claimed(floor)
    arrive(floor, claim)
    if trouble == "broker":
        floor.broker.on_read(Unavailable(), Unavailable())
    else:
        floor.store.fail(trouble, times=2)

    async with running(sync.run()):
        await floor.clock.advance(2 * INTERVAL_S)

        assert await floor.phases(claim.order.order_id) == [LIVE]


async def test_a_cut_read_still_tells_what_it_holds(floor: Floor, sync: Sync) -> None:
    floor.broker.pushes = False
    claim = await claimed(floor)
    arrive(floor, claim)
    floor.broker.on_read(Partial(rows=1))

    async with running(sync.run()):
        assert await floor.phases(claim.order.order_id) == [LIVE]


@pytest.mark.parametrize("step", ["broker_order_ids", "find_by_tags"])
async def test_a_mistake_of_ours_ends_it(floor: Floor, sync: Sync, step: str) -> None:
    arrive(floor, await claimed(floor))
    floor.store.fail(step, Broken())

    with pytest.raises(ExceptionGroup) as raised:
        await sync.run()

    assert raised.group_contains(Broken)


# --- the first read


async def test_the_first_read_of_an_empty_book_is_complete(floor: Floor, sync: Sync) -> None:
    async with running(sync.first_read()) as reading:
        assert reading.done()


async def test_the_first_read_waits_for_a_complete_book(floor: Floor, sync: Sync) -> None:
    floor.broker.on_read(Partial(), Unavailable(), Partial())

    async with running(sync.first_read()) as reading:
        done = [reading.done()]
        for _ in range(3):
            await floor.clock.advance(RETRY_S)
            done.append(reading.done())

    assert done == [False, False, False, True]


async def test_the_first_read_waits_for_a_book_that_holds_what_we_know_of(floor: Floor, sync: Sync) -> None:
    await send(floor, await claimed(floor))
    [row] = floor.broker.rows()
    floor.broker.hide(row.broker_order_id, reads=2)

    async with running(sync.first_read()) as reading:
        await floor.clock.advance(RETRY_S)
        early = reading.done()
        await floor.clock.advance(RETRY_S)

        assert (early, reading.done()) == (False, True)


async def test_the_first_read_waits_for_the_store(floor: Floor, sync: Sync) -> None:
    floor.store.away = True

    async with running(sync.first_read()) as reading:
        await floor.clock.advance(10 * RETRY_S)
        early = reading.done()
        floor.store.away = False
        await floor.clock.advance(RETRY_S)

        assert (early, reading.done()) == (False, True)


async def test_the_first_read_books_what_it_finds(floor: Floor, sync: Sync) -> None:
    claim = await claimed(floor)
    arrive(floor, claim)
    await floor.clock.advance(120)

    await sync.first_read()

    assert await floor.phases(claim.order.order_id) == [LIVE]


class BusyBroker(SlowBroker):
    """While a read of the book is on its way back, another process places an order and records it."""

    async def order_book(self) -> BookRead:
        read = await super().order_book()
        if self.floor is not None:
            await send(self.floor, await claimed(self.floor))
        return read

    floor: Floor | None = None


@pytest.fixture(params=[False, True], ids=["nobody else is there", "others place orders"])
def others(request: pytest.FixtureRequest, floor: Floor) -> None:
    """Once nobody else is there, and once a read never comes back before the next order is placed."""
    floor.broker = broker = BusyBroker(floor.clock)
    broker.floor = floor if request.param else None


@pytest.mark.usefixtures("others")
async def test_the_first_read_is_complete_whatever_others_do_meanwhile(floor: Floor) -> None:
    async with running(Sync(floor).first_read()) as reading:
        await floor.clock.advance(20 * RETRY_S)

        assert reading.done()


@pytest.mark.usefixtures("others")
async def test_absence_is_proven_whatever_others_do_meanwhile(floor: Floor) -> None:
    floor.broker.on_place(Unknown(took=False, call_ended=True))
    order_id = await send(floor, await claimed(floor, expires_in_s=60.0))

    async with running(Sync(floor).run()):
        before = await floor.phases(order_id)
        await floor.clock.advance(300)

        execution = await floor.execution(order_id)
        assert (before, execution.terminal) == ([UNKNOWN], TerminalReason.FAILED)


# --- a store that was restored


def unknown_to_us(floor: Floor, claim: Claim) -> BrokerOrder:
    """An order with our prefix that no execution explains."""
    request = claim.order.request
    return floor.broker.foreign(
        instrument=request.instrument, side=request.side, quantity=40, tags=[TAG_PREFIX + 18 * "X"]
    )


async def test_the_first_read_halts_before_anything_is_sent_where_the_store_has_forgotten_orders(
    floor: Floor, sync: Sync
) -> None:
    row = unknown_to_us(floor, await claimed(floor))
    floor.store.fail("halt_for_reconcile")

    async with running(sync.first_read()) as reading:
        await settle()
        before = (reading.done(), (await floor.store.trading_state()).halted)
        await floor.clock.advance(RETRY_S)

        assert before == (False, False), "what could not be judged is judged again"
        assert reading.done()
    state = await floor.store.trading_state()
    assert (state.halted, state.needs_reconcile) == (True, True)
    assert row.broker_order_id in (state.reason or "")


async def test_every_process_notices_a_store_that_was_restored_under_it(floor: Floor, sync: Sync) -> None:
    await sync.first_read()
    async with running(sync.watch_store()):
        await floor.clock.advance(INTERVAL_S)
        before = (await floor.store.trading_state()).halted
        floor.store.identity = "restored"
        floor.store.fail("notice_restore")
        await floor.clock.advance(INTERVAL_S)
        await floor.clock.advance(INTERVAL_S)

    state = await floor.store.trading_state()
    assert not before
    assert (state.needs_reconcile, (state.reason or "").partition(":")[0]) == (True, "RESTORED")


async def test_after_a_restore_rows_that_were_booked_before_are_booked_anew(floor: Floor, sync: Sync) -> None:
    floor.broker.pushes = False
    claim = await claimed(floor)
    arrive(floor, claim)
    await sync.first_read()
    booked = len(floor.store.batches)
    await sync.first_read()
    unchanged = len(floor.store.batches)
    floor.store.identity = "restored"

    asked_before = floor.store.asked["find_by_tags"]
    await sync.first_read()

    assert booked == unchanged
    assert floor.store.asked["find_by_tags"] == asked_before + 1
