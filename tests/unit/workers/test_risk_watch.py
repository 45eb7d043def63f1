"""The kill switch trips at the day's loss, a kill is seen to its end, and nothing but a person resumes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct

from pulse_background.workers.risk_watch import ACTOR, RiskWatch
from pulse_domain.charges import ZERODHA
from pulse_domain.errors import StorageUnavailable
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.model import Product, Side
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity
from pulse_domain.ports.order_store import TradingState
from pulse_domain.risk import PriceFacts, ResultFacts
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.memory_prices import InMemoryPriceBoard
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.positions import DayResult
from tests.unit.use_cases.desk import NIFTY, RELIANCE
from tests.unit.use_cases.test_square_off import KillDesk

LIMIT = Decimal(1000)
GOLD = Instrument.parse("MCX:GOLDM26FEBFUT")


class Told(Struct, frozen=True):
    facts: ResultFacts | None
    known: Decimal
    is_open: bool


class Results:
    def __init__(self) -> None:
        self.net: Decimal | None = Decimal(0)
        self.known = Decimal(0)  # where the net is not
        self.is_open = True
        self.age = timedelta()
        self.down = False
        self.asked = 0

    async def __call__(self, at: datetime) -> Told:
        self.asked += 1
        if self.down:
            raise StorageUnavailable
        known = self.known if self.net is None else self.net
        facts = None if self.net is None else ResultFacts(at=at - self.age, net=self.net)
        return Told(facts, known, self.is_open)


class Watching:
    def __init__(self, *, max_daily_loss: Decimal | None = LIMIT, squares_off: bool = False) -> None:
        self.desk = KillDesk()
        self.results = Results()
        self.told: list[Notification] = []
        desk = self.desk
        self.watch = RiskWatch(
            desk.store,
            self.results,
            KillTrading(desk.store, desk.queue, desk.halt, squares_off=squares_off),
            desk.square_off if squares_off else None,
            desk.clock,
            desk.audit,
            self.told.append,
            max_daily_loss=max_daily_loss,
        )

    async def state(self) -> Any:
        return await self.desk.store.trading_state()

    @property
    def abouts(self) -> list[str]:
        assert all((each.kind, each.severity) == (NotificationKind.RISK, Severity.HIGH) for each in self.told)
        return [each.about for each in self.told]


@pytest.fixture
def watching() -> Watching:
    return Watching()


@asynccontextmanager
async def running(watching: Watching) -> AsyncIterator[None]:
    task = asyncio.create_task(watching.watch.run())
    await settle()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_trips_at_the_loss_and_not_a_paisa_before(watching: Watching) -> None:
    desk = watching.desk
    order_id = await desk.order()
    await desk.send_due()
    async with running(watching):
        watching.results.net = Decimal("-999.99")
        await desk.pass_time(5)
        before = await watching.state()
        watching.results.net = Decimal("-1000")
        await desk.pass_time(5)

    state = await watching.state()
    assert (before.halted, state.halted, state.changed_by) == (False, True, ACTOR)
    assert state.reason == "the day's result is -1000.00 after charges, the limit is -1000"
    view = await desk.store.get(order_id)
    assert view is not None
    assert view.order.cancel_requested_at is not None
    assert watching.abouts == ["the kill switch has tripped"]
    entries = (await desk.audit.newest(10))[::-1]
    assert [(each.channel, each.actor, each.action, each.outcome) for each in entries] == [
        ("risk", ACTOR, "kill", "tripped"),
        ("risk", ACTOR, "kill", "killed"),
    ]
    assert "-1000.00" in entries[0].detail
    assert entries[1].detail == "trading is halted, 1 orders are to be cancelled"


async def test_only_a_person_resumes_and_it_trips_again_while_the_loss_is_there(watching: Watching) -> None:
    watching.results.net = Decimal(-2000)
    async with running(watching):
        await watching.desk.pass_time(600)
        tripped = await watching.state()
        watching.results.net = Decimal(0)
        await watching.desk.pass_time(600)
        recovered = await watching.state()
        await watching.desk.resume("desk", "fine again")
        await watching.desk.pass_time(600)
        resumed = await watching.state()
        watching.results.net = Decimal(-1001)
        await watching.desk.pass_time(600)

    assert (tripped.halted, recovered, resumed.halted) == (True, tripped, False)
    assert (await watching.state()).halted
    assert len(watching.told) == 2


@pytest.mark.parametrize("net", [-999, -2000])
@pytest.mark.parametrize("is_open", [False, True], ids=["flat", "holding"])
async def test_a_halt_by_a_person_stands_as_it_is_where_a_kill_would_do_no_more(
    watching: Watching, net: int, is_open: bool
) -> None:
    order_id = await watching.desk.order()
    await watching.desk.halt("desk", "lunch")
    if net < -999:
        await watching.desk.store.request_cancel(order_id, "desk")
    watching.results.net, watching.results.is_open = Decimal(net), is_open
    async with running(watching):
        await watching.desk.pass_time(60)

    state = await watching.state()
    assert (state.changed_by, state.reason) == ("desk", "lunch")


async def test_what_is_open_is_cancelled_though_a_person_has_halted_before(watching: Watching) -> None:
    desk = watching.desk
    order_id = await desk.order()
    await desk.send_due()
    await desk.halt("desk", "lunch")
    watching.results.net = Decimal(-2000)
    async with running(watching):
        await desk.pass_time(60)

    view = await desk.store.get(order_id)
    assert view is not None
    assert view.order.cancel_requested_at is not None
    assert (await watching.state()).changed_by == ACTOR
    assert watching.abouts == ["the kill switch has tripped"]
    assert sorted(each.outcome for each in await desk.audit.newest(10)) == ["killed", "tripped"]


async def test_what_is_held_is_squared_off_though_a_person_has_halted_before() -> None:
    watching = Watching(squares_off=True)
    await watching.desk.hold(100)
    await watching.desk.halt("desk", "lunch")
    watching.results.net = Decimal(-2000)
    async with running(watching):
        await watching.desk.pass_time(10)

    assert watching.abouts == ["the kill switch has tripped", "NSE:RELIANCE"]
    assert watching.told[1].parts["squared off"] == 100


async def test_a_kill_by_a_person_that_squares_off_is_left_to_it() -> None:
    watching = Watching(squares_off=True)
    await watching.desk.hold(100)
    await watching.desk.kill("desk", "enough")
    before = await watching.state()
    watching.results.net = Decimal(-2000)
    async with running(watching):
        await watching.desk.pass_time(10)

    assert await watching.state() == before


async def test_a_person_who_halts_after_it_has_tripped_has_taken_over() -> None:
    watching = Watching(squares_off=True)
    desk = watching.desk
    await desk.hold(100)
    await desk.order("working", total_quantity=5)
    await desk.send_due()  # it holds the square-off up
    watching.results.net = Decimal(-2000)
    async with running(watching):
        await desk.pass_time(6)
        tripped = await watching.state()
        await desk.halt("desk", "I close it by hand")
        taken = await watching.state()
        await desk.pass_time(600)

    assert (tripped.changed_by, tripped.kill_id is None) == (ACTOR, False)
    assert await watching.state() == taken


async def test_a_loss_that_is_known_trips_whatever_else_is_not(watching: Watching) -> None:
    watching.results.net, watching.results.known = None, Decimal("-1000.4")
    async with running(watching):
        await watching.desk.pass_time(6)

    state = await watching.state()
    assert (state.halted, state.changed_by) == (True, ACTOR)
    assert state.reason == "what is known of the day's result is -1000.40 after charges, the limit is -1000"


# What else is held, at what price and of what age; none: no price is shown.
@pytest.mark.parametrize(
    ("instrument", "product", "price", "age_s"),
    [
        (RELIANCE, Product.MIS, Decimal(100), 61),
        (RELIANCE, Product.MIS, None, 0),
        (GOLD, Product.NRML, Decimal(100), 0),
    ],
    ids=["quiet", "never shown", "of unknown charges"],
)
async def test_one_position_that_cannot_be_valued_does_not_disarm_it(
    watching: Watching, instrument: Instrument, product: Product, price: Decimal | None, age_s: float
) -> None:
    desk = watching.desk
    desk.master.listed[GOLD] = InstrumentTerms()
    prices = InMemoryPriceBoard()
    watching.watch = RiskWatch(
        desk.store, DayResult(desk.store, prices, ZERODHA),
        KillTrading(desk.store, desk.queue, desk.halt), None, desk.clock, desk.audit,
        watching.told.append, max_daily_loss=LIMIT,
    )  # fmt: skip
    await desk.hold(1, instrument, product)
    await desk.hold(1800, NIFTY, Product.NRML)
    now = desk.clock.now()
    shown = (
        {} if price is None else {instrument: PriceFacts(at=now - timedelta(seconds=age_s), last_price=price)}
    )
    await prices.publish(shown | {NIFTY: PriceFacts(at=now, last_price=Decimal(1))})

    await watching.watch.look()

    assert (await DayResult(desk.store, prices, ZERODHA)(now)).net is None
    assert (await watching.state()).changed_by == ACTOR


async def test_without_a_limit_it_does_not_even_ask() -> None:
    watching = Watching(max_daily_loss=None, squares_off=True)
    watching.results.net = Decimal(-(10**9))
    async with running(watching):
        await watching.desk.pass_time(60)

    assert watching.results.asked == 0
    assert not (await watching.state()).halted


@pytest.mark.parametrize(
    "lose_sight",
    [
        lambda results: setattr(results, "net", None),
        lambda results: setattr(results, "age", timedelta(seconds=31)),
    ],
    ids=["unknown", "old"],
)
async def test_people_are_told_once_that_the_result_is_not_known(
    watching: Watching, lose_sight: Callable[[Results], None]
) -> None:
    async with running(watching):
        lose_sight(watching.results)
        await watching.desk.pass_time(29)

        early = list(watching.told)
        await watching.desk.pass_time(600)

    assert early == []
    assert watching.abouts == ["the day's result is not known"]
    assert watching.told[0].parts["known"] == "0.00"
    assert not (await watching.state()).halted


@pytest.mark.parametrize("works", [False, True])
async def test_that_the_result_is_not_known_is_told_only_while_something_is_open(
    watching: Watching, works: bool
) -> None:
    watching.results.net, watching.results.is_open = None, False
    if works:
        await watching.desk.order()
    async with running(watching):
        await watching.desk.pass_time(600)

    assert len(watching.told) == works


async def test_a_result_that_is_missed_now_and_then_is_told_to_nobody(watching: Watching) -> None:
    async with running(watching):
        for _ in range(10):
            watching.results.net = None
            await watching.desk.pass_time(25)
            watching.results.net = Decimal(0)
            await watching.desk.pass_time(6)

    assert watching.told == []


async def test_a_store_that_is_away_is_waited_for(watching: Watching) -> None:
    watching.results.net = Decimal(-2000)
    watching.results.down = True
    async with running(watching):
        await watching.desk.pass_time(60)
        before = await watching.state()
        watching.results.down = False
        await watching.desk.pass_time(5)

    assert (before.halted, (await watching.state()).halted) == (False, True)


async def test_without_an_audit_log_it_trips_all_the_same(watching: Watching) -> None:
    watching.desk.audit.down = True
    watching.results.net = Decimal(-2000)

    await watching.watch.look()

    assert (await watching.state()).halted


async def test_a_kill_of_its_own_that_was_cut_off_is_completed(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = watching.desk
    for number in range(3):
        await desk.accept(f"key-{number}")
    watching.results.net = Decimal(-2000)

    async def away(*given: object) -> object:
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "request_cancel", away)
        with pytest.raises(StorageUnavailable):
            await watching.watch.look()
    left = await desk.store.open_orders(10)
    await watching.watch.look()

    assert (len(left), await desk.store.open_orders(10)) == (3, [])


async def test_a_trip_squares_off_where_that_is_set_and_people_are_told() -> None:
    watching = Watching(squares_off=True)
    desk = watching.desk
    await desk.hold(100)
    watching.results.net = Decimal(-2000)
    async with running(watching):
        await desk.pass_time(1)
        [closing] = await desk.store.list_orders(None, limit=1)
        await desk.split()
        await desk.send_due()
        await desk.fill(closing.order.order_id)
        await desk.pass_time(400)

    assert closing.order.kill_id == (await watching.state()).kill_id
    assert (closing.order.request.side, closing.order.request.product) == (Side.SELL, Product.MIS)
    assert await desk.held() == {}
    assert watching.abouts == ["the kill switch has tripped", "NSE:RELIANCE"]
    assert watching.told[1].parts["squared off"] == 100


async def test_what_stays_open_is_told_once() -> None:
    watching = Watching(squares_off=True, max_daily_loss=None)
    await watching.desk.hold(100)
    await watching.desk.kill("desk", "test")
    await watching.desk.pass_time(301)
    async with running(watching):
        await watching.desk.pass_time(60)

    [told] = watching.told
    assert (told.about, told.parts["stays open"], told.parts["for"]) == ("NSE:RELIANCE", 100, "a person")


async def test_people_and_the_record_learn_of_a_trip_whose_cancels_were_cut_off_and_once(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = watching.desk
    await desk.order()
    watching.results.net = Decimal(-2000)

    async def away(*given: object) -> object:
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "open_orders", away)
        with pytest.raises(StorageUnavailable):
            await watching.watch.look()
        told_at_once = list(watching.abouts)
        with pytest.raises(StorageUnavailable):
            await watching.watch.look()
    async with running(watching):
        await desk.pass_time(60)

    assert told_at_once == watching.abouts == ["the kill switch has tripped"]
    outcomes = [each.outcome for each in await desk.audit.newest(10)]
    assert sorted(outcomes) == ["killed", "tripped"]


@pytest.mark.parametrize("halts", [True, False], ids=["its answer is lost", "it does not arrive"])
async def test_a_halt_without_an_answer_is_told_once_when_it_is_known(
    watching: Watching, monkeypatch: pytest.MonkeyPatch, halts: bool
) -> None:
    desk = watching.desk
    watching.results.net = Decimal(-2000)
    halt = desk.store.halt

    async def lost(halted_by: str, reason: str) -> TradingState:
        if halts:
            await halt(halted_by, reason)
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "halt", lost)
        with pytest.raises(StorageUnavailable):
            await watching.watch.look()
    assert watching.told == []
    await watching.watch.look()
    await watching.watch.look()

    assert (await watching.state()).halted
    assert watching.abouts == ["the kill switch has tripped"]
    assert [each.outcome for each in await desk.audit.newest(10)].count("killed") == 1


async def test_the_record_of_a_kill_waits_for_an_audit_log_that_is_away(watching: Watching) -> None:
    watching.desk.audit.down = True
    watching.results.net = Decimal(-2000)
    await watching.watch.look()
    watching.desk.audit.down = False
    await watching.watch.look()
    await watching.watch.look()

    [entry] = await watching.desk.audit.newest(10)
    assert entry.outcome == "killed"
    assert len(watching.told) == 1


@pytest.mark.parametrize("ending", ["halt", "resume"])
async def test_what_a_kill_leaves_open_that_is_ended_by_a_person_is_told(ending: str) -> None:
    watching = Watching(squares_off=True, max_daily_loss=None)
    desk = watching.desk
    await desk.hold(100)
    # It holds the square-off up.
    await desk.order("working", total_quantity=5)
    await desk.send_due()
    await desk.kill("desk", "test")
    async with running(watching):
        await getattr(desk, ending)("person", "me too")
        await desk.pass_time(600)

    [told] = watching.told
    assert (told.about, told.parts["stays open"], told.parts["for"]) == ("NSE:RELIANCE", 100, "a person")
    assert str(told.parts["why"]).startswith(f"the kill ended first, {ending}")
    assert "person" in str(told.parts["why"])
