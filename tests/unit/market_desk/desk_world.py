"""A market desk on the doubles, with workers and a virtual exchange that fills at the desk's own prices."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from pulse_adapters.bus.in_process import InProcessEventBus
from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_background.background import Background, BackgroundPorts
from pulse_background.market.desk import DeskPorts, DeskSettings, MarketDesk
from pulse_background.market.hours import around_the_clock
from pulse_background.market.quotes import FeedQuotes
from pulse_background.scheduler import SoleProcess
from pulse_background.settings import Settings
from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.model import NewOrder
from pulse_domain.ports.event_bus import CANDLES, ORDER_UPDATES, SIGNALS, VALIDATED_ORDERS
from pulse_domain.ports.market_data import Quote
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.ports.strategy_store import StrategyMode, StrategyRow, StrategyState
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.splitting import PaceLimits
from pulse_domain.strategy import OrderUpdate, Strategy
from pulse_domain.testing.memory_feed import InMemoryFeed
from pulse_domain.testing.memory_market_data import InMemoryCandleStore
from pulse_domain.testing.memory_notifier import RecordingNotifier
from pulse_domain.testing.memory_prices import InMemoryPriceBoard
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.memory_strategies import InMemoryStrategyStore
from pulse_domain.use_cases.accept import AcceptOrder
from pulse_domain.use_cases.cancel import RequestCancel

TCS, INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")
OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)  # 09:15 in India
PATIENCE_S = 30.0


class NoPrices:
    async def quote(self, instrument: Instrument) -> Quote:
        raise MarketDataUnavailable(instrument=str(instrument))


class Stores:
    """What outlives a process."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.orders = InMemoryOrderStore(clock)
        self.strategies = InMemoryStrategyStore(clock)
        self.candles = InMemoryCandleStore()
        self.board = InMemoryPriceBoard()


class StandingClock(SystemClock):
    """Time as a test sets it."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class DeskWorld:
    def __init__(
        self,
        stores: Stores,
        *,
        recorded: bool,
        risk: Any = None,
        clock: SystemClock | None = None,
        **settings: Any,
    ) -> None:
        self.stores = stores
        self.clock = clock or SystemClock()
        self.feed = InMemoryFeed()
        self.recorded = StandingClock(OPEN) if recorded else None
        self.notifier = RecordingNotifier()
        self.bus = InProcessEventBus(self.clock)
        self.latest: dict[Instrument, Tick] = {}
        self.seen: dict[str, list[Any]] = {}
        for topic in (CANDLES, SIGNALS, VALIDATED_ORDERS, ORDER_UPDATES):
            self._note(topic)
        self.exchange = VirtualExchange(
            FeedQuotes(self.latest, NoPrices(), self.clock), self.clock, Random(1), latency_ms=(0.0, 0.1)
        )
        queue = InProcessQueue()
        ids = RandomIds(self.clock)

        def accept(on_new: Callable[[NewOrder], None], prices: PriceBoard) -> AcceptOrder:
            return AcceptOrder(
                stores.orders,
                VirtualInstrumentMaster(),
                queue,
                self.clock,
                ids,
                PaceLimits(),
                None,
                risk,
                on_new,
            )

        self.accept = accept(lambda new: None, stores.board)
        self.desk = MarketDesk(
            DeskPorts(
                bus=self.bus,
                feed=self.feed,
                hours_at=around_the_clock,
                store=stores.orders,
                strategies=stores.strategies,
                candles=stores.candles,
                board=stores.board,
                master=VirtualInstrumentMaster(),
                accept=accept,
                cancel=RequestCancel(stores.orders, queue),
                clock=self.clock,
                recorded=self.recorded,
                notify=self.notifier.notify,
                latest=self.latest,
                on_ticks=self.exchange.on_ticks,
                on_backfill=self.exchange.on_candles,
            ),
            DeskSettings(**{"poll_s": 0.05, "follow_s": 0.05} | settings),
        )
        self._background = Background(
            BackgroundPorts(
                store=stores.orders,
                broker=self.exchange,
                clock=self.clock,
                leadership=SoleProcess(),
                presence=SoleProcess(),
                executor_id=ids.executor_id(),
            ),
            Settings(database_url="postgresql://unused", order_splitter_poll_interval_seconds=0.05),
        )
        for kind in JobKind:
            queue.listen(kind, lambda job: self._background.wake(job.kind))

    def _note(self, topic: Any) -> None:
        seen = self.seen[topic.name] = []

        async def note(events: Sequence[Any]) -> None:
            seen.extend(events)

        self.bus.subscribe(topic, "test", note)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["DeskWorld"]:
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self.desk.run()), asyncio.create_task(self._background.run(stop))]
        try:
            yield self
        finally:
            await self.end(tasks, stop)

    async def end(self, tasks: Sequence["asyncio.Task[None]"], stop: asyncio.Event) -> None:
        stop.set()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.exchange.close()
        await self.bus.close()

    # --- people

    async def want(
        self,
        kind: str,
        *,
        name: str = "it",
        instruments: Sequence[Instrument] = (TCS,),
        mode: StrategyMode = StrategyMode.LIVE,
        parameters: Mapping[str, Any] | None = None,
        capital: Decimal | None = None,
    ) -> None:
        strategies = self.stores.strategies
        await strategies.put(
            name,
            kind=kind,
            instruments=instruments,
            parameters=parameters or {},
            mode=mode,
            capital=capital,
            changed_by="asha",
        )
        await strategies.want(name, StrategyState.RUNNING, "asha")

    async def row(self, name: str = "it") -> StrategyRow:
        return next(row for row in await self.stores.strategies.rows() if row.plan.name == name)

    async def until_state(self, state: StrategyState, name: str = "it") -> StrategyRow:
        deadline = time.monotonic() + PATIENCE_S
        while (row := await self.row(name)).state is not state:
            assert time.monotonic() < deadline, row
            await asyncio.sleep(0.01)
        return row

    async def until_fed(self) -> None:
        await until(lambda: self.feed.figures().connected)

    # --- prices

    def minute(self, number: int, *prices: float, instrument: Instrument = TCS, volume: int = 100) -> None:
        """A minute's ticks, evenly spread."""
        step = 58 / len(prices)
        self.feed.give(
            *[
                Tick(
                    instrument,
                    OPEN + timedelta(minutes=number, seconds=1 + place * step),
                    Decimal(str(price)),
                    volume=volume * number + volume * (place + 1) // len(prices),
                )
                for place, price in enumerate(prices)
            ]
        )

    def tick_at(self, at: datetime, price: float, instrument: Instrument = TCS) -> None:
        self.feed.give(self.tick_of(at, price, instrument))

    @staticmethod
    def tick_of(at: datetime, price: float, instrument: Instrument = TCS) -> Tick:
        return Tick(instrument, at, Decimal(str(price)))

    def pass_to(self, minute: int, second: float = 2) -> None:
        """Let recorded time go on without a tick."""
        assert self.recorded is not None
        self.recorded.at = OPEN + timedelta(minutes=minute, seconds=second)

    async def orders(self) -> list[Any]:
        return [view async for view in _all(self.stores.orders)]


async def _all(store: InMemoryOrderStore) -> AsyncIterator[Any]:
    for view in reversed(await store.list_orders(None, limit=500)):
        yield view


async def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it does not come"
        await asyncio.sleep(0.005)


# --- strategies of tests


class Scripted(Strategy):
    """Buys and sells by turns at every candle, and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.closes: list[str] = []
        self.told: list[str] = []

    def on_candle(self, candle: Candle) -> None:
        self.closes.append(str(candle.close))
        held = self.desk.position(candle.instrument)
        if held == 0:
            self.buy(candle.instrument, 10)
        else:
            self.sell(candle.instrument, held)

    def on_order_update(self, update: OrderUpdate) -> None:
        self.told.append(f"{update.order_unique_key} {update.state} {update.last_quantity}")

    def snapshot(self) -> dict[str, Any]:
        return {"closes": self.closes, "told": self.told}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.closes, self.told = list(state["closes"]), list(state["told"])


class Raises(Scripted):
    too_much = 2

    def on_candle(self, candle: Candle) -> None:
        super().on_candle(candle)
        if len(self.closes) == self.too_much:
            raise ValueError("the second candle is too much")


class Blocks(Strategy):
    """Does not return before the test lets it."""

    may_go_on = threading.Event()

    def on_tick(self, tick: Tick) -> None:
        self.may_go_on.wait(PATIENCE_S)
        self.buy(tick.instrument, 1)


class Hangs(Strategy):
    def on_candle(self, candle: Candle) -> None:
        time.sleep(5)


class Exits(Strategy):
    def on_start(self) -> None:
        raise SystemExit(3)


class ByTick(Strategy):
    """Buys once, at the first tick."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def on_tick(self, tick: Tick) -> None:
        self.seen += 1
        if self.seen == 1:
            self.buy(tick.instrument, 5)

    def snapshot(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


class Counts(Strategy):
    """Knows what it began with."""

    def on_start(self) -> None:
        self.began_with = str(self.desk.cash())

    def on_candle(self, candle: Candle) -> None:
        pass

    def snapshot(self) -> dict[str, Any]:
        return {"began_with": self.began_with}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.began_with = state["began_with"]


OWN: dict[str, type[Strategy]] = {
    "counts": Counts,
    "scripted": Scripted,
    "raises": Raises,
    "blocks": Blocks,
    "hangs": Hangs,
    "exits": Exits,
    "by_tick": ByTick,
}
