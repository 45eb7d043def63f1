"""What a user has lived through with the widest order bridge there is, and will not live through here.

Each test does what was done to that one: equal posts, a kill after alerts were acknowledged, a kill in the
middle of a split order, a broker that takes the order and says nothing, and a burst of orders at once. The
processes are real, the exchange is one of them, and its own book decides.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest_asyncio

from pulse.tokens import make_token
from tests.chaos.deployment import Deployment, until
from tests.chaos.timeline import Timeline

DONE_S = 90.0
ALERTS = 20
SLICES = 30
BURST, BURST_CLIENTS = 100, 8


class Desk:
    """A deployment as a client of it sees it, and the exchange's book beside it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        token = make_token(
            deployment.secrets.jwt_secret,
            client="desk",
            scope="orders:read orders:write",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        self.http = httpx.AsyncClient(
            base_url=deployment.plan.gateway, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        hook = make_token(
            deployment.secrets.jwt_secret,
            client="demo",
            scope="orders:read",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        self.hook_headers = {"Authorization": f"Bearer {hook}"}

    async def place(self, key: str, **over: Any) -> httpx.Response:
        body = {
            "order_unique_key": key,
            "instrument": "NSE:TCS",
            "side": "BUY",
            "product": "MIS",
            "total_quantity": 5,
        }
        return await self.http.post("/api/orders", json=body | over)

    async def show(self, order_id: str, **headers: str) -> dict[str, Any]:
        answer = await self.http.get(f"/api/orders/{order_id}", headers=headers)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    async def executions(self, order_id: str, **headers: str) -> list[dict[str, Any]]:
        answer = await self.http.get(f"/api/orders/{order_id}/slices", headers=headers)
        slices = answer.raise_for_status().json()["slices"]
        return [execution for each in slices for execution in each["executions"]]

    async def done(self, order_id: str, **headers: str) -> dict[str, Any]:
        async def is_done() -> bool:
            try:
                return bool((await self.show(order_id, **headers))["done"])
            except httpx.HTTPError:  # the gateway is on its way back
                return False

        assert await until(is_done, DONE_S), f"{order_id} is not done"
        return await self.show(order_id, **headers)

    async def rows(self, executions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The exchange's own rows of these executions."""
        tags = {execution["tag"] for execution in executions}
        book = await self.deployment.surely("GET", "/book")
        return [row for row in book["orders"] if tags & set(row["tags"])]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk() -> AsyncIterator[Desk]:
    deployment = Deployment(1, Timeline(), 2, {"SLICE_GRACE_SECONDS": "60"})
    try:
        await deployment.start()
        made = Desk(deployment)
        async with made.http:
            yield made
    finally:
        await deployment.close()
        shutil.rmtree(deployment.folder)


async def test_three_equal_posts_make_one_order_at_the_broker(desk: Desk) -> None:
    answers = [await desk.place("thrice") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 202]
    [order_id] = {answer.json()["order_id"] for answer in answers}
    assert (await desk.done(order_id))["state"] == "FILLED"
    assert len(await desk.rows(await desk.executions(order_id))) == 1


async def test_kill_9_after_20_acknowledged_alerts_loses_none(desk: Desk) -> None:
    deployment = desk.deployment
    url = f"/api/webhooks/tradingview/{deployment.secrets.webhook_secret}"
    # The hook's default split spreads each over a minute, most of which has passed.
    began = (datetime.now(UTC) - timedelta(seconds=45)).isoformat()
    alert = {"symbol": "INFY", "action": "buy", "product": "MIS", "start_at": began}
    answers = [await desk.http.post(url, json=alert | {"quantity": n}) for n in range(1, ALERTS + 1)]
    killed = await asyncio.gather(*(member.kill() for member in deployment.members.values()))

    assert {answer.status_code for answer in answers} == {202}
    assert all(killed)
    for number, answer in enumerate(answers, start=1):
        order_id = answer.json()["order_id"]
        shown = await desk.done(order_id, **desk.hook_headers)
        rows = await desk.rows(await desk.executions(order_id, **desk.hook_headers))
        assert (shown["state"], shown["quantities"]["filled"]) == ("FILLED", number)
        assert sum(row["quantity"] for row in rows) == number, "once each"


async def test_kill_9_in_the_middle_of_a_30_slice_order_completes_it_once_each(desk: Desk) -> None:
    split = {"num_splits": SLICES, "duration_minutes": 1, "randomize": False}
    began = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    order_id = (
        await desk.place("thirty", total_quantity=SLICES * 10, split_config=split, start_at=began)
    ).json()["order_id"]

    async def some_are_sent() -> bool:
        return len(await desk.rows(await desk.executions(order_id))) >= SLICES // 3

    assert await until(some_are_sent, DONE_S, every_s=0.05)
    at_kill = len(await desk.rows(await desk.executions(order_id)))
    services = ("gapi", "pulse_api", *desk.deployment.worker_names)
    await asyncio.gather(*(desk.deployment.members[name].kill() for name in services))
    shown = await desk.done(order_id)
    executions = await desk.executions(order_id)
    rows = await desk.rows(executions)

    assert at_kill < SLICES, "the kill came in the middle"
    assert (shown["state"], shown["quantities"]["filled"]) == ("FILLED", SLICES * 10)
    assert Counter(tag for row in rows for tag in row["tags"]) == dict.fromkeys(
        (execution["tag"] for execution in executions), 1
    )
    assert [row["filled"] for row in rows] == [10] * SLICES


async def test_a_broker_that_accepts_and_never_answers_ends_with_one_live_order_found_by_its_tag(
    desk: Desk,
) -> None:
    rule = {"kind": "hang_after", "call": "place", "seconds": [120, 120]}
    await desk.deployment.surely("POST", "/faults", {"rules": [rule]})
    # Far below the market, so that it rests.
    placed = await desk.place("silent", instrument="NSE:SBIN", order_type="LIMIT", limit_price="1.00")
    order_id = placed.json()["order_id"]

    async def is_found() -> bool:
        executions = await desk.executions(order_id)
        return bool(executions) and executions[0]["status"] == "OPEN"

    assert await until(is_found, DONE_S), await desk.executions(order_id)
    [execution] = await desk.executions(order_id)
    [row] = await desk.rows([execution])
    calls = await desk.deployment.surely("GET", "/calls")
    answers = [call["status"] for call in calls if call["tag"] == execution["tag"]]
    assert (row["status"], row["order_id"], row["tags"][0]) == (
        "OPEN",
        execution["broker_order_id"],
        execution["tag"],
    )
    assert execution["attempt"] == 1
    assert answers == [0], "one call, and it was never answered"


async def test_100_orders_of_8_clients_at_once_are_all_accepted_and_paced(desk: Desk) -> None:
    calls_before = len(await desk.deployment.surely("GET", "/calls"))
    limit = asyncio.Semaphore(BURST_CLIENTS)

    async def place(number: int) -> httpx.Response:
        async with limit:
            return await desk.place(f"burst-{number}")

    answers = await asyncio.gather(*(place(number) for number in range(BURST)))

    assert Counter(answer.status_code for answer in answers) == {202: BURST}
    ids = [answer.json()["order_id"] for answer in answers]
    assert len(set(ids)) == BURST
    states = [(await desk.done(order_id))["state"] for order_id in ids]
    executions = [execution for order_id in ids for execution in await desk.executions(order_id)]
    calls = (await desk.deployment.surely("GET", "/calls"))[calls_before:]
    placed = [call for call in calls if call["call"] == "place"]
    assert states == ["FILLED"] * BURST
    assert len(await desk.rows(executions)) == BURST
    assert Counter(call["tag"] for call in placed) == dict.fromkeys((e["tag"] for e in executions), 1)
    assert 429 not in {call["status"] for call in placed}, "the exchange takes 10 in a second"
