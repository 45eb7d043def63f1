"""Two hundred slices of one second, sent by two background processes at the rate that the broker takes."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pulse_adapters.clock import SystemClock
from pulse_domain.orders.status import OrderState
from pulse_domain.splitting import PaceLimits
from tests.integration.workers.faces import INFY, Face, start_kite
from tests.integration.workers.trader import AWAY, Trader, settings_for, until

ORDERS = 200
PER_SECOND = PaceLimits().per_second
# Of a seed whose clock is off by most of half a second.
SEED = 2


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    """A broker with delays, limits and a clock of its own."""
    face = start_kite(tmp_path, seed=SEED, delays=True, limits=True)
    face.process.pin(str(INFY), "1500", "1499.90", "1500.00")
    yield face
    face.process.stop()


async def test_200_slices_of_one_second_meet_no_429_and_a_cancel_goes_first(
    face: Face, database: asyncpg.Pool, migrated_dsn: str, redis_url: str
) -> None:
    process = face.process
    assert 0.2 < abs(process.control("GET")["clock_offset_s"]) < 0.8
    trader = Trader(face, database, settings_for(face, migrated_dsn, {"REDIS_URL": redis_url}))
    await trader.prepare()

    async with trader.working(processes=2):
        resting = await trader.order(limit_price=AWAY)
        await until(lambda: trader.are_open([resting]))
        due_at = (SystemClock().now() + timedelta(seconds=4)).replace(microsecond=0)
        orders = await asyncio.gather(*(trader.order(start_at=due_at) for _ in range(ORDERS)))
        await until(lambda: _are_placed(face, 1 + ORDERS // 4))
        await trader.cancel(resting)
        placed_by_then = len(_placements(await _calls(face)))
        await until(lambda: trader.are_done([resting, *orders]))

    calls = await _calls(face)
    assert 429 not in {call["status"] for call in calls}
    placements = _placements(calls)
    assert {call["status"] for call in placements} == {200}
    tags = {execution.tag for execution in await trader.executions(orders)}
    assert Counter(call["tag"] for call in placements[1:]) == dict.fromkeys(tags, 1)
    assert len(tags) == ORDERS
    assert Counter(tag for order in process.book()[1:] for tag in order["tags"]) == dict.fromkeys(tags, 1)
    assert {(await trader.summary(order_id)).state for order_id in orders} == {OrderState.FILLED}

    assert (await trader.summary(resting)).state is OrderState.CANCELLED
    first_cancel = next(number for number, call in enumerate(calls) if call["call"] == "cancel")
    # Only what had leave by then can come before it: no more than the limiter lets go in a second.
    assert len(_placements(calls[:first_cancel])) <= placed_by_then + PER_SECOND
    assert len(_placements(calls[first_cancel:])) >= ORDERS // 2


async def _calls(face: Face) -> list[dict[str, Any]]:
    """What the broker was asked, in the order of its coming."""
    calls: list[dict[str, Any]] = await asyncio.to_thread(face.process.control, "GET", "/calls")
    return calls


def _placements(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [call for call in calls if call["call"] == "place"]


async def _are_placed(face: Face, count: int) -> bool:
    return len(_placements(await _calls(face))) >= count
