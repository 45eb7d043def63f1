"""Every part of Pulse in one process: gateway at `/`, order API at `/pulse`, workers, virtual exchange.

The parts are the same as in separate processes and are put together the same way. The gateway still calls
the order API over HTTP, through a Unix socket; they share one event loop and one connection pool.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

import gapi.app
import gapi.settings
import pulse_api.app
import pulse_api.bootstrap
import pulse_api.settings
import pulse_background.settings
from pulse.banner import demo_hooks
from pulse.state import Secrets
from pulse.wished_strategies import WishedStrategy, run_wishes
from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded import EmbeddedPostgres
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.session_locks import PostgresPresence
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_api.bootstrap import listed_instruments
from pulse_background.background import Background, BackgroundPorts
from pulse_background.bootstrap import open_broker, tick_days
from pulse_background.market.bootstrap import make_desk
from pulse_background.market.feeds import open_feed
from pulse_background.risk import risk_loops
from pulse_background.scheduler import SoleProcess
from pulse_background.telegram import open_telegram
from pulse_background.traffic import create_limiter
from pulse_background.virtual import open_market
from pulse_background.workers.slice_executor import always_open
from pulse_background.zerodha import OpenBroker
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.work_queue import JobKind
from service_kit.server import InnerServer, config

log = structlog.get_logger(__name__)

Asgi = Callable[[Any, Any, Any], Any]

# How long a stop waits for answers that are under way.
STREAMS_S = 2
_PULSE = "/pulse"


class AllInOne(Struct, frozen=True, kw_only=True):
    """app: to be served. prices: where they come from, for people. failed: set where a worker loop ended by a
    fault; the process should end then."""

    app: Asgi
    prices: str
    end_streams: Callable[[], None]
    failed: asyncio.Event


@asynccontextmanager
async def open_all(
    environ: Mapping[str, str],
    secrets: Secrets,
    state_dir: Path,
    *,
    feed: str,
    feed_speed: float,
    strategies: Sequence[WishedStrategy] = (),
) -> AsyncIterator[AllInOne]:
    """Start everything but the public port.

    environ: the settings of every part; the addresses and secrets between the parts are filled in here.
    strategies: those that are to run, beside those that ran before.

    Raises:
        SettingsError of a part, FeedSpecError, FeedFileError, EmbeddedServerError: nothing is left running.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        # First what is wrong most often: settings and files, before a server is started.
        draft = {
            **environ,
            "DATABASE_URL": environ.get("DATABASE_URL") or "postgresql://embedded",
            "PULSE_SERVICE_TOKEN": secrets.service_token,
        }
        drafted = _background_settings(draft, feed, feed_speed)
        reads_from = drafted.virtual_broker_reads
        market = None
        # The exchange fills at the prices that strategies see.
        latest: dict[Instrument, Tick] = {}
        if reads_from is None:
            market = await stack.enter_async_context(open_market(drafted, clock, latest))
        dsn = environ.get("DATABASE_URL") or await _embedded_postgres(stack, state_dir)
        socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pulse-"))) / "order-api.sock"
        environ = {
            **environ,
            "DATABASE_URL": dsn,
            "PULSE_SERVICE_TOKEN": secrets.service_token,
            "PULSE_URL": f"unix:{socket}",
        }
        workers = _background_settings(environ, feed, feed_speed)
        api_settings = pulse_api.settings.read_settings(environ)
        await migrate(dsn)
        pool = await create_pool(dsn, size=workers.database_pool_size)
        stack.push_async_callback(pool.close)
        watching = await create_pool(dsn, size=pulse_api.bootstrap.WATCHING_CONNECTIONS)
        stack.push_async_callback(watching.close)
        if market is not None:
            broker = OpenBroker(market.exchange, always_open)
        else:
            # It needs the database: the real broker's session is there.
            broker = await stack.enter_async_context(
                open_broker(workers, Database(pool), clock, on_quotes_failed=lambda: None)
            )
        store, ids, queue = PostgresOrderStore(Database(pool)), RandomIds(clock), InProcessQueue()
        executor_id = ids.executor_id()
        # There is one process, so no Redis is needed to count for it.
        limiter = create_limiter(replace(workers, redis_url=None), store, clock, executor_id)
        stack.push_async_callback(limiter.close)

        telegram = await stack.enter_async_context(
            open_telegram(
                workers.telegram,
                store,
                Database(pool),
                broker.is_open,
                clock,
                broker=reads_from or workers.broker_type,
            )
        )
        # What the virtual broker fills by is what strategies are to see.
        desk_feed = await open_feed(replace(workers, market_feed=reads_from or feed), Database(pool), clock)
        master = VirtualInstrumentMaster(market.feed.tick_size if market else None)
        desk = make_desk(
            replace(workers, market_feed=reads_from or feed),
            desk_feed,
            Database(pool),
            clock,
            queue,
            telegram.notify,
            master=master,
            latest=latest,
            exchange=broker.broker if isinstance(broker.broker, VirtualExchange) else None,
            circuits=broker.circuits,
            send_at_once=lambda new, limits: background.accept_at_once(new, limits),
        )
        background = Background(
            BackgroundPorts(
                store=store,
                broker=broker.broker,
                is_open=broker.is_open,
                clock=clock,
                leadership=SoleProcess(),
                presence=PostgresPresence(dsn, executor_id),
                executor_id=executor_id,
                limiter=limiter,
                notify=telegram.notify,
                on_booked=lambda order, event: desk.wake(),
                leader_loops=(
                    *telegram.leader_loops,
                    tick_days(workers, Database(pool), clock),
                    *risk_loops(
                        workers, store, Database(pool), clock, ids, queue, telegram.notify, broker.reads
                    ),
                ),
            ),
            workers,
        )
        for kind in JobKind:
            queue.listen(kind, lambda job: background.wake(job.kind))
        failed = asyncio.Event()
        stop = asyncio.Event()
        await stack.enter_async_context(_running("background", background.run(stop), failed, stop.set))
        await run_wishes(
            strategies, feed, PostgresStrategyStore(Database(pool)), PostgresAuditLog(Database(pool))
        )
        await stack.enter_async_context(_running("market-desk", desk.run(), failed, None))

        listed = listed_instruments(api_settings.market, Database(pool), clock)
        ports = pulse_api.bootstrap.Ports(
            store=store,
            watched=PostgresOrderStore(Database(watching)),
            queue=queue,
            master=listed or master,
            clock=clock,
            ids=ids,
            strategies=PostgresStrategyStore(Database(pool)),
            audit=PostgresAuditLog(Database(pool)),
            prices=PostgresPriceBoard(Database(pool)),
            candles=PostgresCandleStore(Database(watching)),
            closing_auction=listed.closing_auction if listed else None,
        )
        order_api = pulse_api.app.create_app(api_settings, lambda settings, metrics: _opened(ports))
        await stack.enter_async_context(_served(order_api, socket))

        gateway = gapi.app.create_app(_gateway_settings(environ, secrets))
        yield AllInOne(
            app=_dispatch(gateway, order_api),
            prices=reads_from or feed,
            end_streams=gateway.end_streams,
            failed=failed,
        )


def _background_settings(
    environ: Mapping[str, str], feed: str, feed_speed: float
) -> pulse_background.settings.Settings:
    settings = pulse_background.settings.read_settings(
        {**environ, "MARKET_FEED": feed, "FEED_SPEED": str(feed_speed)}
    )
    if settings.broker_type not in ("virtual", "mock"):
        # Somebody would think that real orders are placed.
        raise pulse_background.settings.SettingsError(
            "BROKER_TYPE must be virtual for pulse up; pulse_background trades at a real broker"
        )
    return settings


def _gateway_settings(environ: Mapping[str, str], secrets: Secrets) -> gapi.settings.Settings:
    return gapi.settings.Settings.from_environ(
        {
            "GAPI_WEBHOOK_HOOKS": demo_hooks(secrets),
            **environ,
            "GAPI_JWT_SECRETS": secrets.jwt_secret,
        }
    )


async def _embedded_postgres(stack: AsyncExitStack, state_dir: Path) -> str:
    server = await asyncio.to_thread(EmbeddedPostgres.start, state_dir / "postgres", durable=True)
    stack.push_async_callback(asyncio.to_thread, server.stop)
    return server.dsn


@asynccontextmanager
async def _opened(ports: pulse_api.bootstrap.Ports) -> AsyncIterator[pulse_api.bootstrap.Ports]:
    # They belong to the whole process, which closes them.
    yield ports


@asynccontextmanager
async def _running(
    name: str,
    work: Coroutine[Any, Any, None],
    failed: asyncio.Event,
    stop: Callable[[], None] | None,
) -> AsyncIterator[None]:
    """Work until the end; `stop` asks for it, and what cannot be asked is cancelled."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("a worker ended by a fault", exc_info=task.exception())
            failed.set()

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        if stop is None:
            task.cancel()
        else:
            stop()
        await asyncio.wait({task})


@asynccontextmanager
async def _served(app: pulse_api.app.OrderApi, address: Path) -> AsyncIterator[None]:
    server = InnerServer(config(app, graceful_s=STREAMS_S, uds=str(address)), app.end_streams)
    task = await server.start()
    if task.done():
        raise RuntimeError("the order API did not start")
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _dispatch(gateway: Asgi, order_api: Asgi) -> Asgi:
    """The gateway at `/`, and for callers on this machine the order API at `/pulse`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path: str = scope.get("path", "")
        mounted = scope["type"] == "http" and (path == _PULSE or path.startswith(_PULSE + "/"))
        if mounted and _is_loopback(scope.get("client")):
            inner = path.removeprefix(_PULSE) or "/"
            await order_api({**scope, "path": inner, "raw_path": inner.encode()}, receive, send)
        else:
            # For others there is no such route, as the gateway says of any.
            await gateway(scope, receive, send)

    return app


def _is_loopback(client: tuple[str, int] | None) -> bool:
    try:
        return client is not None and ip_address(client[0]).is_loopback
    except ValueError:
        return False
