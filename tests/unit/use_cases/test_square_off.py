"""After a kill positions are closed: once nothing can change them, by one order each, and never too much."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from pulse_domain.errors import StorageUnavailable, TradingHalted
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import OrderType, Product, Side
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_audit import InMemoryAuditLog
from pulse_domain.testing.memory_reads import InMemoryReads
from pulse_domain.testing.segment_calendar import SegmentCalendar
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.market_gate import MarketGate, MarketRules, OutsideSession
from pulse_domain.use_cases.positions import ReadPositions
from pulse_domain.use_cases.square_off import CLIENT, LeftOpen, SquareOff, SquareOffReport
from tests.unit.use_cases.desk import NIFTY, RELIANCE, Desk

EVENING = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)


class KillDesk(Desk):
    def __init__(self, *, reads: InMemoryReads | None = None, gate: MarketGate | None = None) -> None:
        super().__init__()
        self.audit = InMemoryAuditLog(self.clock)
        self.kill = KillTrading(self.store, self.queue, self.halt, squares_off=True)
        self.positions = ReadPositions(self.store, None, None)
        self.square_off = SquareOff(
            self.store, self.positions, self.master, self.queue, self.ids, self.limits, gate or MarketGate(),
            self.audit, reads,
        )  # fmt: skip

    async def hold(self, units: int, instrument: Instrument = RELIANCE, product: Product = Product.MIS) -> None:
        """Trade so that so many units are held."""
        key = f"hold-{instrument}-{product}"
        side = Side.BUY if units > 0 else Side.SELL
        order_id = await self.order(
            key, side=side, total_quantity=abs(units), instrument=instrument, product=product
        )
        await self.send_due()
        await self.fill(order_id)

    async def fill(self, order_id: OrderId) -> None:
        for execution in await self.executions(order_id):
            self.broker.fill(self.row(execution.tag).broker_order_id, execution.quantity)
        await self.reconcile()
        assert (await self.view(order_id)).summary.done

    async def look(self) -> SquareOffReport:
        report = await self.square_off()
        assert report is not None
        return report

    async def held(self) -> dict[tuple[Instrument, Product], int]:
        return dict(await self.positions.held_by_all())


@pytest.fixture
def desk() -> KillDesk:
    return KillDesk()


async def test_without_a_kill_in_force_nothing_is_looked_at(desk: KillDesk) -> None:
    await desk.hold(100)
    assert await desk.square_off() is None
    await desk.halt("desk", "a halt is no kill")

    assert await desk.square_off() is None


@pytest.mark.parametrize(
    ("units", "instrument", "product"),
    [
        (100, RELIANCE, Product.MIS), (-70, RELIANCE, Product.MIS), (5400, NIFTY, Product.NRML),
        (7, RELIANCE, Product.CNC),
    ],
)  # fmt: skip
async def test_a_position_is_closed_by_a_market_order_the_other_way(
    desk: KillDesk, units: int, instrument: Instrument, product: Product
) -> None:
    await desk.hold(units, instrument, product)
    killed = await desk.kill("desk", "test")

    report = await desk.look()

    [closing] = report.ordered
    order = (await desk.view(closing.order_id)).order
    assert (closing.units, report.waiting, report.left) == (units, (), ())
    assert (order.client_id, order.kill_id) == (CLIENT, killed.halt.state.kill_id)
    request = order.request
    assert (request.instrument, request.product, request.order_type) == (instrument, product, OrderType.MARKET)
    assert (request.side, request.total_quantity) == (Side.SELL if units > 0 else Side.BUY, abs(units))
    await desk.split()
    await desk.send_due()
    await desk.fill(closing.order_id)
    assert await desk.held() == {}
    assert (await desk.store.trading_state()).halted
    with pytest.raises(TradingHalted):
        await desk.accept("later")


async def test_however_often_and_by_whomever_it_is_looked_one_order_closes_a_position(desk: KillDesk) -> None:
    await desk.hold(100)
    await desk.kill("desk", "one")
    other = SquareOff(
        desk.store, desk.positions, desk.master, desk.queue, desk.ids, desk.limits, MarketGate(), desk.audit
    )
    [closing] = (await desk.look()).ordered
    for each in (desk.square_off, other):
        report = await each()
        assert report is not None
        assert (report.ordered, len(report.waiting)) == ((), 1)
    await desk.kill("telegram:7", "two")

    assert (await desk.look()).ordered == ()
    assert [view.order.order_id for view in await desk.store.list_orders(CLIENT, limit=10)] == [
        closing.order_id
    ]
    assert (await desk.view(closing.order_id)).order.cancel_requested_at is None


async def test_nothing_is_closed_while_an_order_of_ours_may_change_the_position(desk: KillDesk) -> None:
    await desk.hold(100)
    working = await desk.order("working", side=Side.SELL, total_quantity=60, product=Product.MIS)
    await desk.send_due()
    await desk.kill("desk", "test")
    waiting = await desk.look()
    # Half of it fills before its cancel is there.
    execution = await desk.execution(working)
    desk.broker.fill(desk.row(execution.tag).broker_order_id, 30)
    await desk.cancel_executions()
    await desk.reconcile()

    [closing] = (await desk.look()).ordered

    assert (waiting.ordered, [left.why for left in waiting.waiting]) == (
        (), ["an order of ours may still change it"],
    )  # fmt: skip
    assert closing.units == 70


async def test_an_order_that_did_not_close_it_is_not_followed_by_another(desk: KillDesk) -> None:
    await desk.hold(100)
    await desk.kill("desk", "test")
    [closing] = (await desk.look()).ordered
    await desk.split()
    [claim] = await desk.claim()
    await desk.record([await desk.send(claim)])
    desk.broker.end(desk.row(claim.execution.tag).broker_order_id, BrokerOrderStatus.REJECTED)
    await desk.reconcile()
    assert (await desk.view(closing.order_id)).summary.done

    report = await desk.look()

    assert report.ordered == ()
    assert [(left.units, left.why) for left in report.left] == [(100, "the order that was to close it has not")]


async def test_after_some_minutes_the_rest_is_for_a_person(desk: KillDesk) -> None:
    await desk.hold(100)
    await desk.kill("desk", "test")
    await desk.pass_time(301)

    report = await desk.look()

    assert (report.ordered, report.waiting) == ((), ())
    assert report.left == (
        LeftOpen(instrument=RELIANCE, product=Product.MIS, units=100, why="it was not closed in time"),
    )


@pytest.mark.parametrize(("shown", "closed"), [(100, 100), (250, 100), (40, 40), (0, 0), (-100, 0)])
async def test_no_more_is_closed_than_the_broker_shows(shown: int, closed: int) -> None:
    reads = InMemoryReads(FakeClock())
    if shown:
        position = BrokerPosition(instrument=RELIANCE, product="MIS", quantity=shown, average_price=Decimal(1))
        reads.open = [position, replace(position, product="CNC", quantity=1000)]
    desk = KillDesk(reads=reads)
    await desk.hold(100)
    await desk.kill("desk", "test")

    report = await desk.look()

    assert sum(closing.units for closing in report.ordered) == closed
    assert [left.why for left in report.left] == ([] if closed else [f"the broker shows {shown}"])


async def test_what_is_owned_counts_as_delivery() -> None:
    reads = InMemoryReads(FakeClock())
    reads.held = [BrokerHolding(instrument=RELIANCE, quantity=50, average_price=Decimal(1))]
    desk = KillDesk(reads=reads)
    await desk.hold(80, product=Product.CNC)
    await desk.kill("desk", "test")

    [closing] = (await desk.look()).ordered

    assert (closing.product, closing.units) == (Product.CNC, 50)


async def test_while_the_broker_does_not_show_its_positions_nothing_is_closed() -> None:
    reads = InMemoryReads(FakeClock())
    desk = KillDesk(reads=reads)
    await desk.hold(100)
    await desk.kill("desk", "test")
    reads.down = True
    blind = await desk.look()
    await desk.pass_time(301)
    too_long = await desk.look()
    assert (too_long.ordered, too_long.waiting, len(too_long.left)) == ((), (), 1)
    await desk.kill("desk", "once more: there is a session again")
    reads.down = False
    reads.open = [BrokerPosition(instrument=RELIANCE, product="MIS", quantity=100, average_price=Decimal(1))]

    assert (blind.ordered, len(blind.waiting)) == ((), 1)
    assert len((await desk.look()).ordered) == 1


async def test_what_cannot_be_sold_is_left_with_the_reason(desk: KillDesk) -> None:
    await desk.hold(100)
    desk.master.listed[RELIANCE] = InstrumentTerms(lot_size=75)
    await desk.kill("desk", "test")

    [left] = (await desk.look()).left

    assert "lot size" in left.why


@pytest.mark.parametrize("outside", [OutsideSession.REJECT, OutsideSession.QUEUE])
async def test_while_the_market_is_shut_nothing_is_sent_and_nothing_waits_for_the_morning(
    outside: OutsideSession,
) -> None:
    gate = MarketGate(MarketRules(outside_session=outside), SegmentCalendar())
    desk = KillDesk(gate=gate)
    await desk.hold(100)
    await desk.pass_time((EVENING - desk.clock.now()).total_seconds())
    await desk.kill("desk", "test")

    report = await desk.look()

    assert (report.ordered, len(report.left)) == ((), 1)
    assert await desk.store.list_orders(CLIENT, limit=10) == []


@pytest.mark.parametrize(("ending", "word"), [("resume", "resumed"), ("halt", "halted")])
async def test_what_was_not_sent_when_the_kill_ends_is_never_sent_and_is_left_to_a_person(
    desk: KillDesk, ending: str, word: str
) -> None:
    await desk.hold(100)
    await desk.kill("desk", "test")
    await desk.look()
    await desk.split()
    await getattr(desk, ending)("desk", "test")

    assert await desk.claim() == []
    ended = await desk.look()
    assert (ended.ordered, ended.waiting) == ((), ())
    assert [(left.units, left.why) for left in ended.left] == [
        (100, f"the kill ended first, {word} by desk; an order of ours may still change it")
    ]
    assert await desk.square_off() is None


async def test_what_was_left_to_a_person_is_not_left_again_when_the_kill_ends(desk: KillDesk) -> None:
    await desk.hold(100)
    await desk.hold(1800, NIFTY, Product.NRML)
    desk.master.listed[RELIANCE] = InstrumentTerms(lot_size=75)
    await desk.kill("desk", "test")
    [left] = (await desk.look()).left
    await desk.halt("desk", "test")

    [late] = (await desk.look()).left

    assert (left.instrument, late.instrument) == (RELIANCE, NIFTY)


async def test_the_end_of_a_kill_is_told_once_the_store_answers(
    desk: KillDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.hold(100)
    await desk.order("working", total_quantity=5)
    await desk.kill("desk", "test")
    await desk.look()
    await desk.halt("desk", "test")

    async def away() -> object:
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "unsettled", away)
        with pytest.raises(StorageUnavailable):
            await desk.square_off()

    assert len((await desk.look()).left) == 1


async def test_it_is_on_record_and_without_the_record_it_is_done_all_the_same(desk: KillDesk) -> None:
    await desk.hold(100)
    killed = await desk.kill("desk", "test")
    [closing] = (await desk.look()).ordered

    [entry] = await desk.audit.newest(10)

    assert (entry.channel, entry.actor, entry.place) == ("risk", CLIENT, killed.halt.state.kill_id)
    assert (entry.action, entry.outcome) == ("square-off", "asked")
    assert closing.order_id in entry.detail
    silent = KillDesk()
    silent.audit.down = True
    await silent.hold(100)
    await silent.kill("desk", "test")
    assert len((await silent.look()).ordered) == 1


async def test_a_look_that_was_cut_off_is_gone_on_with(desk: KillDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.hold(100)
    await desk.kill("desk", "test")
    accept = desk.store.accept

    async def lost(*given: object) -> object:
        await accept(*given)  # type: ignore[arg-type]  # as it was given
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "accept", lost)
        with pytest.raises(StorageUnavailable):
            await desk.look()

    report = await desk.look()
    assert (report.ordered, len(report.waiting)) == ((), 1)
    assert len(await desk.store.list_orders(CLIENT, limit=10)) == 1


async def test_a_kill_where_a_reconcile_is_needed_sends_nothing(desk: KillDesk) -> None:
    await desk.hold(100)
    await desk.store.halt_for_reconcile("worker", "restored")

    await desk.kill("desk", "test")

    assert await desk.square_off() is None


async def test_a_fresh_kill_after_a_resume_closes_what_is_left(desk: KillDesk) -> None:
    await desk.hold(100)
    await desk.kill("desk", "one")
    [first] = (await desk.look()).ordered
    await desk.resume("desk", "no, keep it")
    await desk.pass_time(timedelta(seconds=1).total_seconds())
    await desk.kill("desk", "yes, close it")
    await desk.cancel_executions()

    [second] = (await desk.look()).ordered

    assert second.order_id != first.order_id
    assert (await desk.view(first.order_id)).order.cancel_requested_at is not None
