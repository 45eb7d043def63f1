"""One case of the table of faults, run at a simulated broker."""

import asyncio
import os
from collections import Counter
from typing import Any

import asyncpg

from pulse_adapters.simulator.faults import FaultKind
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.status import ExecutionStatus, OrderState
from tests.integration.workers import broker_faults
from tests.integration.workers.broker_faults import SETTLE_S, SPEED, Act, FaultCase, Seen
from tests.integration.workers.faces import INFY, Face
from tests.integration.workers.trader import AWAY, Trader, settings_for, until

# Reads that a truncated book must outlast: two that count are further apart than five seconds.
_READS = 2 + round((SETTLE_S / SPEED + 5 + 1) / 0.5)
_SETTINGS = {
    "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": "0.1",
    "BROKER_SYNC_INTERVAL_SECONDS": "0.5",
    "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": "0.5",
    "TIMEOUT_MONITOR_INTERVAL_SECONDS": "1",
    "BROKER_CALL_TIMEOUT_SECONDS": "2",
    "SLICE_EXECUTION_TIMEOUT_MINUTES": "0.1",
    "UNKNOWN_SETTLE_SECONDS": str(SETTLE_S / SPEED),
}
_WRITES_GUIDE = os.environ.get("PULSE_WRITE_BROKER_FAULTS") == "1"


async def run_fault(name: str, face: Face, case: FaultCase, database: asyncpg.Pool, dsn: str) -> None:
    """Run one case at a face of this name, and hold what was seen against the table and the guide."""
    _calm(face)
    trader = Trader(face, database, settings_for(face, dsn, {**_SETTINGS, **case.settings}))
    await trader.prepare()

    async with trader.working():
        await _fill_one(trader)
        orders = await _run(trader, case)
    seen = await _look(trader, orders)

    summaries = [await trader.summary(order_id) for order_id in orders]
    assert Counter(summary.state for summary in summaries) == case.ends
    assert not any(summary.quantities.overfilled for summary in summaries)
    if OrderState.UNRESOLVED not in case.ends:
        assert sum(summary.quantities.filled for summary in summaries) == seen.filled, "we know what is true"
    sent = await trader.placements(orders)
    assert set(sent) == {execution.tag for execution in await trader.executions(orders)}
    assert (max(sent.values()) > 1) == case.is_sent_again
    assert seen.orders == case.at_broker
    _hold_against_guide(name, case, seen)


def _calm(face: Face) -> None:
    """INFY stands at 1500, and nothing goes wrong yet."""
    face.process.control("DELETE", "/faults")
    face.process.pin(str(INFY), "1500", "1499.90", "1500.00")


async def _fill_one(trader: Trader) -> None:
    order_id = await trader.order()
    await until(lambda: trader.are_done([order_id]))
    assert (await trader.summary(order_id)).state is OrderState.FILLED


async def _run(trader: Trader, case: FaultCase) -> list[OrderId]:
    process = trader.face.process
    if case.act is Act.CANCEL:
        orders = await _order(trader, case, limit_price=AWAY)
        await until(lambda: trader.are_open(orders))
        process.control("POST", "/faults", {"rules": case.rules})
        for order_id in orders:
            await trader.cancel(order_id)
    else:
        process.control("POST", "/faults", {"rules": case.rules})
        orders = await _order(trader, case)
    if case.act is Act.LOG_IN:
        await until(lambda: _has_struck(trader, FaultKind.EXPIRE_TOKEN))
        await trader.log_in()
    if case.act is Act.WHOLE_BOOK:
        await until(lambda: _has_struck(trader, FaultKind.TRUNCATE, _READS))
        [unknown] = await trader.executions(orders)
        assert (unknown.status, unknown.attempt) == (ExecutionStatus.UNKNOWN, 1)
        process.control("DELETE", "/faults")
    await until(lambda: trader.are_done(orders))
    return orders


async def _order(trader: Trader, case: FaultCase, **over: Any) -> list[OrderId]:
    return [await trader.order(**over) for _ in range(sum(case.ends.values()))]


async def _has_struck(trader: Trader, kind: FaultKind, times: int = 1) -> bool:
    standing = await asyncio.to_thread(trader.face.process.control, "GET", "/faults")
    return any(each["rule"]["kind"] == kind and each["struck"] >= times for each in standing)


async def _look(trader: Trader, orders: list[OrderId]) -> Seen:
    """Compare the broker's true book with what was asked for."""
    asked = {execution.tag: execution.planned_quantity for execution in await trader.executions(orders)}
    held: Counter[str] = Counter()
    rows = [row for row in trader.face.process.book() if asked.keys() & set(row["tags"])]
    for row in rows:
        [tag] = row["tags"]
        held[tag] += row["quantity"]
    assert all(quantity <= asked[tag] for tag, quantity in held.items()), "a slice is at the broker twice"
    return Seen(
        codes=frozenset(await trader.failed_calls(orders)),
        orders=len(rows),
        filled=sum(row["filled"] for row in rows),
    )


def _hold_against_guide(face: str, case: FaultCase, seen: Seen) -> None:
    if _WRITES_GUIDE:
        broker_faults.write(face, case, seen)
    told = broker_faults.read_cells(broker_faults.committed()).get((face, case.name))
    assert told == str(seen), f"{broker_faults.GUIDE} is stale: run `make docs-faults` and commit what changed"
