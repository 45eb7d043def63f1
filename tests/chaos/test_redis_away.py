"""Redis is away for half a minute under load: hints and the shared count of calls are gone, nothing else."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import datetime
from random import Random
from typing import Any

import pytest_asyncio

from tests.chaos.clients import Clients
from tests.chaos.deployment import Deployment, until
from tests.chaos.evidence import all_done, judge, read_evidence
from tests.chaos.load import CLIENTS, Door, Wish
from tests.chaos.timeline import Timeline

AWAY_S = 30.0
DONE_S = 90.0
PER_SECOND = 4
# A limit of 4 in every second allows 21 in five that are not aligned with them; a late process may add a few.
SPAN_S, CALLS_IN_SPAN = 5.0, 25


@pytest_asyncio.fixture
async def deployment() -> AsyncIterator[Deployment]:
    environ = {
        "BROKER_ORDERS_PER_SECOND": str(PER_SECOND),
        "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": "2",
        "SLICE_GRACE_SECONDS": "120",
    }
    made = Deployment(1, Timeline(), 2, environ)
    try:
        await made.start()
        yield made
    finally:
        await made.close()
        shutil.rmtree(made.folder)


def wish(number: int) -> Wish:
    body: dict[str, Any] = {
        "order_unique_key": f"away-{number}",
        "instrument": "NSE:TCS",
        "side": "BUY",
        "product": "MIS",
        "total_quantity": 20,
        "split_config": {"num_splits": 4, "duration_minutes": 1},
    }
    return Wish(at_s=number, age_s=50, client=CLIENTS[number % len(CLIENTS)], door=Door.API, body=body)


async def test_orders_are_taken_and_carried_out_while_redis_is_away(deployment: Deployment) -> None:
    clients = Clients(deployment.plan, deployment.secrets, Random(1), deployment.timeline)
    try:
        await keep_asking(deployment, clients)
    finally:
        await clients.close()


async def keep_asking(deployment: Deployment, clients: Clients) -> None:
    await clients.wish(wish(0))
    await until(lambda: all_done(deployment), DONE_S)

    await asyncio.to_thread(deployment.redis.halt)
    wanted = []
    for number in range(1, int(AWAY_S)):
        wanted.append(asyncio.create_task(clients.wish(wish(number))))
        await asyncio.sleep(1)
    await asyncio.gather(*wanted)
    told_while_away, unavailable = len(clients.acknowledged), clients.unavailable
    book_while_away = await deployment.surely("GET", "/book")
    await asyncio.to_thread(deployment.redis.resume)

    assert told_while_away == len(wanted) + 1
    assert unavailable == 0, "no request was answered 503"
    assert len(book_while_away["orders"]) > 4 * 5, "work went on"
    assert await until(lambda: all_done(deployment), DONE_S), "orders are left"
    evidence = await read_evidence(deployment)
    found = judge(evidence, deployment, clients)
    assert not found, "\n".join(map(str, found))
    assert {execution.status for o in evidence.orders for execution in o.executions} == {"FILLED"}
    assert_paced(await deployment.surely("GET", "/calls"))


def assert_paced(calls: list[dict[str, Any]]) -> None:
    """By the exchange's own record: it never had to refuse for too many, and the set limit was kept."""
    placed = [call for call in calls if call["call"] == "place"]
    assert 429 not in {call["status"] for call in placed}
    instants = sorted(datetime.fromisoformat(call["at"]).timestamp() for call in placed)
    most = max(sum(began <= at < began + SPAN_S for at in instants) for began in instants)
    assert most <= CALLS_IN_SPAN
