"""How late slices reach the broker: on an idle cluster beside a bare loop, right after acceptance, and paced.

All processes are real: gateway, order API, two workers, Postgres with fsync on, Redis; the broker is a stub
that notes when it received what, by the clock of the machine. The bare loop runs in the same minute, with as
many instants in between: a timer, one conditional update, one HTTP call. With the limiter lifted first; then
with it, many orders due at once, and the same with a cancel among them.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import asyncpg
import jwt
import uvloop

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.embedded.redis import EmbeddedRedis
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from tests.benchmarks.planned import plan_orders
from tests.benchmarks.report import median, report
from tests.benchmarks.servers import free_port, process, processes
from tests.benchmarks.stub_desk import StubDesk, stub_broker, stub_worker
from tests.benchmarks.stub_line import Lines

WORKERS = 2
SLICES, SECONDS = 1_000, 60.0
SLICES_EACH = 10
LEAD_S = 8.0  # to store the plans
ACCEPTED = 200
PAUSE_S = 0.1  # between accepted orders: nothing else is going on
LIMITED, PER_SECOND, RESERVE, MARGIN_S = 20, 8, 0.05, 0.05
PATIENCE_S = 120.0
SERVICE_TOKEN, JWT_SECRET = "benchmark-service-token", "benchmark-secret-of-32-bytes-or-more"
ORDER = {"instrument": "NSE:TCS", "side": "BUY", "total_quantity": 10}
LIMITS = {
    "BROKER_ORDERS_PER_SECOND": str(PER_SECOND),
    "BROKER_ORDERS_PER_MINUTE": "400",
    "BROKER_ORDERS_PER_DAY": "5000",
    "BROKER_CANCEL_RESERVE": str(RESERVE),
    "BROKER_RATE_MARGIN_SECONDS": str(MARGIN_S),
    # A cancel is taken for refused, and repeated, unless the book shows it soon.
    "BROKER_SYNC_INTERVAL_SECONDS": "1",
}
BARE_ORDER = {
    "exchange": "NSE", "tradingsymbol": "TCS", "transaction_type": "BUY", "quantity": 10,
    "order_type": "MARKET", "product": "CNC",
}  # fmt: skip
CREATE_BARE = "CREATE TABLE bare_slices (id int PRIMARY KEY, claimed boolean NOT NULL)"
CLAIM_BARE = "UPDATE bare_slices SET claimed = true WHERE id = $1 AND NOT claimed RETURNING id"


def p99(values: Sequence[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


class Gateway:
    """A client of gapi on one kept connection."""

    def __init__(self, port: int) -> None:
        expires = SystemClock().now() + timedelta(hours=1)
        claims = {"sub": "bench", "scope": "orders:write", "exp": int(expires.timestamp())}
        token = jwt.encode(claims, JWT_SECRET, algorithm="HS256")
        headers = f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._lines = Lines("127.0.0.1", port, headers)
        self._count = 0

    async def order(self, **more: Any) -> str:
        """Post an order; its id."""
        self._count += 1
        body = json.dumps(ORDER | more | {"order_unique_key": f"late-{self._count}"})
        order_id: str = (await self._lines.ask("POST", "/api/orders", body))["order_id"]
        return order_id

    async def cancel(self, order_id: str) -> None:
        await self._lines.ask("POST", f"/api/orders/{order_id}/cancel")


class Cluster:
    def __init__(self, pool: asyncpg.Pool, broker_port: int, gateway: Gateway) -> None:
        self.pool, self.gateway = pool, gateway
        self.desk = StubDesk(broker_port)
        self.broker_port = broker_port

    def received(self, operation: str = "place") -> dict[str, float]:
        """When the broker received what first, by tag, or for cancels by its order id."""
        return {what: at for kind, what, at in reversed(self.desk.ask("receipts")) if kind == operation}

    async def executions(self, order_ids: Sequence[str]) -> list[asyncpg.Record]:
        """The executions of orders once the broker has them all."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            rows: list[asyncpg.Record] = await self.pool.fetch(
                "SELECT l.tag, l.due_at, l.exchange_id, o.created_at"
                " FROM order_ledger l JOIN orders o USING (order_id) WHERE order_id = ANY($1)",
                list(order_ids),
            )
            received = self.received()
            if len(rows) >= len(order_ids) and all(row["tag"] in received for row in rows):
                return rows
            assert time.monotonic() < deadline, "slices do not reach the broker"
            await asyncio.sleep(0.1)


async def scheduled(cluster: Cluster, slices: int, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds from the instants to the receipts: of our slices, and of the bare loop's."""
    store, ids = PostgresOrderStore(Database(cluster.pool)), RandomIds(SystemClock())
    apart_s, orders = seconds / slices, slices // SLICES_EACH
    started = time.time()
    bare = asyncio.create_task(bare_loop(cluster, slices, started + LEAD_S + apart_s / 2, apart_s))
    for number in range(orders):
        due_in_s = [
            started + LEAD_S - time.time() + (nth * orders + number) * apart_s for nth in range(SLICES_EACH)
        ]
        await plan_orders(store, ids, 1, due_in_s)
    assert time.time() < started + LEAD_S, "storing the plans took too long"
    await bare
    order_ids = [row["order_id"] for row in await cluster.pool.fetch("SELECT order_id FROM orders")]
    rows = await cluster.executions(order_ids)
    assert len(rows) == slices, f"{len(rows)} slices were planned"
    received = cluster.received()
    ours = [received[row["tag"]] - row["due_at"].timestamp() for row in rows]
    theirs = [
        received[f"bare-{number}"] - (started + LEAD_S + apart_s / 2 + number * apart_s)
        for number in range(slices)
    ]
    assert min(ours) >= -0.001, f"a slice was received {-min(ours)} s before its instant"
    return ours, theirs


async def bare_loop(cluster: Cluster, slices: int, first: float, apart_s: float) -> None:
    await cluster.pool.execute(CREATE_BARE)
    await cluster.pool.execute(
        "INSERT INTO bare_slices SELECT n, false FROM generate_series(0, $1) n", slices - 1
    )
    lines = Lines("127.0.0.1", cluster.broker_port)

    async def send(number: int) -> None:
        await asyncio.sleep(max(0.0, first + number * apart_s - time.time()))
        assert await cluster.pool.fetchval(CLAIM_BARE, number) == number
        await lines.ask("POST", "/orders", json.dumps(BARE_ORDER | {"tag": f"bare-{number}"}))

    await asyncio.gather(*(send(number) for number in range(slices)))
    lines.close()


async def right_after_acceptance(cluster: Cluster, orders: int) -> list[float]:
    """Seconds from the acceptance to the receipt, one order at a time, all due at once."""
    order_ids = []
    for _ in range(orders):
        order_ids.append(await cluster.gateway.order())
        await asyncio.sleep(PAUSE_S)
    rows = await cluster.executions(order_ids)
    received = cluster.received()
    return [received[row["tag"]] - row["created_at"].timestamp() for row in rows]


async def due_at_once(cluster: Cluster) -> list[str]:
    """Post as many orders for one instant, a few seconds from now; their ids."""
    await asyncio.sleep(2.0)  # the lane is rested
    due_at = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    return [await cluster.gateway.order(start_at=due_at) for _ in range(LIMITED)]


async def paced(cluster: Cluster) -> float:
    """Seconds from the first to the last of the orders that are due at once."""
    rows = await cluster.executions(await due_at_once(cluster))
    received = cluster.received()
    instants = sorted(received[row["tag"]] for row in rows)
    return instants[-1] - instants[0]


async def cancel_among_paced(cluster: Cluster) -> tuple[float, int]:
    """How long a cancel takes while many orders wait for the limiter, and how many of them go out meanwhile."""
    live = await cluster.gateway.order()
    await cluster.executions([live])
    order_ids = await due_at_once(cluster)
    before, deadline = len(cluster.received()), time.monotonic() + PATIENCE_S
    while len(cluster.received()) < before + 2:
        assert time.monotonic() < deadline, "nothing is sent"
        await asyncio.sleep(0.02)
    asked_at = time.time()
    await cluster.gateway.cancel(live)
    rows = await cluster.executions(order_ids)
    [placed] = await cluster.executions([live])
    broker_order_id = placed["exchange_id"]
    while broker_order_id not in (cancels := cluster.received("cancel")):
        assert time.monotonic() < deadline, "the cancel does not reach the broker"
        await asyncio.sleep(0.1)
    received, cancelled_at = cluster.received(), cancels[broker_order_id]
    instants = [received[row["tag"]] for row in rows]
    assert cancelled_at < max(instants), "the cancel waited for all placements"
    return cancelled_at - asked_at, sum(asked_at < instant < cancelled_at for instant in instants)


def by_the_rules_s() -> float:
    """With the margin, the reserve for cancels, and one burst: a window, then evenly one after the other."""
    window = PER_SECOND - ceil(PER_SECOND * RESERVE)
    return (1 + MARGIN_S) * (1 + (LIMITED - window - 1) / window)


async def measure(cluster: Cluster, env: Mapping[str, str], args: argparse.Namespace) -> None:
    command = stub_worker(cluster.broker_port)
    with processes([command] * WORKERS, env):
        await cluster.desk.ready(WORKERS)
        ours, bare = await scheduled(cluster, args.slices, args.seconds)
        accepted = await right_after_acceptance(cluster, args.accepted)
    cluster.desk.ask("forget")
    await cluster.pool.execute("TRUNCATE orders, order_slices, order_ledger, order_events, broker_events")
    with processes([command] * WORKERS, {**env, **LIMITS}):
        await cluster.desk.ready(WORKERS)
        took_s = await paced(cluster)
        cancel_s, before_cancel = await cancel_among_paced(cluster)

    def ms(seconds: float) -> float:
        return round(seconds * 1000, 2)

    report(
        "lateness",
        {
            "p99_vs_bare": p99(ours) / p99(bare),
            "accept_to_broker_p99_vs_bare": p99(accepted) / p99(bare),
            "limited_vs_minimum": took_s / (LIMITED / PER_SECOND),
        },
        {
            "slices": len(ours),
            "median_ms": ms(median(ours)),
            "p99_ms": ms(p99(ours)),
            "max_ms": ms(max(ours)),
            "bare_median_ms": ms(median(bare)),
            "bare_p99_ms": ms(p99(bare)),
            "bare_max_ms": ms(max(bare)),
            "accept_to_broker_median_ms": ms(median(accepted)),
            "accept_to_broker_p99_ms": ms(p99(accepted)),
            "limited_seconds": round(took_s, 3),
            "limited_minimum_seconds": LIMITED / PER_SECOND,
            "limited_by_the_rules_seconds": round(by_the_rules_s(), 3),
            "cancel_among_paced_ms": ms(cancel_s),
            "placements_while_it_waited": before_cancel,
        },
    )


async def run(args: argparse.Namespace, dsn: str, env: Mapping[str, str], ports: tuple[int, int]) -> None:
    gapi_port, broker_port = ports
    pool = await create_pool(dsn)
    await measure(Cluster(pool, broker_port, Gateway(gapi_port)), env, args)
    await pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-lateness")
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--accepted", type=int, default=ACCEPTED)
    args = parser.parse_args()
    pulse_port, gapi_port, broker_port = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres.start(None, durable=True))
        redis = stack.enter_context(EmbeddedRedis.start())
        asyncio.run(migrate(postgres.dsn))
        env = {"DATABASE_URL": postgres.dsn, "REDIS_URL": redis.url, "LOG_LEVEL": "WARNING"}
        pulse_url = f"http://127.0.0.1:{pulse_port}"
        pulse = {**env, "PULSE_SERVICE_TOKEN": SERVICE_TOKEN, "PULSE_API_PORT": str(pulse_port)}
        gapi = {
            **env,
            "PULSE_SERVICE_TOKEN": SERVICE_TOKEN,
            "GAPI_PORT": str(gapi_port),
            "PULSE_URL": pulse_url,
            "GAPI_JWT_SECRETS": JWT_SECRET,
        }
        stack.enter_context(stub_broker(broker_port))
        stack.enter_context(process("pulse_api", env=pulse, ready_url=f"{pulse_url}/health"))
        stack.enter_context(process("gapi", env=gapi, ready_url=f"http://127.0.0.1:{gapi_port}/health"))
        uvloop.run(run(args, postgres.dsn, env, (gapi_port, broker_port)))


if __name__ == "__main__":
    main()
