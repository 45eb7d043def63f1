"""Put a scenario into practice: processes of the real parts, the world between them, and what goes wrong."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pulse_adapters.limits.in_process import InProcessGate
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_background.background import Background, BackgroundPorts
from pulse_background.settings import Settings
from pulse_domain.errors import DomainError, PulseError, StorageUnavailable
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, Source, SplitConfig, Validity
from pulse_domain.orders.status import Phase, TerminalReason
from pulse_domain.ports.broker import Broker, OrderTicket
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import Accepted, OrderView
from pulse_domain.ports.work_queue import Job
from pulse_domain.splitting import PaceLimits
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.sequential_ids import SequentialIds
from pulse_domain.traffic import LaneRules, Unlimited
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder, SendAtOnce
from pulse_domain.use_cases.cancel import RequestCancel
from pulse_domain.use_cases.count_calls import CountCalls
from pulse_domain.use_cases.halt import HaltReport, HaltTrading, ResumeTrading
from pulse_domain.use_cases.pause import PauseOrder
from pulse_domain.use_cases.resolve import ResolveExecution, Word
from tests.promise.invariants import Acknowledged
from tests.simulation.exchange import Exchange, SimulatedBroker, Troubles
from tests.simulation.loop import simulated_loop
from tests.simulation.process import Gone, Process, WorldClock, request, settle
from tests.simulation.scenario import (
    API,
    WORKER,
    Blow,
    BlowKind,
    BrokerFault,
    Cancel,
    Foreign,
    Halt,
    LeadLost,
    Pause,
    Post,
    QueueFault,
    Scenario,
    Stage,
    StoreFault,
)

T = TypeVar("T")

# A Friday at the National Stock Exchange of India, at its opening.
DAY = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)
CLIENT = ClientId("desk-1")
TAG_PREFIX = "T1"
# After the close nothing fails: what is in doubt is settled, or given up, within this.
SETTLED_S = 3600.0
_LOOK_S = 60.0
# Between two tries of an operator who does not give up.
_INSIST_S = 5.0
# Before an order that was refused comes again, and before the close is tried again.
_REFUSED_S = 60.0
_CLOSE_LATER_S = 300.0
# The loops are known by how long they sleep between two polls. Some of these are settings here, and that of the
# executors is drawn with the scenario. What is slept for other reasons is never prolonged.
_WORK_POLL_S = 4.0
_BOOK_POLL_S = 15.0
_MONITOR_POLL_S = 30.0
# A leader that has not looked after its lock for so long is deposed.
_LEADER_SILENT_S = 15.0
_LOCK_POLL_S = 1.0
_LIMITER_POLL_S = 3.0
_SKEW_POLL_S = 5.0
_CONCERNED = (_WORK_POLL_S, _BOOK_POLL_S, _MONITOR_POLL_S, _LOCK_POLL_S)
# Nothing that happens here changes a limit or a clock.
_EVERY_POLL = (*_CONCERNED, _LIMITER_POLL_S, _SKEW_POLL_S)
# How long such sleeps are made: while nothing happens; while orders rest at a broker, that tells of changes or
# does not; while the fate of one is open; and while something is broken.
_PATIENCE_S = 1800.0
_PATIENCE_AT_REST_S = 400.0
_PATIENCE_UNTOLD_S = 200.0
_PATIENCE_IN_DOUBT_S = 30.0
_PATIENCE_IN_TROUBLE_S = 30.0
_TERMS = {"NFO": InstrumentTerms(lot_size=65, freeze_quantity=1800)}
_WRITES = {
    "accept", "request_cancel", "set_paused", "claim_orders", "save_split", "fail_split", "recover_splits",
    "claim_executions", "book", "halt", "resume",
}  # fmt: skip
# For so long an outage may be one of answers only: what was under way when the connections broke.
_LOST_S = 5.0
# An outage of so long cuts the sessions of those that it hits; one for everybody is a restart of the store.
_CUT_S = 15.0
# Steps after which others have something to do that nobody may tell them of.
_STIRRING = {"accept", "save_split", "resume", "request_cancel", "set_paused"}


class HaltAnswer(Struct, frozen=True, kw_only=True):
    """A halt as a client was told of it; `in_flight` are tags."""

    told_at: float
    in_flight: frozenset[str]


class Frozen(Struct, kw_only=True):
    process: str
    began: float
    ended: float


class Parts(Struct, frozen=True, kw_only=True):
    """What a world is made of; tests replace a part by one that is broken on purpose."""

    store: Callable[[Clock], InMemoryOrderStore] = InMemoryOrderStore
    worker: Callable[[BackgroundPorts, Settings], Background] = Background
    broker: Callable[[InMemoryOrderStore, SimulatedBroker], Broker] = lambda store, line: line


class Slot:
    """A place that one process at a time runs in."""

    def __init__(self, name: str, skew_s: float) -> None:
        self.name = name
        self.skew_s = skew_s
        self.process: Process | None = None
        self.number = 0
        self.background: Background | None = None
        # Of a worker too: what it accepts it sends itself, where it may.
        self.api: Api | None = None
        # Each with how many requests it waits for still.
        self.blows: list[list[Any]] = []

    def is_threatened(self, now: float) -> bool:
        """Whether a blow may fall at any request now."""
        return any(waiting[0].at <= now for waiting in self.blows)


class Api(Struct, frozen=True):
    """The use cases as the order API calls them."""

    accept: AcceptOrder
    cancel: RequestCancel
    halt: HaltTrading
    resume: ResumeTrading
    pause: PauseOrder
    resolve: ResolveExecution


class World:
    """Plays one scenario.

    trace: what happened, in order. coverage: how often something that has to be met was met.
    """

    def __init__(self, scenario: Scenario, parts: Parts | None = None) -> None:
        self.scenario = scenario
        self.parts = parts or Parts()
        self.loop = simulated_loop(Random(scenario.seed * 7 + 1))
        self.rng = Random(scenario.seed * 7 + 2)
        self.clock = WorldClock(self.loop, DAY)
        self.store = self.parts.store(self.clock)
        self._processes: list[Process] = []
        self.trace: list[tuple[Any, ...]] = []
        self.coverage: Counter[str] = Counter()
        self.acknowledged: dict[str, Acknowledged] = {}
        self._posting = 0
        self._close_at = scenario.close_s
        self.cancelled: dict[str, datetime] = {}
        self.halt_answers: list[HaltAnswer] = []
        self.halts: list[tuple[float, bool]] = []
        self.freezes: list[Frozen] = []
        self.broken: list[str] = []
        self.done_at: float | None = None
        self._ids = SequentialIds()
        self._active_until = 0.0
        self._healed = False
        self._resolving = False
        self._leader: Process | None = None
        self._lead_seen = 0.0
        self._present: set[str] = set()
        self._store_faults = [f for f in scenario.faults if isinstance(f, StoreFault)]
        self._troubles = [
            (f.at, f.at + f.lasting_s) for f in scenario.faults if isinstance(f, StoreFault | BrokerFault)
        ]
        self._queue_faults = [f for f in scenario.faults if isinstance(f, QueueFault)]
        self.exchange = Exchange(
            self.loop,
            self.clock,
            scenario.seed,
            Troubles(tuple(f for f in scenario.faults if isinstance(f, BrokerFault)), self.loop),
            self._known_for_long,
            pushes=scenario.pushes,
        )
        self._known: list[tuple[float, set[str]]] = []
        rules = LaneRules(limits=PaceLimits(per_second=8, per_minute=200, per_day=3000))
        self._rules = rules
        self._gate = InProcessGate(rules, self.clock)
        skews = iter(scenario.skews_s or (0.0,) * (scenario.workers + scenario.apis))
        self.slots = {
            f"{kind}-{number}": Slot(f"{kind}-{number}", next(skews, 0.0))
            for kind, count in ((WORKER, scenario.workers), (API, scenario.apis))
            for number in range(count)
        }
        self.settings = Settings(
            database_url="",
            tag_prefix=TAG_PREFIX,
            slice_executor_poll_interval_seconds=scenario.poll_s,
            order_splitter_poll_interval_seconds=_WORK_POLL_S,
            broker_sync_interval_seconds=_BOOK_POLL_S,
            timeout_monitor_interval_seconds=_MONITOR_POLL_S,
            on_window_end=scenario.on_window_end,
        )
        self._asleep: list[tuple[asyncio.Future[None], Process, float]] = []
        self._tasks: list[asyncio.Task[Any]] = []

    # --- the life of the world

    def play(self) -> None:
        """Play the day to its end: all orders are done, or the time to settle them is over."""
        loop = self.loop
        for slot in self.slots.values():
            loop.at(0.0, self._start, slot)
        for post in self.scenario.posts:
            loop.at(post.at, self._spawn, self._post, post)
        for cancel in self.scenario.cancels:
            loop.at(cancel.at, self._spawn, self._cancel, cancel)
        for halt in self.scenario.halts:
            loop.at(halt.at, self._spawn, self._halt, halt)
        for pause in self.scenario.pauses:
            loop.at(pause.at, self._spawn, self._pause, pause)
        for fault in self.scenario.faults:
            if isinstance(fault, Blow):
                self.slots[fault.slot].blows.append([fault, fault.nth])
                if not fault.on:
                    loop.at(fault.at, self._blow_now, fault)
            elif isinstance(fault, Foreign):
                loop.at(fault.at, self._foreign, fault)
            elif isinstance(fault, LeadLost):
                loop.at(fault.at, self._lose_lead)
            elif isinstance(fault, BrokerFault | StoreFault):
                loop.at(fault.at + fault.lasting_s, self.stir)
            if isinstance(fault, StoreFault) and not fault.steps and fault.lasting_s >= _CUT_S:
                if fault.slot:
                    loop.at(fault.at + _CUT_S, self._cut, self.slots[fault.slot])
                else:
                    loop.at(fault.at + _CUT_S, self._restart_store)
        loop.at(self.scenario.close_s, self._close)
        loop.run(self.scenario.close_s + SETTLED_S + 4 * 7200.0)
        self._end()

    def _close(self) -> None:
        """The exchange closes, and everything that was broken is whole again."""
        if self._posting or self.loop.time() < self._close_at:
            # Some orders were refused; the day goes on until they had their time.
            self._spawn(self._resume_for_good)
            self.loop.after(_CLOSE_LATER_S, self._close)
            return
        self.exchange.close()
        self.exchange.troubles = Troubles((), self.loop)
        self._healed = True
        for slot in self.slots.values():
            slot.blows.clear()
            if slot.process is None or not slot.process.alive:
                self._start(slot)
            elif not slot.process.runs:
                self._wake(slot.process)
        self._spawn(self._resume_for_good)
        self.loop.after(_LOOK_S, self._look, self.loop.time() + SETTLED_S)

    def _look(self, until: float) -> None:
        if self.is_settled():
            in_doubt = [e for e in self._in_phases(Phase.GIVEN_UP) if e.terminal is TerminalReason.UNRESOLVED]
            if in_doubt and not self._resolving:
                self._resolving = True
                for execution in in_doubt:
                    self._spawn(self._resolve, execution)
            else:
                self.done_at = self.loop.time()
        if self.done_at is not None or self.loop.time() >= until:
            self.loop.stop()
            return
        self.loop.after(_LOOK_S, self._look, until)

    def is_settled(self) -> bool:
        """All orders are done, and what the broker said last is booked."""
        views = self.loop.play(self.store.list_orders(None, limit=10_000))
        if not all(view.summary.done for view in views) or any(not task.done() for task in self._tasks):
            return False
        filled = {
            e.tag: e.filled_quantity
            for view in views
            for s in self.loop.play(self.store.slices(view.order.order_id))
            for e in s.executions
        }
        return all(filled.get(row.ticket.tag) == row.filled for row in self.exchange.rows.values() if row.tags)

    def _end(self) -> None:
        """Let every task end, in whatever process, so that nothing of this world is left."""
        loop = self.loop
        loop._ready.clear()
        loop._timers.clear()
        for slot in self.slots.values():
            slot.blows.clear()
        for process in self._processes:
            process.end()
        for _ in range(5):
            for task in [task for task in loop.tasks if not task.done()]:
                task.cancel()
            loop.run(loop.time() + 1e7, steps_max=200_000)
        left = [task.get_name() for task in loop.tasks if not task.done()]
        assert not left, f"tasks that do not end: {left}"
        loop.tasks.clear()

    # --- processes

    def _start(self, slot: Slot) -> None:
        if slot.process is not None and slot.process.alive:
            return
        slot.number += 1
        name = f"{slot.name}.{slot.number}"
        process = Process(self.loop, name, DAY, Random(f"{self.scenario.seed}:{name}"), skew_s=slot.skew_s)
        process.clock.oversleep = lambda seconds: self._oversleep(slot, seconds)
        process.clock.on_oversleep = lambda *sleep: self._asleep.append(sleep)
        slot.process = process
        self._processes.append(process)
        self._note("start", name)
        if slot.name.startswith(WORKER):
            process.context.run(self._start_worker, slot, process)
        else:
            process.context.run(self._start_api, slot, process)

    def _start_worker(self, slot: Slot, process: Process) -> None:
        store, clock = StoreProxy(self, slot, process), process.clock
        line = SimulatedBroker(
            self.exchange, process, clock, lambda what, stage: self.struck(slot, process, what, stage)
        )
        limiter: Any = Unlimited()
        if self.scenario.limited:
            limiter = GatedLimiter(
                GateProxy(self, process), clock, self._rules, CountCalls(store, clock), name=process.name
            )
        ports = BackgroundPorts(
            store=store,
            broker=self.parts.broker(self.store, line),
            clock=clock,
            leadership=Lead(self, process),
            presence=Present(self, process),
            executor_id=process.name,
            is_open=line.is_open,
            limiter=limiter,
        )
        background = slot.background = self.parts.worker(ports, self.settings)
        self._start_api(slot, process, background.accept_at_once)
        main = process.begin(slot.background.run(asyncio.Event()), "main")
        main.add_done_callback(lambda task: self._ended(slot, process, task), context=self.loop.world)

    def _ended(self, slot: Slot, process: Process, task: "asyncio.Task[None]") -> None:
        if process.over or not process.alive:
            return
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.broken.append(f"{process.name} ended by {error!r}")
        self._kill(process)
        self.loop.after(5.0, self._start, slot)

    def _start_api(self, slot: Slot, process: Process, send_at_once: SendAtOnce | None = None) -> None:
        store, clock = StoreProxy(self, slot, process), process.clock
        queue = Queue(self, process)
        slot.api = Api(
            AcceptOrder(store, Master(), queue, clock, self._ids, PaceLimits(), send_at_once=send_at_once),
            RequestCancel(store, queue),
            HaltTrading(store, clock),
            ResumeTrading(store),
            PauseOrder(store, queue),
            ResolveExecution(store, queue),
        )

    # --- blows

    def struck(self, slot: Slot, process: Process, what: str, stage: Stage) -> bool:
        """Let a blow fall that waits for this point; whether one has."""
        if not slot.blows or process is not slot.process or not process.runs:
            return False
        now = self.loop.time()
        for waiting in slot.blows:
            blow: Blow = waiting[0]
            if blow.on == what and blow.stage is stage and now >= blow.at:
                waiting[1] -= 1
                if waiting[1] <= 0:
                    slot.blows.remove(waiting)
                    self._strike(slot, process, blow)
                    return True
        return False

    def _blow_now(self, blow: Blow) -> None:
        slot = self.slots[blow.slot]
        slot.blows = [waiting for waiting in slot.blows if waiting[0] is not blow]
        if not self._healed and slot.process is not None and slot.process.runs:
            self._strike(slot, slot.process, blow)

    def _strike(self, slot: Slot, process: Process, blow: Blow) -> None:
        self.stir()
        if blow.kind is BlowKind.KILL:
            self._kill(process)
            self.loop.after(blow.lasting_s, self._start, slot)
        elif slot.name.startswith(API) or process.name in self._present:
            self._note("freeze", process.name)
            process.freeze()
            self.freezes.append(Frozen(process=process.name, began=self.loop.time(), ended=-1.0))
            self.loop.after(blow.lasting_s, self._wake, process)

    def _kill(self, process: Process) -> None:
        self._note("kill", process.name)
        if self._holds_claims(process):
            self.coverage["kill between claim and outcome"] += 1
        process.kill()
        if self._leader is process:
            self._leader = None
        self._absent(process)

    def _absent(self, process: Process) -> None:
        """The session in which the process held its lock has ended."""
        if process.name in self._present:
            self._present.remove(process.name)
            self.store.set_present(process.name, False)

    def _cut(self, slot: Slot) -> None:
        """The sessions of a process are cut, which goes on and does not know."""
        process = slot.process
        if process is None or not process.runs or self._healed or process.hanging:
            # One that is frozen answers for its connections still. One whose call is in the air must not pass
            # for dead: what would happen then is not promised.
            return
        self._note("sessions cut", process.name)
        self.coverage["live process cut off"] += 1
        self._absent(process)
        if self._leader is process:
            self._leader = None
        self.stir()

    def _restart_store(self) -> None:
        """Another life of the store: all sessions are gone, and nobody knows who had them."""
        self._note("store restarted")
        self._present.clear()
        self._leader = None
        self.stir()
        self.store.forget_executors()

    def _wake(self, process: Process) -> None:
        if not process.alive or process.runs:
            return
        self._note("wake", process.name)
        self.stir()
        for frozen in self.freezes:
            if frozen.process == process.name and frozen.ended < 0:
                frozen.ended = self.loop.time()
        self.coverage["woken SIGSTOP"] += 1
        process.wake()

    def _holds_claims(self, process: Process) -> bool:
        return any(e.executor == process.name for e in self._in_phases(Phase.CLAIMED))

    def _in_phases(self, *phases: Phase) -> Iterator[Execution]:
        return self.store._index.in_phases(phases)

    def is_cut_off(self, process: Process) -> bool:
        """Whether the process reaches no session of its own at the store."""
        slot = self.slots[process.name.partition(".")[0]]
        return not self._healed and self._store_fate(slot, "hold", process.rng) is not None

    def take_presence(self, process: Process) -> None:
        self._present.add(process.name)
        self.store.set_present(process.name, True)

    def take_lead(self, process: Process) -> bool:
        if self._leader is not None and self.loop.time() - self._lead_seen > _LEADER_SILENT_S:
            self._lose_lead()
        if self._leader is None:
            self._leader = process
            self._note("lead", process.name)
        if self._leader is process:
            self._lead_seen = self.loop.time()
        return self._leader is process

    def give_lead_up(self, process: Process) -> None:
        if self._leader is process:
            self._leader = None

    def _lose_lead(self) -> None:
        self._note("lead lost", self._leader.name if self._leader else "")
        self._leader = None
        self.stir()

    # --- steps of the store

    async def step(
        self, slot: Slot, process: Process, name: str, method: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """One step of the store, called by a process."""
        if process.over:
            raise Gone
        what = f"store.{name}"
        if slot.blows and self.struck(slot, process, what, Stage.ASKED):
            await process.pause(0.0)
        rng, fate, empty = process.rng, None, False
        if self._store_faults and not self._healed:
            fate = self._store_fate(slot, name, rng)
        if fate is None and name not in _WRITES and not slot.is_threatened(self.loop.time()):
            # Nobody is to fall or stand still on the way: then a look at the store is all there is to see.
            await process.pause(0.0004 + rng.random() * 0.008)
            return await method(*args, **kwargs)

        def effect() -> Any:
            if name in _WRITES:
                self.trace.append((self.loop.time(), process.name, what))
                if name in ("halt", "resume"):
                    self._halted(name == "halt")
                if name in _STIRRING:
                    self.stir((_WORK_POLL_S,))
            nonlocal empty
            result = self.loop.play(method(*args, **kwargs))
            if name == "book" and any(b.execution and b.execution.phase is Phase.UNKNOWN for b in result):
                self.stir((_BOOK_POLL_S, _MONITOR_POLL_S))
            # A blow that waits for a claim waits for one that was given.
            empty = name in ("claim_executions", "claim_orders") and not result
            return result

        def arrived() -> None:
            if slot.blows and not empty:
                self.struck(slot, process, what, Stage.ARRIVED)

        if fate is None:
            return await request(
                process,
                effect,
                there_s=0.0002 + rng.random() * 0.004,
                # What changes nothing may as well take its time on the way there.
                back_s=0.0002 + rng.random() * 0.004 if name in _WRITES else 0.0,
                on_arrival=arrived if slot.blows else None,
            )
        if fate:
            answer = request(process, effect, there_s=0.002, back_s=1e9, on_arrival=arrived)
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            if name in _WRITES:
                self.coverage["commit unknown"] += 1
        await process.pause(rng.choice((0.003, 0.05, 3.0)))
        raise StorageUnavailable("the connection was lost")

    def _store_fate(self, slot: Slot, name: str, rng: Random) -> bool | None:
        """Whether the step takes place and its answer is lost (True), or neither (False); None: all is well."""
        now = self.loop.time()
        for fault in self._store_faults:
            if (
                fault.at <= now < fault.at + fault.lasting_s
                and fault.slot in ("", slot.name)
                and (not fault.steps or name in fault.steps)
            ):
                return now < fault.at + _LOST_S and rng.random() < fault.lost
        return None

    def store_fails_at(self, when: float) -> bool:
        return any(fault.at - 1.0 <= when < fault.at + fault.lasting_s for fault in self._store_faults)

    def _halted(self, halted: bool) -> None:
        self.halts.append((self.loop.time(), halted))
        if halted and any(self._in_phases(Phase.CLAIMED)):
            self.coverage["halt during send"] += 1

    def _known_for_long(self) -> set[str]:
        """Broker order ids that have been in the store for a while: whoever reads now knows them."""
        now = self.loop.time()
        self._known.append((now, self.loop.play(self.store.broker_order_ids(DAY - timedelta(days=1)))))
        old = [known for at, known in self._known if at <= now - 60.0]
        return old[-1] if old else set()

    # --- clients

    def _spawn(self, what: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self._tasks.append(self.loop.create_task(what(*args), context=Context()))

    async def _ask(
        self, call: Callable[[Api], Coroutine[Any, Any, T]], timeout_s: float = 5.0, kind: str = API
    ) -> T | None:
        """Ask one of the order APIs; None where no answer comes. Raises what the API refuses with."""
        count = self.scenario.apis if kind == API else self.scenario.workers
        slot = self.slots[f"{kind}-{self.rng.randrange(count)}"]
        process = slot.process
        if process is None or not process.alive:
            await asyncio.sleep(0.05)
            return None
        answer: asyncio.Future[T] = self.loop.create_future()
        lost = not self._healed and self.rng.random() < 0.08

        def answered(task: "asyncio.Task[T]") -> None:
            if process.alive and not lost:
                self.loop.after(0.002, _pass_on, task, answer)
            elif not task.cancelled():
                task.exception()

        def handle() -> None:
            if process.alive and slot.api is not None and not process.over:
                task = process.begin(call(slot.api), "request")
                task.add_done_callback(answered, context=process.context)

        self.loop.call_later(0.002, handle, context=process.context)
        expiry = self.loop.after(timeout_s, lambda: answer.done() or answer.cancel())
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() or self._is_over():
                raise
            return None
        except StorageUnavailable:
            return None
        finally:
            expiry.cancel()

    def _is_over(self) -> bool:
        return any(process.over for process in self._processes)

    async def _post(self, post: Post) -> None:
        """Order until it is taken: what a halt refuses comes again as a new order, once trading may go on."""
        self._posting += 1
        try:
            name = post.name
            while not await self._is_taken(post, name):
                await asyncio.sleep(_REFUSED_S)
                post = replace(post, name=f"{post.name}+", starts_in_s=None, minutes=min(post.minutes, 2))
            ends = self.loop.time() + (post.starts_in_s or 0.0) + post.minutes * 60.0
            self._close_at = max(self._close_at, ends + 120.0)
        finally:
            self._posting -= 1

    async def _is_taken(self, post: Post, name: str) -> bool:
        """Whether the order was accepted, or nobody knows; false where it was refused."""
        command = self._command(post)
        for pause_s in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 40.0, 40.0):
            try:
                accepted: Accepted | None = await self._ask(
                    lambda api: api.accept(command), kind=WORKER if post.at_once else API
                )
            except DomainError as refusal:
                self._note("refused", post.name, refusal.code)
                return False
            if accepted is not None:
                self._note("accepted", post.name, accepted.order_id)
                self.acknowledged[name] = Acknowledged(
                    client_id=CLIENT, order_unique_key=post.name, order_id=accepted.order_id
                )
                return True
            await asyncio.sleep(pause_s)
        return False

    def _command(self, post: Post) -> AcceptCommand:
        start_at = None
        if post.starts_in_s is not None:
            # Orders of one bunch begin at the same instant.
            start_at = DAY + timedelta(seconds=int(post.at) + post.starts_in_s)
        instrument = Instrument.parse(post.instrument)
        return AcceptCommand(
            client_id=CLIENT,
            order_unique_key=post.name,
            source=Source.API,
            request=OrderRequest(
                instrument=instrument,
                side=Side(post.side),
                total_quantity=post.quantity,
                split_config=None
                if post.at_once
                else SplitConfig(
                    num_splits=post.splits, duration_minutes=post.minutes, randomize=post.randomize
                ),
                start_at=start_at,
                order_type=OrderType(post.order_type),
                limit_price=Decimal(100) if post.order_type == "LIMIT" else None,
            ),
        )

    async def _cancel(self, cancel: Cancel) -> None:
        for pause_s in (1.0, 2.0, 5.0, 10.0, 30.0):
            known = self.acknowledged.get(cancel.name)
            if known is not None:
                order_id = OrderId(known.order_id)
                try:
                    view = await self._ask(partial(_cancel_order, order_id))
                except PulseError as refusal:
                    self._note("not cancelled", cancel.name, refusal.code)
                    return
                if view is not None:
                    self._note("cancelled", cancel.name, order_id)
                    self.cancelled[order_id] = self.clock.now()
                    return
            await asyncio.sleep(pause_s)

    async def _halt(self, halt: Halt) -> None:
        for pause_s in (1.0, 2.0, 5.0, 10.0):
            report: HaltReport | None = await self._ask(lambda api: api.halt("desk-1", "drill"), 8.0)
            if report is not None:
                tags = frozenset(execution.tag for execution in report.in_flight)
                self._note("halted", len(tags))
                self.halt_answers.append(HaltAnswer(told_at=self.loop.time(), in_flight=tags))
                break
            await asyncio.sleep(pause_s)
        await asyncio.sleep(halt.lasting_s)
        await self._resume_for_good()

    async def _pause(self, pause: Pause) -> None:
        known = self.acknowledged.get(pause.name)
        if known is None:
            return
        order_id = OrderId(known.order_id)
        try:
            if await self._ask(lambda api: api.pause.pause(order_id, "operator")) is not None:
                self._note("paused", pause.name)
        except PulseError as refusal:
            self._note("not paused", pause.name, refusal.code)
        await asyncio.sleep(pause.lasting_s)
        await self._insist(lambda api: api.pause.resume(order_id, "operator"))
        self._note("goes on", pause.name)

    async def _resolve(self, execution: Execution) -> None:
        """An operator looks the execution up at the broker, and says what is there."""
        row = next((row for row in self.exchange.rows.values() if execution.tag in row.tags), None)
        word = Word(broker_order_id=row.broker_order_id if row else None, resolved_by="operator")
        try:
            await self._insist(lambda api: api.resolve(execution.execution_id, word))
        except PulseError as refusal:
            self._note("not resolved", execution.tag, refusal.code)
        else:
            self._note("resolved", execution.tag, word.broker_order_id)
            self.coverage["resolved by a person"] += 1

    async def _resume_for_good(self) -> None:
        await self._insist(lambda api: api.resume("desk-1", "drill"))
        self._note("resumed")

    async def _insist(self, call: Callable[[Api], Coroutine[Any, Any, T]]) -> T:
        """Ask until there is an answer."""
        while True:
            answer = await self._ask(call)
            if answer is not None:
                return answer
            await asyncio.sleep(_INSIST_S)

    def _foreign(self, foreign: Foreign) -> None:
        """Somebody else's order that looks like one of ours whose fate is not known, where there is one."""
        for record in self.store._records.values():
            for e in (e for slice_ in record.slices.values() for e in slice_.executions):
                if record.order.order_unique_key == foreign.name or e.phase is Phase.UNKNOWN:
                    self._note("foreign", e.tag)
                    self.exchange.foreign(
                        OrderTicket(
                            tag="",
                            instrument=record.order.request.instrument,
                            side=record.order.request.side,
                            quantity=e.quantity,
                            order_type=OrderType.LIMIT,
                            product=record.order.request.product or Product.CNC,
                            validity=Validity.DAY,
                            limit_price=Decimal(100),
                            trigger_price=None,
                            terms=record.order.terms,
                        )
                    )
                    return

    # --- hints

    def hint(self, job: Job) -> None:
        """Hand a hint to one of the workers, or lose it, or hand it over late or twice."""
        now, rng = self.loop.time(), self.rng
        share = max([f.share for f in self._queue_faults if f.at <= now < f.at + f.lasting_s], default=0.02)
        if rng.random() < share:
            return
        for _ in range(2 if rng.random() < 0.05 else 1):
            slot = self.slots[f"{WORKER}-{rng.randrange(self.scenario.workers)}"]
            late_s = rng.uniform(0.001, 0.02) if rng.random() < 0.9 else rng.uniform(1.0, 300.0)
            self.loop.after(late_s, self._deliver, slot, job)

    def _deliver(self, slot: Slot, job: Job) -> None:
        if slot.process is not None and slot.process.alive and slot.background is not None:
            self.loop.call_later(0.0, slot.background.wake, job.kind, context=slot.process.context)

    # --- time

    def stir(self, polls: tuple[float, ...] = _CONCERNED) -> None:
        """Something has happened: who overslept so far polls as if he had polled all along.

        polls: of the loops that it is of interest to, executors apart: they always look.
        """
        now, rng = self.loop.time(), self.rng
        self._active_until = now + 0.5
        asleep, self._asleep = self._asleep, []
        for sleep in asleep:
            waits, process, seconds = sleep
            if waits.done():
                continue
            if seconds in polls or seconds == self.scenario.poll_s:
                self.loop.call_at(now + rng.random() * seconds, settle, waits, context=process.context)
            else:
                self._asleep.append(sleep)

    def _oversleep(self, slot: Slot, seconds: float) -> float:
        """Prolong a sleep while nothing happens and nothing is planned: to poll then tells nobody anything."""
        now = self.loop.time()
        if self._store_faults and seconds > 0.3 and not self._healed:
            for fault in self._store_faults:
                if fault.at + _LOST_S < now < fault.at + fault.lasting_s and fault.slot in ("", slot.name):
                    # In a long outage to try again and again tells as little.
                    return max(seconds, min(_PATIENCE_IN_DOUBT_S, fault.at + fault.lasting_s - now))
        if not (seconds in _EVERY_POLL or seconds == self.scenario.poll_s):
            return seconds
        if now < self._active_until and seconds not in (_LIMITER_POLL_S, _SKEW_POLL_S):
            return seconds
        return max(seconds, self._patience(seconds, now))

    def _patience(self, seconds: float, now: float) -> float:
        if seconds in (_LIMITER_POLL_S, _SKEW_POLL_S):
            return _PATIENCE_S
        if seconds == _LOCK_POLL_S:
            # The pause before something is tried again is as long.
            return _PATIENCE_IN_TROUBLE_S if self._in_trouble(now) else _PATIENCE_S
        if self._in_doubt():
            lasting = _PATIENCE_IN_DOUBT_S
        elif seconds == _BOOK_POLL_S and any(self._in_phases(Phase.LIVE)):
            lasting = _PATIENCE_AT_REST_S if self.scenario.pushes else _PATIENCE_UNTOLD_S
        elif seconds == _WORK_POLL_S and any(e.cancel_requested for e in self._in_phases(Phase.LIVE)):
            lasting = _PATIENCE_IN_DOUBT_S
        else:
            lasting = _PATIENCE_S
        if seconds == self.scenario.poll_s:
            # An executor's: it is never late by this.
            due_in = self.loop.play(self.store.next_due())
            return lasting if due_in is None else min(lasting, due_in)
        return lasting

    def _in_trouble(self, now: float) -> bool:
        return any(begins <= now < ends for begins, ends in self._troubles)

    def _in_doubt(self) -> bool:
        """Whether an execution waits for somebody to look after it."""
        running = {slot.process.name for slot in self.slots.values() if slot.process and slot.process.runs}
        return any(self._in_phases(Phase.UNKNOWN)) or any(
            e.executor not in running for e in self._in_phases(Phase.CLAIMED)
        )

    def _note(self, *what: Any) -> None:
        self.trace.append((self.loop.time(), *what))

    # --- what is left behind

    def digest(self) -> str:
        """One number for everything that happened; the same seed gives the same."""
        digest = hashlib.sha256()
        for line in self.trace:
            digest.update(repr(line).encode())
        encode = msgspec.json.Encoder().encode
        for record in self.store._records.values():
            digest.update(encode(record.journal))
            digest.update(encode(record.order))
        for row in self.exchange.rows.values():
            digest.update(encode(self.exchange.view(row)))
        digest.update(f"{self.loop.steps} {sorted(self.coverage.items())}".encode())
        return digest.hexdigest()


class StoreProxy:
    """The store as one process reaches it: any of its steps, each of them a request."""

    def __init__(self, world: World, slot: Slot, process: Process) -> None:
        self._world = world
        self._slot = slot
        self._process = process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world.store, name)
        world, slot, process = self._world, self._slot, self._process

        def step(*args: Any, **kwargs: Any) -> Any:
            return world.step(slot, process, name, method, args, kwargs)

        self.__dict__[name] = step
        return step


class GateProxy:
    """The shared counts of the limiter, reached over the network; they always answer."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world._gate, name)
        loop, process = self._world.loop, self._process

        async def ask(*args: Any) -> Any:
            if process.over:
                raise Gone
            return await request(process, lambda: loop.play(method(*args)), there_s=0.0003, back_s=0.0003)

        self.__dict__[name] = ask
        return ask


class Lead:
    """Implements `Leadership` by a lock that goes with its process when that is killed."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    async def hold(self) -> bool:
        await self._process.pause(0.001)
        if self._world.is_cut_off(self._process):
            await self.release()
            return False
        return self._world.take_lead(self._process)

    async def release(self) -> None:
        self._world.give_lead_up(self._process)


class Present:
    """The presence of a worker under its own name: gone when it is killed, there while it is frozen."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    async def hold(self) -> bool:
        await self._process.pause(0.001)
        if self._world.is_cut_off(self._process):
            return False
        self._world.take_presence(self._process)
        return True

    async def release(self) -> None:
        pass


class Queue:
    """Implements the `WorkQueue` port."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def enqueue(self, job: Job) -> None:
        self._world.hint(job)

    async def close(self) -> None:
        pass


class Master:
    """Implements the `InstrumentMaster` port."""

    async def terms(self, instrument: Instrument) -> InstrumentTerms:
        return _TERMS.get(instrument.exchange, InstrumentTerms())


def _cancel_order(order_id: OrderId, api: Api) -> Coroutine[Any, Any, OrderView]:
    return api.cancel(order_id, CLIENT, "desk-1")


def _pass_on(task: "asyncio.Task[T]", answer: "asyncio.Future[T]") -> None:
    error = None if task.cancelled() else task.exception()
    if answer.done() or task.cancelled():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(task.result())
