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
from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders.model import Product, Side
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity
from pulse_domain.risk import ResultFacts
from pulse_domain.testing.fake_clock import settle
from pulse_domain.use_cases.kill import KillTrading
from tests.unit.use_cases.test_square_off import KillDesk

LIMIT = Decimal(1000)


class Told(Struct, frozen=True):
    facts: ResultFacts | None


class Results:
    def __init__(self) -> None:
        self.net: Decimal | None = Decimal(0)
        self.age = timedelta()
        self.down = False
        self.asked = 0

    async def __call__(self, at: datetime) -> Told:
        self.asked += 1
        if self.down:
            raise StorageUnavailable
        return Told(None if self.net is None else ResultFacts(at=at - self.age, net=self.net))


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
    assert entries[1].detail == "1 orders are to be cancelled"


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


async def test_a_halt_by_a_person_stands_as_it_is(watching: Watching) -> None:
    await watching.desk.halt("desk", "lunch")
    watching.results.net = Decimal(-2000)
    async with running(watching):
        await watching.desk.pass_time(60)

    state = await watching.state()
    assert (state.changed_by, state.reason) == ("desk", "lunch")


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
        await watching.desk.pass_time(60)

    assert watching.abouts == ["the day's result is not known"]
    assert not (await watching.state()).halted


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
