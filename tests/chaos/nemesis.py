"""What goes wrong in a run: actions drawn from the seed, on three lanes that know nothing of one another.

`processes` kills and freezes, `lines` takes servers and connections away, `words` falsifies what the broker
says and halts trading. The plan is the seed's; what it meets when it strikes is the run's own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any

import asyncpg
from msgspec import Struct

from pulse_adapters.postgres.pool import UNAVAILABLE
from tests.chaos.clients import Clients
from tests.chaos.deployment import SETTINGS, Deployment, Member
from tests.chaos.load import CROSSED, CROSSING_PRICE, HELD_PRICE, RESTING
from tests.chaos.wire import Loss

_CALL_S = float(SETTINGS["BROKER_CALL_TIMEOUT_SECONDS"])
_LEASE_S = float(SETTINGS["SLICE_EXECUTION_TIMEOUT_MINUTES"]) * 60
_SETTLE_S = float(SETTINGS["UNKNOWN_SETTLE_SECONDS"])
# Lease and settle time, two reads of the book, and a moment.
_TAKEN_OVER_S = _LEASE_S + _SETTLE_S + 9.0
_AIM_S, _PATIENT_AIM_S = 4.0, 12.0
_AIM_EVERY_S = 0.02


class Counters(Struct):
    """What the nemesis did and hit; the rest of the coverage is read off the journals."""

    kills: int = 0
    kills_between_claim_and_outcome: int = 0
    woken_freezes: int = 0
    freezes_between_claim_and_outcome: int = 0
    postgres_restarts: int = 0
    redis_restarts: int = 0
    redis_flushes: int = 0
    connections_cut: int = 0
    broker_faults_struck: int = 0
    halts: int = 0
    halts_with_calls_in_flight: int = 0


class Lane(Struct, frozen=True, kw_only=True):
    """How often each action comes, by its name, in an order that the seed draws."""

    name: str
    actions: dict[str, int]
    pause_s: tuple[float, float]

    def plan(self, rng: Random) -> list[str]:
        planned = [name for name, times in self.actions.items() for _ in range(times)]
        rng.shuffle(planned)
        return planned


# A pushed update would tell at once what an answer does not.
_UNTOLD: dict[str, Any] = {"kind": "lose_update", "times": 12, "probability": 0.9}

# What the broker does to calls for a while. A hidden order is seen within the settle time, as is promised.
_HANG = [_CALL_S + 0.5, _CALL_S + 2]
_WORDS: dict[str, list[dict[str, Any]]] = {
    "silence": [
        _UNTOLD,
        {"kind": "hang_after", "call": "place", "times": 3, "probability": 0.5, "seconds": _HANG},
        {"kind": "timeout_before", "call": "place", "times": 3, "probability": 0.5, "seconds": _HANG},
    ],
    "dropped": [
        _UNTOLD,
        {"kind": "drop_after", "call": "place", "times": 4, "probability": 0.5},
        {"kind": "drop_before", "call": "place", "times": 3, "probability": 0.5},
    ],
    "pages": [
        _UNTOLD,
        {"kind": "html_504_after", "call": "place", "times": 3, "probability": 0.5},
        {"kind": "html_504_before", "call": "place", "times": 3, "probability": 0.5},
        {"kind": "html_504_before", "call": "book", "times": 2, "probability": 0.5},
    ],
    "false_noes": [
        _UNTOLD,
        {"kind": "timed_out_400", "call": "place", "times": 4, "probability": 0.6},
        {"kind": "too_many", "call": "place", "times": 2, "probability": 0.5},
        {"kind": "reject_later", "call": "place", "times": 1, "probability": 0.3},
    ],
    "late_books": [
        _UNTOLD,
        {"kind": "hide", "call": "place", "times": 6, "seconds": [0.2, _SETTLE_S * 0.6]},
        {"kind": "drop_after", "call": "place", "times": 3, "probability": 0.6},
        {"kind": "truncate", "times": 4, "rows": 3, "probability": 0.6},
    ],
    # For longer than a lease: whoever takes time for proof sends again what is there.
    "no_books": [
        _UNTOLD,
        {"kind": "html_504_before", "call": "book", "times": 30},
        {"kind": "drop_after", "call": "place", "times": 2},
    ],
    "pushes": [
        {"kind": "lose_update", "times": 15, "probability": 0.5},
        {"kind": "double_update", "times": 15, "probability": 0.5},
        {"kind": "delay_update", "times": 15, "probability": 0.5},
    ],
    "cancels": [
        {"kind": "drop_after", "call": "cancel", "times": 3, "probability": 0.6},
        {"kind": "drop_before", "call": "cancel", "times": 3, "probability": 0.6},
        {"kind": "stall", "call": "place", "times": 3, "seconds": [0.5, 2]},
    ],
}


class Nemesis:
    def __init__(self, deployment: Deployment, clients: Clients, rng: Random) -> None:
        self._deployment = deployment
        self._clients = clients
        self._rng = rng
        self._words = list(_WORDS)
        rng.shuffle(self._words)
        self._timeline = deployment.timeline
        self._ledger: asyncpg.Connection | None = None
        self._looking = asyncio.Lock()
        self._thaws: list[asyncio.Task[None]] = []
        self._prices = {RESTING: HELD_PRICE, CROSSED: HELD_PRICE}
        self._struck = 0
        self.counters = Counters()
        self._actions: dict[str, Callable[[], Awaitable[None]]] = {
            "kill_in_flight": self._kill_in_flight,
            "kill_worker": lambda: self._kill_some(self._deployment.worker_names),
            "kill_leader": self._kill_leader,
            "kill_pulse_api": lambda: self._kill_some(["pulse_api"]),
            "kill_gapi": lambda: self._kill_some(["gapi"]),
            "kill_exchange": lambda: self._kill_some(["exchange"]),
            "freeze_in_flight": self._freeze_in_flight,
            "freeze_and_cut": self._freeze_and_cut,
            "freeze_worker": lambda: self._freeze(self._any_worker(), 1.0, _LEASE_S + 3),
            "freeze_leader": self._freeze_leader,
            "freeze_pulse_api": lambda: self._freeze(self._deployment.members["pulse_api"], 0.5, 4.0),
            "freeze_gapi": lambda: self._freeze(self._deployment.members["gapi"], 0.5, 3.0),
            "freeze_exchange": lambda: self._freeze(self._deployment.members["exchange"], 0.5, _CALL_S + 2),
            "postgres_fast": lambda: self._restart_postgres("fast"),
            "postgres_immediate": lambda: self._restart_postgres("immediate"),
            "redis_restart": self._restart_redis,
            "redis_flush": self._flush_redis,
            "cut": self._cut,
            "terminate": self._terminate,
            "lose_answers": lambda: self._lose(Loss.ANSWER),
            "lose_requests": lambda: self._lose(Loss.REQUEST),
            "words": self._falsify,
            "halt": self._halt,
        }
        clients.crossing = self._cross

    async def run(self, lanes: Iterable[Lane]) -> None:
        """Do what is planned, then heal everything."""
        plans = [(lane, lane.plan(self._rng), Random(self._rng.getrandbits(64))) for lane in lanes]
        holding = asyncio.create_task(self._hold_prices(), name="prices")
        try:
            await asyncio.gather(*(self._walk(*plan) for plan in plans))
        finally:
            await self.heal()
            holding.cancel()
            if self._ledger is not None:
                self._ledger.terminate()

    async def _count_strikes(self) -> None:
        standing = await self._deployment.control("GET", "/faults")
        if standing is None:
            return
        struck = sum(each["struck"] for each in standing)
        # An exchange that was killed has forgotten its faults.
        self.counters.broker_faults_struck += struck - self._struck if struck >= self._struck else struck
        self._struck = struck

    async def heal(self) -> None:
        """Take back what would not pass by itself."""
        await self._count_strikes()
        for thaw in self._thaws:
            thaw.cancel()
        await asyncio.gather(*self._thaws, return_exceptions=True)
        for member in self._deployment.members.values():
            self._woken(member)
            if member.wire is not None:
                member.wire.mend()
        await self._deployment.surely("DELETE", "/faults")
        self._timeline.note("nemesis", "heals everything")

    async def _walk(self, lane: Lane, planned: list[str], rng: Random) -> None:
        for name in planned:
            await asyncio.sleep(rng.uniform(*lane.pause_s))
            await self._actions[name]()

    # --- kills

    async def _kill_some(self, names: list[str]) -> None:
        members = [self._deployment.members[name] for name in names]
        await self._kill(self._rng.choice([m for m in members if m.pid is not None] or members))

    async def _kill_leader(self) -> None:
        leader = await self._deployment.leader()
        if leader is not None:
            self._timeline.note("nemesis", f"{leader.name} leads")
        await self._kill(leader or self._any_worker())

    async def _kill_in_flight(self) -> None:
        await self._aim()
        await self._kill(await self._claimer() or self._any_worker())

    async def _kill(self, member: Member) -> None:
        executor = member.executor
        if not await member.kill():
            return
        self.counters.kills += 1
        claimed = await self._claimed_by(executor) if executor is not None else []
        if claimed:
            self.counters.kills_between_claim_and_outcome += 1
        self._timeline.note("nemesis", f"kill -9 {member.name}, claims without outcome: {claimed}")

    # --- freezes

    async def _freeze_in_flight(self) -> None:
        await self._aim()
        member = await self._claimer()
        if member is None or member.executor is None:
            return
        await self._freeze(member, _LEASE_S + 1, _LEASE_S + 4)
        if await self._claimed_by(member.executor):
            self.counters.freezes_between_claim_and_outcome += 1

    async def _freeze_and_cut(self) -> None:
        """Freeze a worker that has claimed something, and let it look dead until others may have taken over."""
        member = await self._claimer(_PATIENT_AIM_S)
        if member is None or member.wire is None or not member.stop():
            return
        claimed = await self._claimed_by(member.executor) if member.executor else []
        cut = member.wire.cut()
        self.counters.connections_cut += cut
        self.counters.freezes_between_claim_and_outcome += bool(claimed)
        self._timeline.note(
            "nemesis", f"SIGSTOP {member.name}, {cut} connections cut, for {_TAKEN_OVER_S:g} s: {claimed}"
        )
        await asyncio.sleep(_TAKEN_OVER_S)
        self._woken(member)

    async def _freeze_leader(self) -> None:
        await self._freeze(await self._deployment.leader() or self._any_worker(), 2.0, 6.0)

    async def _freeze(self, member: Member, least_s: float, most_s: float) -> None:
        seconds = self._rng.uniform(least_s, most_s)
        if member.stop():
            self._timeline.note("nemesis", f"SIGSTOP {member.name} for {seconds:.1f} s")
            self._thaws.append(asyncio.create_task(self._thaw(member, seconds), name=f"thaw-{member.name}"))

    async def _thaw(self, member: Member, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._woken(member)

    def _woken(self, member: Member) -> None:
        if member.wake():
            self.counters.woken_freezes += 1
            self._timeline.note("nemesis", f"SIGCONT {member.name}")

    # --- aiming

    async def _aim(self) -> None:
        """Let the next placements hang, so that there is somebody between claim and outcome."""
        kind = self._rng.choice(["hang_after", "timeout_before", "timeout_before"])
        rule = {"kind": kind, "call": "place", "times": 2, "seconds": [_CALL_S + 1, _CALL_S + 2]}
        rules = [_UNTOLD, rule]
        if kind == "hang_after":
            # What is there is not to be seen before the lease is over.
            rules.append({"kind": "html_504_before", "call": "book", "times": 30})
        if await self._deployment.control("POST", "/faults", {"rules": rules}) is not None:
            self._timeline.note("exchange", f"{kind}, twice")

    async def _claimer(self, seconds: float = _AIM_S) -> Member | None:
        """A worker that has claimed something and does not know its outcome."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rows = await self._look("SELECT executor FROM order_ledger WHERE phase = 'CLAIMED'")
            running = [self._deployment.of_executor(row["executor"]) for row in rows]
            hit = [member for member in running if member is not None and member.is_running]
            if hit:
                return self._rng.choice(hit)
            await asyncio.sleep(_AIM_EVERY_S)
        return None

    async def _claimed_by(self, executor: str) -> list[str]:
        sql = (
            "SELECT order_id || '.' || seq || '.' || chunk AS id FROM order_ledger"
            " WHERE phase = 'CLAIMED' AND executor = $1"
        )
        return [row["id"] for row in await self._look(sql, executor)]

    async def _look(self, sql: str, *args: Any) -> list[Any]:
        async with self._looking:  # the lanes share one connection
            try:
                if self._ledger is None or self._ledger.is_closed():
                    self._ledger = await asyncpg.connect(self._deployment.dsn, timeout=2)
                rows: list[Any] = await self._ledger.fetch(sql, *args, timeout=2)
                return rows
            except UNAVAILABLE:
                if self._ledger is not None:
                    self._ledger.terminate()
                self._ledger = None
                return []

    def _any_worker(self) -> Member:
        workers = self._deployment.workers
        return self._rng.choice([worker for worker in workers if worker.is_running] or workers)

    # --- servers and lines

    async def _restart_postgres(self, mode: Any) -> None:
        pause_s = self._rng.uniform(0.0, 1.5)
        self._timeline.note("nemesis", f"Postgres stops ({mode}) for {pause_s:.1f} s")
        await asyncio.to_thread(self._deployment.postgres.halt, mode)
        await asyncio.sleep(pause_s)
        await asyncio.to_thread(self._deployment.postgres.resume)
        self.counters.postgres_restarts += 1
        self._timeline.note("nemesis", "Postgres is back")

    async def _restart_redis(self) -> None:
        pause_s = self._rng.uniform(0.0, 3.0)
        self._timeline.note("nemesis", f"Redis stops for {pause_s:.1f} s, and comes back empty")
        await asyncio.to_thread(self._deployment.redis.halt)
        await asyncio.sleep(pause_s)
        await asyncio.to_thread(self._deployment.redis.resume)
        self.counters.redis_restarts += 1

    async def _flush_redis(self) -> None:
        await self._deployment.flush_redis()
        self.counters.redis_flushes += 1
        self._timeline.note("nemesis", "Redis is flushed")

    async def _cut(self) -> None:
        member = self._wired()
        assert member.wire is not None
        count = member.wire.cut()
        self.counters.connections_cut += count
        self._timeline.note("nemesis", f"{count} connections of {member.name} to Postgres are cut")

    async def _terminate(self) -> None:
        member = self._wired()
        assert member.wire is not None
        rows = await self._look(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = ANY($1)",
            list(member.wire.outer_ports),
        )
        self.counters.connections_cut += len(rows)
        self._timeline.note("nemesis", f"{len(rows)} backends of {member.name} are terminated")

    async def _lose(self, loss: Loss) -> None:
        member, count = self._wired(), self._rng.randint(1, 3)
        assert member.wire is not None
        member.wire.lose(loss, count)
        self._timeline.note("nemesis", f"the next {count} commits of {member.name} lose their {loss.lower()}")

    def _wired(self) -> Member:
        wired = [m for m in self._deployment.members.values() if m.wire is not None]
        return self._rng.choice([m for m in wired if m.wire and m.wire.outer_ports] or wired)

    # --- the broker's words, and the market

    async def _falsify(self) -> None:
        name = self._words.pop(0)
        self._words.append(name)
        if await self._deployment.control("POST", "/faults", {"rules": _WORDS[name]}) is not None:
            self._timeline.note("exchange", f"{name}: {', '.join(rule['kind'] for rule in _WORDS[name])}")

    async def _halt(self) -> None:
        in_flight = await self._clients.halt(self._rng.uniform(1.0, 2.5))
        self.counters.halts += 1
        self.counters.halts_with_calls_in_flight += bool(in_flight)

    async def _hold_prices(self) -> None:
        while True:
            for instrument in list(self._prices):
                await self._pin(instrument)
            await self._count_strikes()
            await asyncio.sleep(0.5)

    async def _cross(self) -> None:
        """Let the market meet what rests there, while cancels do not get through."""
        rule = {"kind": "timeout_before", "call": "cancel", "times": 2, "seconds": [_CALL_S, _CALL_S + 1]}
        await self._deployment.control("POST", "/faults", {"rules": [rule]})
        self._thaws.append(asyncio.create_task(self._meet(), name="crossing"))

    async def _meet(self) -> None:
        await asyncio.sleep(1.0)
        self._prices[CROSSED] = CROSSING_PRICE
        await self._pin(CROSSED)
        self._timeline.note("exchange", f"{CROSSED} trades at {CROSSING_PRICE}")
        try:
            await asyncio.sleep(2.0)
        finally:
            self._prices[CROSSED] = HELD_PRICE

    async def _pin(self, instrument: str) -> None:
        price = self._prices[instrument]
        held = {"instrument": instrument, "last_price": price, "bid": price, "ask": price, "volume": 1_000_000}
        await self._deployment.control("POST", "/prices", held)
