"""Clients as they ought to be: they ask again with the same key until they know, and note what they are told.

A client that has no answer knows nothing, so it never takes silence for a no.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx

from pulse.cluster_plan import Plan
from pulse.state import Secrets
from pulse.tokens import make_token
from tests.chaos.load import CLIENTS, HOOK_CLIENT, Door, Wish
from tests.chaos.timeline import Timeline
from tests.promise.invariants import Acknowledged, Halt

# A hook resends what it got no answer to, and Pulse knows the body for 30 s.
_HOOK_PATIENCE_S = 20.0
_PATIENCE_S = 60.0
_TIMEOUT_S = 4.0
_ADMIN = "operator"
_PAUSES_S = (1.0, 4.0)


class Clients:
    """All clients of a run, and the book of what they were told.

    crossed: called when the market is to meet the price of an order that was just asked to be cancelled.
    """

    def __init__(self, plan: Plan, secrets: Secrets, rng: Random, timeline: Timeline) -> None:
        self._url = url = plan.gateway
        self._order_api = plan.order_api
        self._operator = {"Authorization": f"Bearer {secrets.service_token}", "X-Operator": _ADMIN}
        self._rng = rng
        self._timeline = timeline
        self._hook = f"{url}/api/webhooks/tradingview/{secrets.webhook_secret}"
        until = datetime.now(UTC) + timedelta(hours=2)
        scopes = dict.fromkeys((*CLIENTS, HOOK_CLIENT), "orders:read orders:write") | {_ADMIN: "admin"}
        self._headers = {
            client: {
                "Authorization": "Bearer "
                + make_token(secrets.jwt_secret, client=client, scope=scope, expires_at=until)
            }
            for client, scope in scopes.items()
        }
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT_S, trust_env=False, limits=httpx.Limits(max_connections=50)
        )
        self.crossing: Callable[[], Awaitable[None]] | None = None
        self.acknowledged: list[Acknowledged] = []
        self.refused: set[tuple[str, str]] = set()
        self.cancelled: dict[str, datetime] = {}
        self.paused: dict[str, int] = {}
        self.halts: list[Halt] = []
        self.wrong: list[str] = []
        self.resent = 0
        self.unavailable = 0
        self._open: dict[str, str] = {}  # orders that rest until they are cancelled, and whose they are

    async def close(self) -> None:
        await self._http.aclose()

    async def wish(self, wish: Wish) -> None:
        """Place the order that is wished for, and cancel it when its time has come."""
        starts_at = datetime.now(UTC) - timedelta(seconds=wish.age_s)
        body = wish.body | ({"start_at": starts_at.isoformat()} if wish.age_s else {})
        told = await asyncio.gather(*(self._place(wish, body) for _ in range(wish.copies)))
        ids = {each.order_id for each in told if each is not None}
        if len(ids) > 1:
            self.wrong.append(f"{wish.name}: equal requests made {ids}")
        if not ids:
            return
        order_id = min(ids)
        if wish.body.get("order_type") == "LIMIT":
            self._open[order_id] = wish.client
        await asyncio.gather(self._pause_in_time(wish, order_id), self._cancel_in_time(wish, order_id))

    async def _pause_in_time(self, wish: Wish, order_id: str) -> None:
        if wish.pause_after_s is None:
            return
        await asyncio.sleep(wish.pause_after_s)
        if await self._operate(order_id, "pause"):
            self.paused[order_id] = self.paused.get(order_id, 0) + 1
            await asyncio.sleep(self._rng.uniform(*_PAUSES_S))
        await self._operate(order_id, "resume")

    async def _operate(self, order_id: str, what: str) -> bool:
        url = f"{self._order_api}/internal/orders/{order_id}/{what}"
        answer = await self._until_told(url, {"headers": self._operator}, _PATIENCE_S)
        if answer is not None and answer.status_code not in (200, 409):
            self.wrong.append(f"{what} of {order_id}: {answer.status_code} {answer.text}")
        done = answer is not None and answer.status_code == 200
        self._timeline.note(_ADMIN, f"{order_id}: {what} {'acknowledged' if done else 'not taken'}")
        return done

    async def _cancel_in_time(self, wish: Wish, order_id: str) -> None:
        if wish.cancel_after_s is None:
            return
        await asyncio.sleep(wish.cancel_after_s)
        if wish.is_crossed and self.crossing is not None:
            await self.crossing()
        await self.cancel(order_id, wish.client)

    async def cancel_what_rests(self) -> None:
        await asyncio.gather(*(self.cancel(order_id, client) for order_id, client in list(self._open.items())))

    async def cancel(self, order_id: str, client: str) -> None:
        answer = await self._until_told(
            f"{self._url}/api/orders/{order_id}/cancel", {"headers": self._headers[client]}, _PATIENCE_S
        )
        if answer is None:
            return
        if answer.status_code == 202:
            self.cancelled.setdefault(order_id, datetime.now(UTC))
            self._timeline.note(client, f"{order_id}: cancel acknowledged")
            self._open.pop(order_id, None)
        elif answer.status_code == 409:
            self._open.pop(order_id, None)  # done already
        else:
            self.wrong.append(f"cancel of {order_id}: {answer.status_code} {answer.text}")

    async def halt(self, seconds: float) -> list[str]:
        """Halt trading for a while; what was in flight when the halt was answered."""
        arguments = {"headers": self._headers[_ADMIN], "json": {"reason": "chaos"}}
        answer = await self._until_told(f"{self._url}/api/trading/halt", arguments, _PATIENCE_S)
        began_at = datetime.now(UTC)
        if answer is None or answer.status_code != 200:
            self.wrong.append(f"halt: {answer and answer.text}")
            return []
        in_flight = [str(each) for each in answer.json().get("in_flight", [])]
        self._timeline.note(_ADMIN, f"halt acknowledged, {len(in_flight)} in flight")
        await asyncio.sleep(seconds)
        self.halts.append(Halt(began_at=began_at, ended_at=datetime.now(UTC)))
        answer = await self._until_told(f"{self._url}/api/trading/resume", arguments, _PATIENCE_S)
        self._timeline.note(_ADMIN, "resumed")
        if answer is None or answer.status_code != 200:
            self.wrong.append(f"resume: {answer and answer.text}")
        return in_flight

    async def _place(self, wish: Wish, body: dict[str, Any]) -> Acknowledged | None:
        if wish.door is Door.WEBHOOK:
            url, arguments, patience_s = self._hook, {"json": body}, _HOOK_PATIENCE_S
        else:
            url = f"{self._url}/api/orders"
            arguments, patience_s = {"json": body, "headers": self._headers[wish.client]}, _PATIENCE_S
        deadline = time.monotonic() + patience_s
        while True:
            answer = await self._until_told(url, arguments, deadline - time.monotonic())
            if answer is None:
                return None
            if answer.status_code == 202:
                break
            error = answer.json()["error"]
            # Outages may have lasted until its start lies too far back.
            too_late = error["details"].get("field") == "start_at"
            if error["code"] != "TRADING_HALTED" and not too_late:
                self.wrong.append(f"{wish.name}: {answer.status_code} {answer.text}")
                return None
            if too_late or not wish.is_stubborn or time.monotonic() > deadline:
                self._timeline.note(wish.client, f"{wish.name} refused: {error['code']}")
                if "order_unique_key" in body and wish.copies == 1:
                    self.refused.add((wish.client, body["order_unique_key"]))
                return None
            await asyncio.sleep(0.5)
        told = answer.json()
        found = Acknowledged(
            client_id=wish.client, order_unique_key=told["order_unique_key"], order_id=told["order_id"]
        )
        self.acknowledged.append(found)
        self._timeline.note(wish.client, f"{found.order_id}: {wish.name} acknowledged")
        return found

    async def _until_told(
        self, url: str, arguments: dict[str, Any], patience_s: float
    ) -> httpx.Response | None:
        """Ask until there is an answer that says something; None where patience has run out."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                answer = await self._http.post(url, **arguments)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code < 500:
                return answer
            self.unavailable += answer is not None
            if answer is not None and answer.status_code != 503:
                self.wrong.append(f"{url.partition('/api/')[2]}: {answer.status_code} {answer.text}")
            if time.monotonic() > deadline:
                return None
            self.resent += 1
            await asyncio.sleep(self._rng.uniform(0.1, 0.4))
