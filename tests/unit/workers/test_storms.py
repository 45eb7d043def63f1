"""Two processes in a storm: whatever is lost on the way, no order is doubled and no unit is lost."""

import asyncio
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from pulse_background.background import Background, BackgroundPorts
from pulse_background.scheduler import SoleProcess
from pulse_background.settings import Settings
from pulse_domain.errors import BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable, StorageUnavailable
from pulse_domain.orders.ids import BrokerOrderId, OrderId
from pulse_domain.orders.model import OrderType, SplitConfig
from pulse_domain.ports.broker import BookRead, BrokerOrderStatus, OrderTicket
from pulse_domain.ports.clock import Clock
from pulse_domain.testing.factories import TAG_PREFIX, order_request
from tests.unit.workers.floor import Floor, ShakyStore, SlowBroker, left_tidy

STORM_S, ORDERS = 90, 40
CALL_S, LEASE_S, SETTLE_S = 3.0, 10.0, 15.0
SETTINGS: dict[str, Any] = {
    "database_url": "postgresql://unused",
    "tag_prefix": TAG_PREFIX,
    "broker_call_timeout_seconds": CALL_S,
    "slice_execution_timeout_minutes": LEASE_S / 60,
    "unknown_settle_seconds": SETTLE_S,
    "unknown_give_up_seconds": 600.0,
    "timeout_monitor_interval_seconds": 5.0,
    "order_split_attempts_max": 1000,
}
FINAL = (BrokerOrderStatus.COMPLETE, BrokerOrderStatus.CANCELLED)


class Weather:
    """Chance, which strikes harder in a gust: then the network fails on all sides at once."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.is_stormy = True
        self.gusts = False

    def strikes(self, chance: float) -> bool:
        return self.is_stormy and self.rng.random() < chance * (5 if self.gusts else 1)

    async def blow(self, clock: Clock) -> None:
        while True:
            await clock.sleep(self.rng.uniform(1, 6))
            self.gusts = not self.gusts


class StormyStore(ShakyStore):
    """Steps take time, and some are lost on their way there or back."""

    weather: Weather

    async def pass_line(self, step: str) -> None:
        await self._clock.sleep(self.weather.rng.uniform(0, 0.05))
        await super().pass_line(step)
        if self.weather.strikes(0.05):
            raise StorageUnavailable

    async def answer(self, step: str) -> None:
        await self._clock.sleep(self.weather.rng.uniform(0, 0.05))
        await super().answer(step)
        if self.weather.strikes(0.05):
            raise StorageUnavailable


class StormyBroker(SlowBroker):
    """Calls take time; some are refused, some are lost, some arrive when nobody believes in them any more."""

    def __init__(self, clock: Clock, weather: Weather) -> None:
        super().__init__(clock)
        self.weather = weather
        self.stragglers: set[asyncio.Task[None]] = set()

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        await self._clock.sleep(self.weather.rng.uniform(0, 0.3))
        if self.weather.strikes(0.08):
            raise BrokerUnavailable("REFUSED_CONNECTION")
        if self.weather.strikes(0.05):
            raise BrokerRejected("MARGIN")
        self.sent.append(ticket)
        if self.weather.strikes(0.08):
            await self._clock.sleep(timeout_s)
            raise BrokerOutcomeUnknown("TIMEOUT", call_ended=True)
        if self.weather.strikes(0.08):
            straggler = asyncio.create_task(self._arrive_late(ticket))
            self.stragglers.add(straggler)
            await self._clock.sleep(timeout_s)
            raise BrokerOutcomeUnknown("TIMEOUT", call_ended=False)
        broker_order_id = self.arrive(ticket)
        self.hide(broker_order_id, reads=self.weather.rng.randrange(3))
        await self._clock.sleep(self.weather.rng.uniform(0, 0.3))
        if self.weather.strikes(0.1):
            await self._clock.sleep(timeout_s)
            raise BrokerOutcomeUnknown("TIMEOUT", call_ended=self.weather.rng.random() < 0.5)
        return broker_order_id

    async def _arrive_late(self, ticket: OrderTicket) -> None:
        # Before the lease ends: the call's own deadline sees to that.
        await self._clock.sleep(self.weather.rng.uniform(0, LEASE_S / 2))
        self.arrive(ticket)

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        await self._clock.sleep(self.weather.rng.uniform(0, 0.3))
        if self.weather.strikes(0.2):
            raise BrokerUnavailable("REFUSED_CONNECTION")
        if self.weather.strikes(0.1):
            raise BrokerRejected("TRY_AGAIN")
        await super().cancel(broker_order_id, timeout_s=timeout_s)
        if self.weather.strikes(0.2):
            raise BrokerOutcomeUnknown("TIMEOUT", call_ended=True)

    async def order_book(self) -> BookRead:
        await self._clock.sleep(self.weather.rng.uniform(0, 0.5))
        if self.weather.strikes(0.2):
            raise BrokerUnavailable("TIMEOUT")
        return await super().order_book()

    def push(self, broker_order_id: str, *, with_fills: bool = False) -> None:
        for _ in range(self.weather.rng.randrange(3) if self.weather.is_stormy else 1):
            super().push(broker_order_id, with_fills=with_fills)


def start(floor: Floor, name: str) -> tuple["asyncio.Task[None]", asyncio.Event]:
    stop = asyncio.Event()
    ports = BackgroundPorts(
        store=floor.store,
        broker=floor.broker,
        clock=floor.clock,
        leadership=SoleProcess(),
        presence=SoleProcess(),
        executor_id=name,
    )
    return asyncio.create_task(Background(ports, Settings(**SETTINGS)).run(stop)), stop


async def give_orders(floor: Floor, rng: Random) -> list[OrderId]:
    """Orders at random instants, of which some rest until they are cancelled."""
    order_ids, resting = list[OrderId](), list[OrderId]()
    for _ in range(ORDERS):
        rests = rng.random() < 0.4
        limit: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": Decimal(90)} if rests else {}
        split = SplitConfig(num_splits=rng.randint(2, 6), duration_minutes=1) if rng.random() < 0.6 else None
        order_ids.append(await floor.accept(split_config=split, **limit))
        if rests:
            resting.append(order_ids[-1])
        await floor.clock.advance(rng.uniform(0, 2 * STORM_S / ORDERS))
        if resting and rng.random() < 0.3:
            await floor.ask_for_cancel(resting.pop(rng.randrange(len(resting))))
    for order_id in resting:
        await floor.ask_for_cancel(order_id)
    return order_ids


@pytest.mark.parametrize("seed", range(20))
async def test_in_a_storm_nothing_is_doubled_and_nothing_is_lost(seed: int) -> None:
    async with left_tidy():
        floor, weather = Floor(StormyStore), Weather(seed)
        StormyStore.weather = weather
        floor.broker = broker = StormyBroker(floor.clock, weather)
        broker.trade_at(order_request().instrument, Decimal(100))
        asyncio.create_task(weather.blow(floor.clock), name="gusts")  # noqa: RUF006  # ended with the block
        processes = [start(floor, f"worker-{number}")[0] for number in range(2)]

        order_ids = await give_orders(floor, weather.rng)
        await floor.clock.advance(30)
        weather.is_stormy = False
        for _ in range(200):
            views = [await floor.view(order_id) for order_id in order_ids]
            if all(view.summary.done for view in views):
                break
            await floor.clock.advance(5)

        for process in processes:
            assert not process.done() or process.result(), "it ended by itself"
        assert [view for view in views if not view.summary.done or not view.summary.quantities.balanced] == []
        rows = Counter(tag for row in broker.rows() for tag in row.tags)
        assert [tag for tag, count in rows.items() if count > 1] == []
        executions = [e for order_id in order_ids for e in await floor.executions(order_id)]
        filled = {tag: row.filled_quantity for row in broker.rows() for tag in row.tags}
        assert {e.tag: e.filled_quantity for e in executions if e.filled_quantity} == {
            tag: quantity for tag, quantity in filled.items() if quantity
        }
        assert [row for row in broker.rows() if row.status not in FINAL] == []
        assert [e for e in executions if e.flags] == []
