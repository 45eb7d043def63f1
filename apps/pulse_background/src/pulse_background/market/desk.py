"""The market desk: one feed, candles, what keeps them, and the strategies that trade on them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from msgspec import Struct
from msgspec.structs import replace

from pulse_background.alerts import Notify
from pulse_background.market.candle_keeper import CandleKeeper
from pulse_background.market.checkpoints import CheckpointKeeper
from pulse_background.market.host import HostPorts, HostSettings
from pulse_background.market.intake import LiveIntake, RecordedIntake, RunningTotals
from pulse_background.market.live_venue import LivePorts
from pulse_background.market.order_follower import OrderFollower
from pulse_background.market.runner import RunnerPorts, RunnerSettings, StrategyRunner
from pulse_background.workers.circuit_keeper import CircuitKeeper
from pulse_background.workers.price_keeper import FreshPrices, PriceKeeper
from pulse_background.workers.tick_recorder import TickRecorder
from pulse_domain.candles import CandleBuilder, ClosedCandle, HoursAt
from pulse_domain.errors import FeedRefused
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.orders.model import NewOrder
from pulse_domain.ports.candle_store import CandleStore
from pulse_domain.ports.circuit_reads import CircuitReads
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.event_bus import NOTIFICATIONS, TICKS, VALIDATED_ORDERS, EventBus
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.market_feed import FeedFigures, FeedGap, MarketFeed
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.ports.strategy_store import StrategyStore
from pulse_domain.ports.tick_store import TickStore
from pulse_domain.use_cases.accept import AcceptOrder
from pulse_domain.use_cases.cancel import RequestCancel

log = structlog.get_logger(__name__)

_REFUSED_AGAIN_S = 60.0
_STOP_S = 10.0
_AHEAD_MAX, _DAYS = timedelta(seconds=60), timedelta(days=10_000)


class DeskSettings(Struct, frozen=True, kw_only=True):
    """instruments: what prices are taken of in any case; strategies have those of their own.
    source: where prices come from, as ticks are stored under; others as in `HostSettings` and `RunnerSettings`.
    """

    instruments: tuple[Instrument, ...] = ()
    source: str = "feed"
    capital: Decimal = Decimal(10_000_000)
    fresh_s: float = 60.0
    call_timeout_s: float = 30.0
    settle_s: float = 10.0
    poll_s: float = 1.0
    follow_s: float = 0.2
    processes: frozenset[str] = frozenset()


class DeskPorts(Struct, frozen=True, kw_only=True):
    """accept: makes the way of all orders, given what is to hear of new ones, and prices.
    recorded: the time of a recording; None for prices of now.
    is_made_up: prices trade around the clock, and begin their volume anew now and then.
    ticks: where they are kept; a recording is one already.
    circuits: what tells the day's circuit limits; of prices that are no market's nothing does.
    latest: filled with the last tick of each instrument.
    on_ticks, on_backfill: of an exchange in this process, whose orders meet ticks before anybody is told of
        them, and the candles of holes; they never wait and never raise.
    """

    bus: EventBus
    feed: MarketFeed
    hours_at: HoursAt
    store: OrderStore
    strategies: StrategyStore
    candles: CandleStore
    board: PriceBoard
    master: InstrumentMaster
    accept: Callable[[Callable[[NewOrder], None], PriceBoard], AcceptOrder]
    cancel: RequestCancel
    clock: Clock
    recorded: Clock | None = None
    is_made_up: bool = False
    ticks: TickStore | None = None
    circuits: CircuitReads | None = None
    notify: Notify = lambda notification: None
    latest: dict[Instrument, Tick] = {}
    on_ticks: Callable[[Sequence[Tick]], object] = lambda ticks: None
    on_backfill: Callable[[Sequence[ClosedCandle]], object] = lambda candles: None


class CandleFigures(Struct, frozen=True, kw_only=True):
    """closed, dropped: of the keeper. outside, late, ahead: ticks that no candle has."""

    closed: int
    dropped: int
    outside: int
    late: int
    ahead: int


class MarketDesk:
    """Everything between a feed and accepted orders, for one process at a time."""

    def __init__(self, ports: DeskPorts, settings: DeskSettings) -> None:
        self._ports = ports
        self._settings = settings
        bus, clock = ports.bus, ports.clock
        self._builder = CandleBuilder(
            ports.hours_at,
            # Of a recording none is of the future: its clock waits for every tick.
            ahead_max=_AHEAD_MAX if ports.recorded is None else _DAYS,
            since=self._now(),
        )
        self._keeper = CandleKeeper(ports.candles, clock)
        self._checkpoints = CheckpointKeeper(ports.strategies, self._keeper, clock)
        self._follower = OrderFollower(ports.store, clock, poll_s=settings.follow_s)
        self._circuits = None
        if ports.circuits is not None:
            self._circuits = CircuitKeeper(ports.circuits, clock, ports.hours_at)
            self._prices = PriceKeeper(ports.board, clock, circuits=self._circuits.get)
        else:
            self._prices = PriceKeeper(ports.board, clock)
        self._recorder = None
        if ports.ticks is not None:
            self._recorder = TickRecorder(ports.ticks, clock, settings.source)
            bus.subscribe(TICKS, "recorder", self._recorder.take)
        self._totals = RunningTotals() if ports.is_made_up else None
        self._intake = self._make_intake()
        self._has_instruments = asyncio.Event()
        # Whether it is told that strategies know the recording.
        self._is_passed_over = False
        self._runner = StrategyRunner(
            RunnerPorts(
                store=ports.strategies,
                master=ports.master,
                host=HostPorts(
                    bus=bus,
                    candle_store=ports.candles,
                    candles=self._keeper,
                    checkpoints=self._checkpoints,
                    clock=clock,
                    market_now=self._intake.now,
                    is_recorded=ports.recorded is not None,
                ),
                live=LivePorts(
                    accept=ports.accept(
                        lambda new: bus.publish(VALIDATED_ORDERS, new), FreshPrices(self._prices, ports.board)
                    ),
                    cancel=ports.cancel,
                    store=ports.store,
                    follower=self._follower,
                    clock=clock,
                    market_now=self._intake.now,
                    is_recorded=ports.recorded is not None,
                    fresh_s=settings.fresh_s,
                ),
                checkpoints=self._checkpoints,
                subscribe=self._subscribe,
                notify=self._notify,
            ),
            RunnerSettings(
                host=HostSettings(
                    capital=settings.capital,
                    fresh_s=settings.fresh_s,
                    call_timeout_s=settings.call_timeout_s,
                    settle_s=settings.settle_s,
                ),
                poll_s=settings.poll_s,
                processes=settings.processes,
            ),
            settings.instruments,
        )

    def _make_intake(self) -> LiveIntake | RecordedIntake:
        ports = self._ports
        if ports.recorded is None:
            return LiveIntake(
                ports.bus,
                self._builder,
                self._keeper,
                ports.clock,
                self._seen,
                self._gap,
                latest=ports.latest,
                on_backfill=ports.on_backfill,
                is_fed=lambda: ports.feed.figures().connected,
            )
        return RecordedIntake(
            ports.bus,
            self._builder,
            self._keeper,
            ports.clock,
            ports.recorded,
            self._seen,
            self._settled,
            latest=ports.latest,
        )

    @property
    def runner(self) -> StrategyRunner:
        return self._runner

    @property
    def recorder(self) -> TickRecorder | None:
        return self._recorder

    def feed_figures(self) -> FeedFigures:
        return self._ports.feed.figures()

    def candle_figures(self) -> CandleFigures:
        builder, keeper = self._builder, self._keeper
        return CandleFigures(
            closed=keeper.taken, dropped=keeper.dropped, outside=builder.outside, late=builder.late,
            ahead=builder.ahead,
        )  # fmt: skip

    def wake(self) -> None:
        """An order may have changed; call it on the event loop's thread."""
        self._follower.wake()

    async def run(self) -> None:
        """Work until cancelled; then store what is known."""
        keepers = [
            asyncio.create_task(self._keeper.run(), name="candles"),
            asyncio.create_task(self._checkpoints.run(), name="checkpoints"),
            asyncio.create_task(self._prices.run(), name="prices"),
        ]
        if self._recorder is not None:
            keepers.append(asyncio.create_task(self._recorder.run(), name="ticks"))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follower.run(), name="order-follower")
                group.create_task(self._intake.run(), name="intake")
                group.create_task(self._play(), name="feed")
                if self._circuits is not None:
                    group.create_task(self._circuits.run(), name="circuits")
                group.create_task(self._runner.run(), name="strategies")
                group.create_task(_while_all_run(keepers), name="keepers")
        finally:
            # Checkpoints wait for candles, so these are stored first; a store that is away is not waited for.
            self._keeper.stop()
            self._prices.stop()
            if self._recorder is not None:
                self._recorder.stop()
            self._checkpoints.stop()
            _, late = await asyncio.wait(keepers, timeout=_STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    # --- prices

    async def _play(self) -> None:
        """Give prices while somebody wants some; a recording begins when all strategies are there."""
        await self._runner.has_looked.wait()
        while True:
            await self._has_instruments.wait()
            sink = _Summed(self._intake, self._totals) if self._totals is not None else self._intake
            try:
                await self._ports.feed.run(sink)
            except FeedRefused as error:
                log.error("there are no prices", reason=error.message)
                self._tell_of_feed(Severity.HIGH, {"refused": error.message})
                await self._ports.clock.sleep(_REFUSED_AGAIN_S)
            else:
                log.info("the recording is at its end")
                self._tell_of_feed(Severity.LOW, {"the recording": "is at its end"})
                return

    def _subscribe(self, instruments: Iterable[Instrument]) -> None:
        wanted = tuple(instruments)
        self._ports.feed.subscribe(wanted)
        self._builder.watch(wanted, self._now())
        if self._circuits is not None:
            self._circuits.subscribe(wanted)
        if wanted:
            self._has_instruments.set()

    def _now(self) -> datetime:
        """Since when there are prices of what is subscribed to at this moment."""
        if self._ports.recorded is None:
            return self._ports.clock.now()
        # The minute in which a recording begins is all that there is of it.
        return self._ports.recorded.now().replace(second=0, microsecond=0)

    def _seen(self, ticks: Sequence[Tick]) -> None:
        self._ports.on_ticks(ticks)
        self._runner.take(ticks)
        if self._ports.recorded is None:
            self._prices.append(ticks)
        else:
            # Whoever judges orders by prices lives by the clock.
            now = self._ports.clock.now()
            self._prices.append([replace(tick, at=now) for tick in ticks])

    async def _settled(self, closed: Sequence[ClosedCandle], tick: Tick | None) -> None:
        await self._runner.settled(closed, tick)
        if not self._is_passed_over and (names := self._runner.passing_over()):
            self._is_passed_over = True
            log.warning(
                "these strategies know the recorded prices already, and pass them over: a replay needs a "
                "database of its own",
                strategies=names,
            )
            self._tell_of_feed(
                Severity.LOW,
                {
                    "the recording": "is known already, and passed over",
                    "by": ", ".join(names),
                    "for all of it": "replay into a database of its own",
                },
            )

    def _gap(self, gap: FeedGap) -> None:
        seconds = int((gap.until - gap.since).total_seconds())
        log.warning("prices were missing", reason=gap.reason, seconds=seconds, instruments=len(gap.instruments))
        self._tell_of_feed(
            Severity.LOW,
            {"were missing for seconds": seconds, "why": gap.reason, "instruments": len(gap.instruments)},
        )

    def _tell_of_feed(self, severity: Severity, parts: Mapping[str, str | int]) -> None:
        self._notify(
            Notification(
                kind=NotificationKind.FEED, severity=severity, about=self._settings.source, parts=parts
            )
        )

    def _notify(self, notification: Notification) -> None:
        self._ports.bus.publish(NOTIFICATIONS, notification)
        self._ports.notify(notification)


async def _while_all_run(keepers: Sequence["asyncio.Task[None]"]) -> None:
    """Raise when one of them ends: without what keeps them, prices and memories are lost unseen.

    Raises:
        RuntimeError: one has returned; or what it raised.
    """
    ended, _ = await asyncio.wait(keepers, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
        raise RuntimeError(f"the task that keeps {task.get_name()} has ended")


class _Summed:
    """Implements `FeedSink`: with volumes that only grow."""

    def __init__(self, intake: LiveIntake | RecordedIntake, totals: RunningTotals) -> None:
        self._intake = intake
        self._totals = totals
        self.gap = intake.gap
        self.backfill = intake.backfill

    def ticks(self, ticks: Sequence[Tick]) -> None:
        self._intake.ticks([self._totals(tick) for tick in ticks])
