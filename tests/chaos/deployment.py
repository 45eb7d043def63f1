"""Pulse as it is deployed, all of it: every service a process, and every process within reach of a signal.

The processes are those of `pulse up --cluster`, told by the same plan; but they are kept alive here, since a
supervisor gives up a child that is killed as often as here.
"""

import asyncio
import io
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import httpx
import redis.asyncio
import redis.exceptions

from pulse.children import ProcessChild
from pulse.cluster_plan import Plan
from pulse.exchange_session import open_day
from pulse.options import ClusterOptions
from pulse.state import Secrets, load_or_create_secrets
from pulse.supervisor import ChildFailed
from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import UNAVAILABLE
from tests.chaos.timeline import Timeline
from tests.chaos.wire import HOST, Wire
from tests.promise.invariants import Freeze

# A minute's worth of time-outs in a few seconds each; they stand to each other as the defaults do.
SETTINGS = {
    "BREAKER_PAUSE_MAX_SECONDS": "3",
    "BREAKER_PAUSE_SECONDS": "1",
    "BROKER_CALL_TIMEOUT_SECONDS": "2",
    "BROKER_SYNC_INTERVAL_SECONDS": "1",
    "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": "1",
    "ORDER_SPLIT_ATTEMPTS_MAX": "20",
    "SLICE_EXECUTION_TIMEOUT_MINUTES": "0.1",
    "SLICE_GRACE_SECONDS": "15",
    "TIMEOUT_MONITOR_INTERVAL_SECONDS": "1",
    "UNKNOWN_GIVE_UP_SECONDS": "600",
    "UNKNOWN_SETTLE_SECONDS": "2",
}

_RESTART_PAUSES_S = (0.2, 1.5)
_GRACEFUL_S = 10.0
_GONE_S = 10.0
_SAID_MAX = 1500
_ANSWER_S = 60.0
_CAPITAL = "100000000000"
LEADER_LOCK = 8102


class Member:
    """A process of the deployment, which is started again whenever it has ended."""

    def __init__(self, child: ProcessChild, timeline: Timeline, rng: Random, log: Path) -> None:
        self._child = child
        self._timeline = timeline
        self._rng = rng
        self._log = log
        self._keeper: asyncio.Task[None] | None = None
        self._killed = False
        self._stopped_at: datetime | None = None
        self.executor: str | None = None  # its name in claims, once it works
        self.freezes: list[Freeze] = []
        self.own_ends: list[str] = []
        self.booted = False
        self.wire: Wire | None = None

    @property
    def name(self) -> str:
        return self._child.name

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child.pid is not None and self._stopped_at is None

    async def start(self) -> None:
        """Raises ChildFailed: the end of its output is told."""
        try:
            await self._child.start()
        except ChildFailed as failed:
            raise ChildFailed(f"{self.name} {failed}: {self._said()}") from failed
        self.booted = True
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.name}")

    async def close(self) -> None:
        self.wake()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._child.stop()

    async def kill(self) -> bool:
        """SIGKILL, and wait until it is gone; false where it was not there."""
        pid = self.pid
        if pid is None:
            return False
        self._killed = True
        if not self._signal(signal.SIGKILL):
            return False
        await until(lambda: self._is_other(pid), _GONE_S, every_s=0.01)
        self._ended_freeze()
        return True

    def stop(self) -> bool:
        """SIGSTOP: it holds all that it has, and does nothing."""
        if self.is_running and self._signal(signal.SIGSTOP):
            self._stopped_at = datetime.now(UTC)
            return True
        return False

    def wake(self) -> bool:
        woken = self._stopped_at is not None and self._signal(signal.SIGCONT)
        self._ended_freeze()
        return woken

    def hear(self, line: str) -> None:
        """Take one line of its output."""
        with self._log.open("a") as log:
            log.write(line + "\n")
        if '"working"' in line and '"executor"' in line:
            self.executor = json.loads(line)["executor"]

    async def _is_other(self, pid: int) -> bool:
        return self.pid != pid

    def _said(self) -> str:
        return self._log.read_text()[-_SAID_MAX:] if self._log.exists() else ""

    def _ended_freeze(self) -> None:
        if self._stopped_at is not None:
            self.freezes.append(Freeze(began_at=self._stopped_at, ended_at=datetime.now(UTC)))
            self._stopped_at = None

    def _signal(self, number: signal.Signals) -> bool:
        if self.pid is None:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    async def _keep(self) -> None:
        while True:
            how = await self._child.ended()
            self.executor = None
            if not self._killed:
                self.own_ends.append(f"{self._timeline.seconds:.2f} s: {self.name} {how}: {self._said()}")
                self._timeline.note(self.name, f"{how} by itself")
            self._killed = False
            while True:
                await asyncio.sleep(self._rng.uniform(*_RESTART_PAUSES_S))
                try:
                    await self._child.start()
                    break
                except ChildFailed as failed:
                    self._timeline.note(self.name, f"does not start: {failed}")


class Deployment:
    """Servers, exchange and services on ports of their own, in a folder of their own."""

    def __init__(self, seed: int, timeline: Timeline, workers: int, environ: Mapping[str, str]) -> None:
        self.timeline = timeline
        self.rng = Random(f"deployment-{seed}")
        # Not under pytest's own folder: as root, Postgres runs as another user and must reach its data.
        self.folder = Path(tempfile.mkdtemp(prefix="pulse-chaos-"))
        self.clock = SystemClock()
        self.http = httpx.AsyncClient(timeout=5.0, trust_env=False)
        self.secrets: Secrets = load_or_create_secrets(self.folder / "state")
        options = ClusterOptions(
            port=0, state_dir=self.folder / "state", log_level="INFO", workers=workers, seed=seed
        )
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        self.plan = Plan(options, {**kept, **SETTINGS, **environ}, self.secrets)
        self.members: dict[str, Member] = {}
        self.worker_names = [f"worker-{number}" for number in range(1, workers + 1)]
        self.postgres: EmbeddedPostgres
        self.redis: EmbeddedRedis

    @property
    def dsn(self) -> str:
        """Past all wires."""
        return self.postgres.dsn

    @property
    def exchange(self) -> str:
        return self.plan.exchange

    @property
    def workers(self) -> list[Member]:
        return [self.members[name] for name in self.worker_names]

    async def start(self) -> None:
        """Start everything, and return when orders can be placed."""
        self.postgres, self.redis = await asyncio.gather(
            asyncio.to_thread(EmbeddedPostgres.start, None, durable=False),
            asyncio.to_thread(EmbeddedRedis.start),
        )
        exchange = self._member("exchange", self._exchange_command(), self.plan.for_exchange(), self._trades)
        await asyncio.gather(migrate(self.dsn), exchange.start())
        with redirect_stdout(io.StringIO()):  # a person would be told of the instruments
            await open_day(self.http, self.plan.for_broker(), self.dsn, self.clock)
        wires = {name: Wire(self.postgres.port) for name in ("pulse_api", *self.worker_names)}
        for wire in wires.values():
            await wire.open()
        dsns = {
            name: self.dsn.replace(f":{self.postgres.port}/", f":{wire.port}/") for name, wire in wires.items()
        }
        plan = self.plan
        self._service(
            "pulse_api", plan.for_order_api(dsns["pulse_api"], self.redis.url), f"{plan.order_api}/ready"
        )
        self._service("gapi", plan.for_gateway(), f"{plan.gateway}/health")
        for number, name in enumerate(self.worker_names):
            self._worker(name, number, dsns[name])
        for name, wire in wires.items():
            self.members[name].wire = wire
        await asyncio.gather(*(m.start() for m in self.members.values() if m.name != "exchange"))

    async def close(self) -> None:
        await asyncio.gather(*(member.close() for member in self.members.values()), return_exceptions=True)
        for member in self.members.values():
            if member.wire is not None:
                await member.wire.close()
        for server in (getattr(self, "redis", None), getattr(self, "postgres", None)):
            if server is not None:
                await asyncio.to_thread(server.stop)
        await self.http.aclose()

    # --- who is who

    async def leader(self) -> Member | None:
        """The worker that holds the leader's lock."""
        rows = await self.ask(
            "SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.objid = $1 AND l.granted",
            LEADER_LOCK,
        )
        ports = {row["client_port"] for row in rows}
        return next((m for m in self.workers if m.wire is not None and m.wire.outer_ports & ports), None)

    def of_executor(self, executor: str) -> Member | None:
        """The running process that has that name in its claims."""
        return next((m for m in self.workers if m.executor == executor), None)

    async def ask(self, sql: str, *args: Any) -> list[Any]:
        """Read from Postgres past all wires; nothing where it is away."""
        try:
            connection = await asyncpg.connect(self.dsn, timeout=3)
        except UNAVAILABLE:
            return []
        try:
            rows: list[Any] = await connection.fetch(sql, *args, timeout=5)
            return rows
        except UNAVAILABLE:
            return []
        finally:
            connection.terminate()

    async def flush_redis(self) -> None:
        """Empty Redis; nothing where it is away."""
        client = redis.asyncio.from_url(self.redis.url)
        with suppress(redis.exceptions.RedisError, OSError):
            await client.flushall()
        await client.aclose()

    # --- the exchange's control

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the exchange's own control; None where it does not answer."""
        try:
            answer = await self.http.request(method, f"{self.exchange}/_simulator{path}", json=body)
        except httpx.HTTPError:
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def surely(self, method: str, path: str, body: Any = None) -> Any:
        """The same, until it answers.

        Raises:
            TimeoutError: it does not for a minute.
        """
        answers: list[Any] = []

        async def answered() -> bool:
            answers.append(await self.control(method, path, body))
            return answers[-1] is not None

        if not await until(answered, _ANSWER_S):
            raise TimeoutError(f"the exchange does not answer {method} {path}")
        return answers[-1]

    # --- parts

    def _exchange_command(self) -> list[str]:
        return [
            sys.executable, "-P", "-c", "import sys; from pulse.cli import main; sys.exit(main())",
            "simulate", "kite", "--host", HOST, "--port", str(self.plan.exchange_port),
            "--state", str(self.folder / "exchange"), "--seed", str(self.plan.seed), "--capital", _CAPITAL,
        ]  # fmt: skip

    def _service(self, name: str, environ: Mapping[str, str], ready: str) -> None:
        self._member(name, [sys.executable, "-P", "-m", name], environ, lambda: self._answers(ready))

    def _worker(self, name: str, number: int, dsn: str) -> None:
        environ = self.plan.for_worker(number, dsn, self.redis.url)
        url = f"http://{HOST}:{self.plan.metrics_ports[number]}/metrics"
        command = [sys.executable, "-P", "-m", "pulse_background"]
        self._member(name, command, environ, lambda: self._answers(url))

    def _member(
        self,
        name: str,
        command: list[str],
        environ: Mapping[str, str],
        is_ready: Callable[[], Awaitable[bool]],
    ) -> Member:
        async def is_up() -> bool:
            # What it lacks later, the nemesis has taken from it: it is up when it runs.
            return member.booted or await is_ready()

        child = ProcessChild(
            name, command, environ, self.clock, is_ready=is_up, tell=lambda _, line: member.hear(line),
            graceful_s=_GRACEFUL_S,
        )  # fmt: skip
        member = Member(child, self.timeline, self.rng, self.folder / f"{name}.log")
        self.members[name] = member
        return member

    async def _trades(self) -> bool:
        return await self._answers(f"{self.exchange}/_simulator")

    async def _answers(self, url: str) -> bool:
        with suppress(httpx.HTTPError):
            return (await self.http.get(url)).status_code == 200
        return False


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, every_s: float = 0.1) -> bool:
    """Wait for a condition; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(every_s)
    return True
