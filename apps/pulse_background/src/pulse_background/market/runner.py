"""Strategies as they are wanted: started, stopped and reported, each by itself.

What is wanted is read from the store every second, and at once when somebody says so. Whatever happens to one
strategy while it starts, works or stops, the others go on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any

import structlog
from msgspec import Struct

from pulse_background.alerts import Notify
from pulse_background.market.checkpoints import CheckpointKeeper
from pulse_background.market.host import HostFigures, HostPorts, HostSettings, StrategyHost
from pulse_background.market.kinds import wants_process
from pulse_background.market.live_venue import LivePorts, LiveVenue
from pulse_background.market.paper_venue import PaperVenue
from pulse_background.market.seat import SeatFailed
from pulse_background.market.seat_process import SeatProcess
from pulse_background.market.seat_thread import SeatLine, SeatThread
from pulse_background.market.venue import Venue
from pulse_background.wakeup import Wakeup
from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import DomainError, PortError, PulseError, StorageRejected, StorageUnavailable
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.market.sessions import indian_day
from pulse_domain.matching import Tick
from pulse_domain.ports.event_bus import SIGNALS, EventBus, Signal
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity
from pulse_domain.ports.strategy_store import (
    StrategyMode,
    StrategyPlan,
    StrategyRow,
    StrategyState,
    StrategyStore,
)

log = structlog.get_logger(__name__)

# How long the end of a strategy waits for its memory to be stored.
_FLUSH_S = 5.0
# How long, where the desk ends, a strategy may go on with a call, and with the order that it hands over.
_CALL_AT_END_S, _ORDER_AT_END_S = 5.0, 1.0


class RunnerSettings(Struct, frozen=True, kw_only=True):
    """processes: names of strategies that get a process of their own, whatever their kind."""

    host: HostSettings = HostSettings()
    poll_s: float = 1.0
    processes: frozenset[str] = frozenset()


class RunnerPorts(Struct, frozen=True, kw_only=True):
    """subscribe: has the feed give prices of these instruments, or raises a PortError that says why not."""

    store: StrategyStore
    master: InstrumentMaster
    host: HostPorts
    live: LivePorts
    checkpoints: CheckpointKeeper
    subscribe: Callable[[Iterable[Instrument]], None]
    notify: Notify = lambda notification: None


class _Running:
    """A strategy that has begun to start, or more. is_fed: the feed has taken its instruments."""

    def __init__(self, plan: StrategyPlan, host: StrategyHost) -> None:
        self.plan = plan
        self.host = host
        self.paper: PaperVenue | None = None
        self.is_fed = False
        self.started = False
        self.work: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        return self.work is not None and not self.work.done()


class StrategyRunner:
    """has_looked: set once what was wanted at the beginning runs, or has failed."""

    def __init__(self, ports: RunnerPorts, settings: RunnerSettings, instruments: Sequence[Instrument]) -> None:
        self._ports = ports
        self._settings = settings
        self._always = tuple(instruments)
        self._wakeup = Wakeup(ports.host.clock)
        self._running: dict[str, _Running] = {}
        # What is to be reported of which version, until the store has it.
        self._reports: dict[str, tuple[int, StrategyState, str | None]] = {}
        self._trading_changed_at: datetime | None = None
        self._day: date | None = None
        self._ending: dict[asyncio.Task[None], _Running] = {}
        self.has_looked = asyncio.Event()
        self.failures = 0
        self._bus: EventBus = ports.host.bus
        self._signals = self._bus.subscribe(SIGNALS, "risk-and-accept", self._send)

    def wake(self) -> None:
        """What is wanted may have changed."""
        self._wakeup.call()

    @property
    def trading_seen_at(self) -> datetime | None:
        """The change of the halt that positions were looked at after."""
        return self._trading_changed_at

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What prices are needed of."""
        fed = (each for each in self._running.values() if each.is_fed)
        return tuple(dict.fromkeys([*self._always, *(it for each in fed for it in each.plan.instruments)]))

    def figures(self) -> Mapping[str, HostFigures]:
        return {name: each.host.figures() for name, each in list(self._running.items()) if each.started}

    # --- what is wanted

    async def run(self) -> None:
        """Follow what is wanted until cancelled; then end all, remembering what they know."""
        try:
            while True:
                try:
                    await self._look()
                except StorageUnavailable as error:
                    log.warning("what is wanted of strategies is not known", error=error.message)
                await self._wakeup.wait(self._settings.poll_s)
        finally:
            await self._end_all()

    async def _end_all(self) -> None:
        # Before all else nothing more is ordered: another desk may lead already.
        self._signals.cancel()
        running = list(self._running.values())
        for each in (*running, *self._ending.values()):
            each.host.order_no_more()
        works = [each.work for each in running if each.work is not None]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        ends = [self._end(each, _CALL_AT_END_S, _ORDER_AT_END_S) for each in running]
        await asyncio.gather(*self._ending, *ends, return_exceptions=True)

    async def _look(self) -> None:
        await self._report()
        rows = await self._ports.store.rows()
        wanted = {row.plan.name: row for row in rows if _is_wanted(row) and row.plan.name not in self._reports}
        for name, running in list(self._running.items()):
            row = wanted.get(name)
            if not running.is_busy and (row is None or row.plan.version != running.plan.version):
                running.work = asyncio.create_task(self._stop(running), name=f"stop {name}")
        for name, row in wanted.items():
            if name not in self._running:
                self._begin(row.plan)
        for row in rows:
            if (
                row.state is StrategyState.RUNNING
                and not _is_wanted(row)
                and row.plan.name not in self._running
            ):
                self._note(row.plan, StrategyState.STOPPED, None)
        await self._prepare()
        await self._report()
        if not self.has_looked.is_set():
            self._subscribe_again()
            await asyncio.gather(*(each.work for each in self._running.values() if each.work is not None))
            self.has_looked.set()

    def _note(self, plan: StrategyPlan, state: StrategyState, detail: str | None) -> None:
        self._reports[plan.name] = (plan.version, state, detail)

    async def _report(self) -> None:
        for name, report in list(self._reports.items()):
            await self._ports.store.report(name, *report)
            if self._reports.get(name) is report:
                del self._reports[name]

    # --- one of them

    def _begin(self, plan: StrategyPlan) -> None:
        host = StrategyHost(
            plan, self._ports.host, self._settings.host, lambda text: self._failed(running, text)
        )
        running = _Running(plan, host)
        self._running[plan.name] = running
        running.work = asyncio.create_task(self._start(running), name=f"start {plan.name}")

    async def _start(self, running: _Running) -> None:
        plan = running.plan
        try:
            await self._bring_up(running)
        except StorageUnavailable as error:
            log.warning("a strategy waits for the store", strategy=plan.name, error=error.message)
            self._running.pop(plan.name, None)
            await self._end(running)
        except (SeatFailed, PulseError) as error:
            self._failed(running, str(error))
        except Exception as error:
            # What is not foreseen, such as a checkpoint of another shape, is this strategy's trouble alone.
            log.error("a strategy cannot be started", strategy=plan.name, exc_info=error)
            self._failed(running, f"it cannot be started: {type(error).__name__}")
        else:
            if self._running.get(plan.name) is running:
                self._note(plan, StrategyState.RUNNING, None)
                log.info("a strategy runs", strategy=plan.name, kind=plan.kind, mode=plan.mode)
                self._tell(plan, Severity.LOW, {"runs": plan.kind, "mode": str(plan.mode)})
                self.wake()

    async def _bring_up(self, running: _Running) -> None:
        plan, host = running.plan, running.host
        terms = await self._terms(plan)
        # Beside those that have prices: what another one that starts wants may be refused.
        self._ports.subscribe(tuple(dict.fromkeys([*self.instruments, *plan.instruments])))
        running.is_fed = True
        with suppress(StorageRejected):  # then the last one that was not
            await self._ports.checkpoints.flush(plan.name)
        checkpoint = await self._ports.store.checkpoint(plan.name, plan.version)
        venue = self._venue(running, terms)
        line = await self._line(running)
        try:
            await host.start(line, venue, checkpoint, terms)
        except BaseException:
            await line.close()
            raise
        running.started = True

    async def _terms(self, plan: StrategyPlan) -> dict[Instrument, InstrumentTerms]:
        return {instrument: await self._ports.master.terms(instrument) for instrument in plan.instruments}

    def _venue(self, running: _Running, terms: dict[Instrument, InstrumentTerms]) -> Venue:
        plan, host = running.plan, running.host
        capital = self._settings.host.capital if plan.capital is None else plan.capital
        if plan.mode is StrategyMode.LIVE:
            return LiveVenue(plan.name, self._ports.live, capital, host.tell)
        running.paper = PaperVenue(terms, capital, self._ports.host.market_now, host.tell)
        return running.paper

    async def _line(self, running: _Running) -> SeatLine:
        plan, host = running.plan, running.host
        if plan.name in self._settings.processes or wants_process(plan.kind):
            return await SeatProcess.start(host.hear, lambda text: self._failed(running, text))
        return SeatThread(plan.name, host.hear)

    def _failed(self, running: _Running, text: str) -> None:
        plan = running.plan
        if self._running.get(plan.name) is not running:
            return
        del self._running[plan.name]
        self.failures += 1
        log.error("a strategy has failed", strategy=plan.name, reason=text)
        self._note(plan, StrategyState.FAILED, text)
        self._tell(plan, Severity.HIGH, {"failed": text})
        running.host.fail(text)
        running.work = asyncio.create_task(self._end(running), name=f"end {plan.name}")
        self._ending[running.work] = running
        running.work.add_done_callback(self._ending.pop)
        self.wake()

    async def _stop(self, running: _Running) -> None:
        await self._end(running)
        plan = running.plan
        if self._running.get(plan.name) is running:
            del self._running[plan.name]
            self._note(plan, StrategyState.STOPPED, None)
            self._tell(plan, Severity.LOW, {"stopped": "its orders and its position stay as they are"})
        self._subscribe_again()
        self.wake()

    async def _end(self, running: _Running, *within_s: float) -> None:
        await running.host.stop(*within_s)
        # What cannot be stored now waits, and is tried again.
        with suppress(StorageUnavailable, StorageRejected, TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self._ports.checkpoints.flush(running.plan.name)

    def _subscribe_again(self) -> None:
        try:
            self._ports.subscribe(self.instruments)
        except PortError as error:
            log.warning("prices are not what is wanted", error=error.message)

    def _tell(self, plan: StrategyPlan, severity: Severity, parts: Mapping[str, Any]) -> None:
        self._ports.notify(
            Notification(kind=NotificationKind.STRATEGY, severity=severity, about=plan.name, parts=parts)
        )

    # --- what comes and goes

    async def _prepare(self) -> None:
        """A new day has new terms; a halt may have ended with positions that others have closed."""
        now = self._ports.host.market_now()
        trading = await self._ports.live.store.trading_state()
        new_day = self._day is not None and indian_day(now) != self._day
        changed = trading.changed_at != self._trading_changed_at
        if new_day or changed:
            for running in [each for each in self._running.values() if each.started]:
                try:
                    terms = await self._terms(running.plan) if new_day else None
                except DomainError as error:
                    self._failed(running, error.message)
                    continue
                await running.host.prepare(terms)
        self._day, self._trading_changed_at = indian_day(now), trading.changed_at

    async def _send(self, signals: Sequence[Signal]) -> None:
        for signal in signals:
            running = self._running.get(signal.strategy_tag)
            if running is not None:
                running.host.order(signal)

    def take(self, ticks: Sequence[Tick]) -> None:
        """Let orders on paper meet ticks; never waits."""
        for running in list(self._running.values()):
            if running.paper is None:
                continue
            try:
                running.paper.take(ticks)
            except Exception as error:
                # Prices go on, whatever a tick or an order is like.
                log.error("orders on paper cannot go on", strategy=running.plan.name, exc_info=error)
                self._failed(running, f"its orders on paper: {type(error).__name__}: {error}")

    def passing_over(self) -> list[str]:
        """Those that prices came of which they know already."""
        return [name for name, each in self._running.items() if each.host.has_passed_over]

    async def settled(self, closed: Sequence[ClosedCandle], tick: Tick | None) -> None:
        """Wait until all strategies have worked on what was told, and what they ordered by it has ended."""
        waiting: list[Awaitable[None]] = [
            each.host.settled(closed, tick) for each in list(self._running.values()) if each.started
        ]
        if waiting:
            await asyncio.gather(*waiting)


def _is_wanted(row: StrategyRow) -> bool:
    return row.plan.wanted is StrategyState.RUNNING and row.state is not StrategyState.FAILED
