"""`pulse up --cluster`: every service and the exchange as a process, under one supervisor, until Ctrl-C.

The workers trade at the exchange as they would at the broker that it plays: over HTTP, with a session that was
opened by a login. The exchange keeps its orders in a journal, so any process may be killed at any time.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime

import asyncpg
import httpx
import msgspec
from msgspec import Struct

import gapi.settings
import pulse_api.settings
import pulse_background.settings
from pulse.banner import first_order, webhook_lines
from pulse.children import ProcessChild, ServerChild
from pulse.cluster_plan import FACES, HOST, Plan
from pulse.errors import BadInput, CommandError, StateError
from pulse.exchange_session import keep_day_open, open_day
from pulse.options import ClusterOptions
from pulse.state import (
    Secrets,
    load_or_create_secrets,
    remove_endpoint,
    replace_file,
    write_endpoint,
)
from pulse.supervisor import ChildFailed, Supervisor, Vital
from pulse.wished_strategies import run_wishes
from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis
from pulse_adapters.feeds.errors import FeedSpecError
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.real_broker.settings import BrokerSettingsError
from pulse_adapters.zerodha.login import LoginFailed
from pulse_domain.errors import PulseError
from service_kit import configure

FAILED = 1

_FOLDER = "cluster"
_PROCESSES = "processes.json"
_MARKET = "market"
_GRACEFUL_S = 15.0
_WORKER_GRACEFUL_S = 30.0
_ASK_S = 2.0

_SETTINGS_ERRORS = (
    gapi.settings.SettingsError,
    pulse_api.settings.SettingsError,
    pulse_background.settings.SettingsError,
    BrokerSettingsError,
    FeedSpecError,
)


class Processes(Struct, frozen=True, kw_only=True):
    """What `processes.json` in the cluster's folder says of the running cluster; it is removed at the end."""

    supervisor: int
    gateway: str
    order_api: str
    exchange: str
    children: list[Vital]


class Cluster:
    def __init__(
        self,
        options: ClusterOptions,
        environ: Mapping[str, str],
        secrets: Secrets,
        plan: Plan,
        http: httpx.AsyncClient,
    ) -> None:
        self._options = options
        self._environ = environ
        self._secrets = secrets
        self._plan = plan
        self._http = http
        self._clock = SystemClock()
        self._folder = options.state_dir / _FOLDER
        self._workers = [f"worker-{number}" for number in range(1, options.workers + 1)]
        self._session: asyncio.Task[None] | None = None
        self._dsn = ""
        self._redis_url = ""
        self.supervisor = Supervisor(self._clock, self._say, self._write_processes)

    async def start(self) -> None:
        """Start everything, and return when orders can be placed.

        Raises:
            ChildFailed, CommandError, PulseError, OSError: something did not start; call `stop`.
        """
        self._folder.mkdir(mode=0o711, exist_ok=True)
        await self._start_servers()
        exchange = self._process("exchange", self._exchange_command(), self._plan.for_exchange(), self._trades)
        await asyncio.gather(migrate(self._dsn), self.supervisor.start(exchange))
        day = keep_day_open(self._clock, await self._open_day(), self._open_day, self._say)
        self._session = asyncio.create_task(day, name="broker-session")
        await self.supervisor.start(
            self._service(
                "pulse_api",
                self._plan.for_order_api(self._dsn, self._redis_url),
                f"{self._plan.order_api}/ready",
            ),
            self._service("gapi", self._plan.for_gateway(), f"{self._plan.gateway}/health"),
            *(self._worker(number) for number in range(len(self._workers))),
        )
        if self._plan.has_market_desk:
            await self._start_market_desk()
        write_endpoint(self._options.state_dir, self._plan.gateway, self._plan.order_api)

    async def stop(self) -> None:
        """Stop what runs, those who ask before those who answer."""
        remove_endpoint(self._options.state_dir, self._plan.gateway)
        if self._session is not None:
            self._session.cancel()
            await asyncio.gather(self._session, return_exceptions=True)
        order = [["gapi", _MARKET], self._workers, ["pulse_api"], ["exchange"], ["redis"], ["postgres"]]
        await self.supervisor.stop(order)
        (self._folder / _PROCESSES).unlink(missing_ok=True)

    # --- children

    async def _start_servers(self) -> None:
        """Postgres and Redis, but for those that the environment names."""

        def postgres() -> EmbeddedPostgres:
            server = EmbeddedPostgres.start(self._folder / "postgres", durable=True)
            self._dsn = server.dsn
            return server

        def redis() -> EmbeddedRedis:
            server = EmbeddedRedis.start(data_dir=self._folder / "redis")
            self._redis_url = server.url
            return server

        self._dsn = self._environ.get("DATABASE_URL", "")
        self._redis_url = self._environ.get("REDIS_URL", "")
        children = []
        if not self._dsn:
            children.append(ServerChild("postgres", postgres, self._clock))
        if not self._redis_url:
            children.append(ServerChild("redis", redis, self._clock))
        await self.supervisor.start(*children)

    def _exchange_command(self) -> list[str]:
        options = self._options
        return [
            sys.executable, "-P", "-c", "import sys; from pulse.cli import main; sys.exit(main())",
            "simulate", FACES[self._plan.broker], "--host", HOST, "--port", str(self._plan.exchange_port),
            "--state", str(self._folder / "exchange"), "--seed", str(self._plan.seed), "--feed", options.feed,
            "--speed", str(options.feed_speed), "--log-level", self._plan.for_exchange()["LOG_LEVEL"],
        ]  # fmt: skip

    def _service(self, name: str, environ: Mapping[str, str], ready: str) -> ProcessChild:
        return self._process(name, [sys.executable, "-P", "-m", name], environ, lambda: self._answers(ready))

    def _worker(self, number: int) -> ProcessChild:
        async def has_its_figures() -> bool:
            # The figure exists when its ports are opened.
            page = await self._ask(f"http://{HOST}:{self._plan.metrics_ports[number]}/metrics")
            return page is not None and "slice_lateness_seconds" in page.text

        environ = self._plan.for_worker(number, self._dsn, self._redis_url)
        command = [sys.executable, "-P", "-m", "pulse_background"]
        return self._process(self._workers[number], command, environ, has_its_figures, _WORKER_GRACEFUL_S)

    async def _start_market_desk(self) -> None:
        pool = await create_pool(self._dsn, size=1)
        try:
            database = Database(pool)
            await run_wishes(
                self._options.strategies,
                self._options.feed,
                PostgresStrategyStore(database),
                PostgresAuditLog(database),
            )
        finally:
            await pool.close()

        async def has_its_figures() -> bool:
            page = await self._ask(f"http://{HOST}:{self._plan.market_port}/metrics")
            return page is not None and "strategies_running" in page.text

        environ = self._plan.for_market_desk(self._dsn, self._redis_url)
        command = [sys.executable, "-P", "-m", "pulse_background.market"]
        await self.supervisor.start(self._process(_MARKET, command, environ, has_its_figures))

    def _process(
        self,
        name: str,
        command: list[str],
        environ: Mapping[str, str],
        is_ready: Callable[[], Awaitable[bool]],
        graceful_s: float = _GRACEFUL_S,
    ) -> ProcessChild:
        return ProcessChild(
            name, command, environ, self._clock, is_ready=is_ready, tell=_tell, graceful_s=graceful_s
        )

    async def _trades(self) -> bool:
        return await self._answers(f"{self._plan.exchange}/_simulator")

    async def _answers(self, url: str) -> bool:
        answer = await self._ask(url)
        return answer is not None and answer.status_code == 200

    async def _ask(self, url: str) -> httpx.Response | None:
        try:
            return await self._http.get(url)
        except httpx.HTTPError:
            return None

    def _say(self, text: str) -> None:
        _tell("pulse", text)

    def _write_processes(self) -> None:
        processes = Processes(
            supervisor=os.getpid(),
            gateway=self._plan.gateway,
            order_api=self._plan.order_api,
            exchange=self._plan.exchange,
            children=self.supervisor.vitals(),
        )
        path = self._folder / _PROCESSES
        try:
            replace_file(path, msgspec.json.encode(processes), 0o644)
        except OSError as error:
            self._say(f"cannot write {path}: {error.strerror}")

    async def _open_day(self) -> datetime:
        return await open_day(self._http, self._plan.for_broker(), self._dsn, self._clock)


def run_cluster(options: ClusterOptions, environ: Mapping[str, str]) -> int:
    """Serve until SIGINT or SIGTERM, or until a child is given up; the exit code of the command.

    Raises:
        BadInput: a setting is wrong.
        CommandError: something did not start.
    """
    configure("pulse", options.log_level)
    if environ.get("BROKER_TYPE", "") not in ("", *FACES):
        raise BadInput(
            f"BROKER_TYPE must be {' or '.join(FACES)} for pulse up --cluster: its exchange speaks that API"
        )
    secrets = load_or_create_secrets(options.state_dir)
    try:
        plan = Plan(options, environ, secrets)
        plan.check()
    except _SETTINGS_ERRORS as error:
        raise BadInput(str(error)) from error
    try:
        return asyncio.run(_run(options, environ, secrets, plan))
    except (ChildFailed, LoginFailed, PulseError, httpx.HTTPError, TimeoutError) as error:
        raise CommandError(str(error) or type(error).__name__) from error
    except asyncpg.PostgresError as error:  # the server's text may hold parts of the address
        raise CommandError(f"DATABASE_ERROR: {type(error).__name__}") from error
    except BrokenPipeError:
        raise  # nobody reads what we print
    except OSError as error:
        raise StateError(f"cannot run in {options.state_dir}: {error.strerror or error}") from error


async def _run(options: ClusterOptions, environ: Mapping[str, str], secrets: Secrets, plan: Plan) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN:  # nohup is to go on
            loop.add_signal_handler(name, stop.set)
    async with httpx.AsyncClient(timeout=_ASK_S, trust_env=False) as http:
        cluster = Cluster(options, environ, secrets, plan, http)
        starting = asyncio.create_task(cluster.start(), name="start")
        ending = [
            asyncio.create_task(stop.wait(), name="stop"),
            asyncio.create_task(cluster.supervisor.failed.wait(), name="failed"),
        ]
        try:
            await asyncio.wait({starting, *ending}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                print(_banner(options, environ, secrets, plan), flush=True)
                await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (starting, *ending):
                task.cancel()
            await asyncio.gather(starting, *ending, return_exceptions=True)
            await cluster.stop()
    if stop.is_set():
        return 0
    print(f"pulse up: {cluster.supervisor.reason}", file=sys.stderr)
    return FAILED


def _banner(options: ClusterOptions, environ: Mapping[str, str], secrets: Secrets, plan: Plan) -> str:
    ports = [*plan.metrics_ports, *([plan.market_port] if plan.has_market_desk else [])]
    figures = " ".join(f"http://{HOST}:{port}/metrics" for port in ports)
    hours = (
        "market hours are not checked: the exchange is always open"
        if plan.outside_session == "accept"
        else "market hours are those of India"
    )
    prices = f"prices from {options.feed}, seed {plan.seed}"
    return f"""Pulse is up, {options.workers} workers, {prices}. Ctrl-C ends it.

  gateway    {plan.gateway}/api      docs {plan.gateway}/docs
  order API  {plan.order_api}
  exchange   {plan.exchange}    control {plan.exchange}/_simulator
  figures    {figures}
  processes  {options.state_dir / _FOLDER / _PROCESSES}
  broker     BROKER_TYPE={plan.broker} at the exchange's address
  late       SLICE_GRACE_SECONDS={plan.slice_grace_s}: what a kill has cost its answer is sent again until then
  hours      OUTSIDE_SESSION={plan.outside_session}: {hours}
{webhook_lines(plan.gateway, secrets, has_own_hooks=bool(environ.get("GAPI_WEBHOOK_HOOKS")))}

{first_order(plan.gateway, secrets)}"""


def _tell(name: str, line: str) -> None:
    """One line of the common output. Nobody may read it any more; the children go on all the same."""
    if not line:
        return
    with suppress(OSError):
        print(f"{name:<9} | {line}", flush=True)
