"""How fast orders are accepted: the real path against a bare handler with one insert.

The real path is client -> gapi -> pulse_api -> Postgres in separate processes over TCP, with JWT,
validation, idempotency, order and journal rows. The yardstick is raw_app.py on the same Postgres, with
fsync on for both. Rounds alternate; the first of each is thrown away.
"""

import asyncio
import json
import re
import sys
import time
import urllib.request
from datetime import timedelta

import asyncpg
import jwt

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.embedded.redis import EmbeddedRedis
from pulse_adapters.postgres.migrate import migrate
from tests.benchmarks.load import Load, Target, run_load
from tests.benchmarks.report import median, report
from tests.benchmarks.servers import free_port, process

CONNECTIONS, SECONDS, ROUNDS = 32, 5, 6
IDLE_GAPS_S = (7, 35)
SERVICE_TOKEN, JWT_SECRET = "benchmark-service-token", "benchmark-secret-of-32-bytes-or-more"

ORDER = {"order_unique_key": "@KEY@", "instrument": "NSE:TCS", "side": "BUY", "total_quantity": 120}
SPLIT = {"split_config": {"num_splits": 6, "duration_minutes": 60}}
CREATE_RAW = """
CREATE TABLE raw_orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL UNIQUE,
                         instrument text NOT NULL, side text NOT NULL, quantity int NOT NULL)
"""


def main() -> None:
    with EmbeddedPostgres.start(None, durable=True) as postgres, EmbeddedRedis.start() as redis:
        asyncio.run(prepare(postgres.dsn))
        pulse_port, gapi_port, raw_port = free_port(), free_port(), free_port()
        shared = {
            "DATABASE_URL": postgres.dsn,
            "REDIS_URL": redis.url,
            "PULSE_SERVICE_TOKEN": SERVICE_TOKEN,
            "LOG_LEVEL": "WARNING",
        }
        pulse = {**shared, "PULSE_API_PORT": str(pulse_port)}
        gapi = {
            **shared,
            "GAPI_PORT": str(gapi_port),
            "PULSE_URL": f"http://127.0.0.1:{pulse_port}",
            "GAPI_JWT_SECRETS": JWT_SECRET,
        }
        with (
            process("pulse_api", env=pulse, ready_url=f"http://127.0.0.1:{pulse_port}/health"),
            process("gapi", env=gapi, ready_url=f"http://127.0.0.1:{gapi_port}/health"),
            process(
                "tests.benchmarks.raw_app",
                str(raw_port),
                env=shared,
                ready_url=f"http://127.0.0.1:{raw_port}/",
            ),
        ):
            measure(postgres.dsn, gapi_port, raw_port)


async def prepare(dsn: str) -> None:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    await connection.execute(CREATE_RAW)
    await connection.close()


def measure(dsn: str, gapi_port: int, raw_port: int) -> None:
    expires = SystemClock().now() + timedelta(hours=1)
    claims = {"sub": "bench", "scope": "orders:write", "exp": int(expires.timestamp())}
    bearer = {"Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, algorithm='HS256')}"}
    json_type = {"Content-Type": "application/json"}
    raw = Target(host="127.0.0.1", port=raw_port, path="/orders", headers=json_type, body=json.dumps(ORDER))
    real = Target(
        host="127.0.0.1",
        port=gapi_port,
        path="/api/orders",
        headers=json_type | bearer,
        body=json.dumps(ORDER | SPLIT),
    )
    raws, reals = [], []
    for number in range(ROUNDS + 1):
        raws.append(run_load(raw, f"a{number}", connections=CONNECTIONS, seconds=SECONDS))
        reals.append(run_load(real, f"b{number}", connections=CONNECTIONS, seconds=SECONDS))
        print(f"raw {show(raws[-1])}   real {show(reals[-1])}", file=sys.stderr, flush=True)
    idle_errors = after_idle(real)
    answered = accepted_answers(gapi_port)
    stored = asyncio.run(count_orders(dsn))
    assert stored == answered, f"{stored} orders are stored, {answered} were answered with 202"
    pairs = list(zip(raws[1:], reals[1:], strict=True))
    report(
        "accept",
        {
            "accept_vs_raw": median([b.per_s / a.per_s for a, b in pairs]),
            "p99_vs_raw": median([b.p99_ms / a.p99_ms for a, b in pairs]),
            "errors_after_idle": idle_errors,
        },
        {
            "raw_requests": [load.requests for load in raws[1:]],
            "raw_seconds": [round(load.seconds, 3) for load in raws[1:]],
            "real_requests": [load.requests for load in reals[1:]],
            "real_seconds": [round(load.seconds, 3) for load in reals[1:]],
            "real_errors": sum(load.errors for load in reals),
            "raw_p99_ms": [round(load.p99_ms, 2) for load in raws[1:]],
            "real_p99_ms": [round(load.p99_ms, 2) for load in reals[1:]],
            "rows_in_postgres": stored,
            "answers_202": answered,
        },
    )


def show(load: Load) -> str:
    return f"{load.per_s:7.0f}/s p99 {load.p99_ms:6.1f} ms errors {load.errors}"


def after_idle(target: Target) -> int:
    """Failed requests right after pauses, in which a server or a pool may have closed connections."""
    errors = 0
    for gap in IDLE_GAPS_S:
        time.sleep(gap)
        errors += run_load(target, f"idle{gap}", connections=CONNECTIONS, seconds=1).errors
    return errors


def accepted_answers(gapi_port: int) -> int:
    """The 202s that the gateway counted: a load generator drops those under way when its time is up."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{gapi_port}/internal/metrics",
        headers={"Authorization": f"Bearer {SERVICE_TOKEN}"},
    )
    time.sleep(1)
    with urllib.request.urlopen(request) as answer:
        page = answer.read().decode()
    counts = re.findall(
        r'^http_requests_total\{[^}]*route="/api/orders"[^}]*status="202"[^}]*\} (\S+)', page, re.M
    )
    return sum(int(float(count)) for count in counts)


async def count_orders(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    orders: int = await connection.fetchval("SELECT count(*) FROM orders")
    rows: int = await connection.fetchval("SELECT count(*) FROM order_events WHERE kind = 'order_accepted'")
    await connection.close()
    assert orders == rows, "every order has its journal row"
    return orders


if __name__ == "__main__":
    main()
