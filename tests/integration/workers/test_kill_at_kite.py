"""A kill at a simulated Kite: whatever was on its way, nothing of ours works at the exchange afterwards."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from typing import Any

import asyncpg
import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_adapters.queue.memory import InProcessQueue
from pulse_domain.errors import TradingHalted
from pulse_domain.instruments import Listing, ListingKind
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import Product, Side, SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.units import INDIA
from pulse_domain.use_cases.halt import HaltTrading
from pulse_domain.use_cases.kill import KillReport, KillTrading
from tests.integration.workers.faces import INFY, Face, start_kite
from tests.integration.workers.trader import AWAY, PRICE, Trader, settings_for, until
from tests.kept_logging import logging_of

# Real times at the broker are divided by it.
_SPEED = 60
_SETTINGS = {
    "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": "0.1",
    "BROKER_SYNC_INTERVAL_SECONDS": "0.5",
    "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": "0.2",
    "TIMEOUT_MONITOR_INTERVAL_SECONDS": "0.5",
    "BROKER_CALL_TIMEOUT_SECONDS": "2",
    "SLICE_EXECUTION_TIMEOUT_MINUTES": "0.1",
    "UNKNOWN_SETTLE_SECONDS": str(120 / _SPEED),
    "BREAKER_FAILURES": "100",
    "OUTSIDE_SESSION": "accept",
}
_OVER = {"COMPLETE", "CANCELLED", "REJECTED"}
_HANGS = {"seconds": [60 * _SPEED, 60 * _SPEED]}


@pytest.fixture
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    face = start_kite(tmp_path_factory.mktemp("kite"), "--speed", str(_SPEED), delays=True)
    face.process.pin(str(INFY), "1500", "1499.90", "1500.00")
    yield face
    face.process.stop()


class Desk(Trader):
    """A trader with a kill switch."""

    def __init__(self, face: Face, database: asyncpg.Pool, dsn: str, **more: str) -> None:
        super().__init__(face, database, settings_for(face, dsn, _SETTINGS | more))
        self.database = Database(database)
        self.queue = InProcessQueue()
        for kind in JobKind:
            self.queue.listen(kind, lambda job: self.wake(job.kind))

    async def prepare(self) -> None:
        await super().prepare()
        share = Listing(
            token="408065",
            instrument=INFY,
            broker_symbol="INFY",
            name="INFOSYS",
            kind=ListingKind.SHARE,
            tick_size=Decimal("0.05"),
            lot_size=1,
        )
        today = SystemClock().now().astimezone(INDIA).date()
        await PostgresInstrumentSync(self.database)("zerodha", [share], today)

    async def kill(self, *, squares_off: bool = False) -> KillReport:
        clock = SystemClock()
        kill = KillTrading(self.store, self.queue, HaltTrading(self.store, clock), squares_off=squares_off)
        return await kill("desk", "test")

    async def buy(self, **over: Any) -> OrderId:
        return await self.order(product=Product.MIS, **over)

    def faults(self, *rules: dict[str, Any]) -> None:
        self.face.process.control("POST", "/faults", {"rules": rules})

    async def working_at_broker(self) -> list[dict[str, Any]]:
        return [row for row in await asyncio.to_thread(self.face.process.book) if row["status"] not in _OVER]

    async def net_at_broker(self) -> int:
        rows = await asyncio.to_thread(self.face.process.book)
        return sum(row["filled"] * (1 if row["side"] == "BUY" else -1) for row in rows)


async def test_a_kill_leaves_nothing_working_whatever_was_on_its_way_and_however_cancels_fail(
    face: Face, database: asyncpg.Pool, migrated_dsn: str
) -> None:
    desk = Desk(face, database, migrated_dsn)
    await desk.prepare()
    async with desk.working(processes=2):
        resting = [await desk.buy(limit_price=AWAY) for _ in range(6)]
        await until(lambda: desk.are_open(resting))
        split = SplitConfig(num_splits=3, duration_minutes=2, randomize=False)
        planned = await desk.buy(limit_price=AWAY, total_quantity=30, split_config=split)
        await until(lambda: _has_slices(desk, planned))
        desk.faults(
            # Placements without an answer, hidden in the book for a while or not; and one that never arrives.
            {"kind": "hang_after", "call": "place", **_HANGS},
            {"kind": "drop_after", "call": "place"},
            {"kind": "hide", "call": "place", "skip": 2},
            {"kind": "drop_after", "call": "place", "skip": 1},
            {"kind": "drop_before", "call": "place", "skip": 2},
            # Cancels that fail, and such as are carried out without an answer.
            {"kind": "drop_before", "call": "cancel", "times": 2},
            {"kind": "html_504_before", "call": "cancel", "skip": 1},
            {"kind": "drop_after", "call": "cancel", "skip": 2, "times": 2},
            {"kind": "reject", "call": "cancel", "skip": 4, "status": 400, "reason": "NetworkException"},
            {"kind": "lose_update", "times": None},
        )
        on_their_way = [await desk.buy(limit_price=AWAY) for _ in range(8)]
        await until(lambda: _some_in_flight(desk, on_their_way))

        report = await desk.kill()

        assert report.halt.state.halted
        with pytest.raises(TradingHalted):
            await desk.buy()
        orders = [*resting, planned, *on_their_way]
        assert report.cancelled == len(orders)
        claimed = await _claimed(desk, orders)
        await until(lambda: desk.are_done(orders))

    assert await desk.working_at_broker() == []
    assert await _claimed(desk, orders) == claimed, "nothing is claimed once the kill is answered"
    assert max((await desk.placements(orders)).values()) == 1
    rows = await asyncio.to_thread(face.process.book)
    assert max(Counter(tag for row in rows for tag in row["tags"]).values()) == 1
    states = {(await desk.summary(order_id)).state for order_id in orders}
    assert states <= {OrderState.CANCELLED, OrderState.FAILED, OrderState.REJECTED}


async def _claimed(desk: Desk, orders: list[OrderId]) -> dict[str, int]:
    return {each.tag: each.attempt for each in await desk.executions(orders) if each.attempt}


async def _has_slices(desk: Desk, order_id: OrderId) -> bool:
    return bool(await desk.store.slices(order_id))


async def _some_in_flight(desk: Desk, orders: list[OrderId]) -> bool:
    """Whether some of the placements have been struck, others are in the air, and the splitter has begun."""
    found = {each.status for each in await desk.executions(orders)}
    return ExecutionStatus.UNKNOWN in found


@pytest.mark.parametrize("held", [10, -10], ids=["long", "short"])
async def test_a_kill_that_squares_off_closes_what_is_held_once_nothing_works_any_more(
    face: Face, database: asyncpg.Pool, migrated_dsn: str, held: int
) -> None:
    desk = Desk(face, database, migrated_dsn, RISK_SQUARE_OFF="market")
    await desk.prepare()
    async with desk.working(processes=2):
        side, price = (Side.BUY, PRICE) if held > 0 else (Side.SELL, Decimal("1499.90"))
        filled = await desk.buy(side=side, limit_price=price)
        await until(lambda: desk.are_done([filled]))
        resting = [await desk.buy(limit_price=AWAY) for _ in range(2)]
        await until(lambda: desk.are_open(resting))
        desk.faults(
            {"kind": "drop_before", "call": "cancel", "times": 2},
            # One that is at the broker, fills there, and of which we hear late.
            {"kind": "drop_after", "call": "place"},
            {"kind": "hide", "call": "place"},
            {"kind": "lose_update", "times": None},
        )
        await desk.buy(side=side, limit_price=price)
        await until(lambda: _holds(desk, 2 * held))

        report = await desk.kill(squares_off=True)
        again = await desk.kill(squares_off=True)
        await until(lambda: _holds(desk, 0))

        closing = await desk.store.list_orders(None, limit=1)
        await until(lambda: desk.are_done([view.order.order_id for view in closing]))
        third = await desk.kill(squares_off=True)

    kills = {each.halt.state.kill_id for each in (report, again, third)}
    assert len(kills) == 1
    assert await desk.net_at_broker() == 0
    assert await desk.working_at_broker() == []
    [view] = closing
    assert view.order.kill_id in kills
    assert (view.order.request.side, view.order.request.total_quantity) == (
        Side.SELL if held > 0 else Side.BUY,
        20,
    )
    [entry] = [each for each in await PostgresAuditLog(desk.database).newest(50) if each.action == "square-off"]
    assert (entry.channel, entry.place) == ("risk", view.order.kill_id)
    assert (await desk.store.trading_state()).halted, "a person resumes, nobody else"


async def _holds(desk: Desk, units: int) -> bool:
    return await desk.net_at_broker() == units


async def test_a_person_who_closes_by_hand_is_not_closed_again(
    face: Face, database: asyncpg.Pool, migrated_dsn: str
) -> None:
    """A kill's order that would not reduce what the broker shows is not sent."""
    desk = Desk(face, database, migrated_dsn, RISK_SQUARE_OFF="market")
    await desk.prepare()
    async with desk.working():
        filled = await desk.buy()
        await until(lambda: desk.are_done([filled]))
    # A broker that shows nothing of it: as after somebody has closed it in the broker's own app.
    [row] = await asyncio.to_thread(face.process.book)
    by_hand = await asyncio.to_thread(_sell_by_hand, face, row)
    await desk.log_in()  # a broker's user has one session
    with logging_of("pulse_background") as lines:
        async with desk.working():
            await desk.kill(squares_off=True)
            await until(lambda: _says(lines, "the broker shows 0"))

    assert by_hand
    assert await desk.net_at_broker() == 0
    assert len(await desk.store.list_orders(None, limit=10)) == 1


async def _says(lines: StringIO, words: str) -> bool:
    return words in lines.getvalue()


def _sell_by_hand(face: Face, row: dict[str, Any]) -> str:
    kite = face.process.client()  # type: ignore[attr-defined]  # of Kite's process
    answer: str = kite.place_order(
        "regular", "NSE", "INFY", "SELL", row["quantity"], "MIS", "LIMIT", price=1499.90
    )
    return answer
