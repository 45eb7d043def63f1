"""Orders on their way into the store, gathered while earlier ones are being committed.

An order that comes alone is sent at once. Those that come while a statement is under way share the next
one: one round trip and one commit for all of them, which is where the time of an acceptance goes.
"""

import asyncio
from typing import Any

import msgspec
import structlog

from pulse_adapters.postgres import steps
from pulse_adapters.postgres.pool import Database
from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.orders.journal import accepted_event
from pulse_domain.orders.model import FINGERPRINT_VERSION, NewOrder

# Two statements at once keep the server busy while the other one waits for its commit.
_STATEMENTS_MAX = 2
_ORDERS_MAX = 64

log = structlog.get_logger(__name__)

_encode = msgspec.json.encode
_Waiting = tuple[NewOrder, asyncio.Future[tuple[bool, bool]]]


class OrderInserts:
    def __init__(self, database: Database) -> None:
        self._db = database
        self._waiting: list[_Waiting] = []
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, new: NewOrder) -> tuple[bool, bool]:
        """Insert one order: whether it was stored (else its key is taken), and whether trading is halted.

        Raises:
            StorageUnavailable: nothing is known of what became of it.
            StorageRejected: a value cannot be stored.
        """
        done: asyncio.Future[tuple[bool, bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((new, done))
        if self._running < _STATEMENTS_MAX:
            self._running += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_ORDERS_MAX], self._waiting[_ORDERS_MAX:]
                await self._insert(batch)
        finally:
            self._running -= 1

    async def _insert(self, batch: list[_Waiting]) -> None:
        try:
            row = await self._db.fetchrow(steps.ACCEPT.sql, _accept_args([new for new, _ in batch]))
            assert row is not None, "the statement always gives one row"
        except StorageRejected as error:
            if len(batch) > 1:
                # One of them spoils the statement for the others: each gets its own.
                for one in batch:
                    await self._insert([one])
                return
            _fail(batch, error)
        except StorageUnavailable as error:
            _fail(batch, error)
        except BaseException as error:
            # Whatever it was, nobody may be left waiting. Those that wait for the next batch get one.
            log.error("orders could not be stored", exc_info=error)
            _fail(batch, StorageUnavailable())
            if not isinstance(error, Exception):
                _fail(self._waiting, StorageUnavailable())
                raise
        else:
            stored = set(row["stored"])
            for new, done in batch:
                if not done.done():
                    done.set_result((new.order_id in stored, row["halted"]))


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(error)


def _accept_args(orders: list[NewOrder]) -> list[Any]:
    # In the order of their keys, so that two statements with the same keys cannot wait for each other.
    orders = sorted(orders, key=lambda new: (new.client_id, new.order_unique_key))
    values = [order_values(new) for new in orders]
    columns = {name: [row[name] for row in values] for name in values[0]}
    return steps.ACCEPT.args(**columns, event=[_encode(accepted_event(new)).decode() for new in orders])


def order_values(new: NewOrder) -> dict[str, Any]:
    """What a new order brings along: columns of `orders`, and its window where that was moved."""
    request, terms, split = new.request, new.terms, new.request.split_config
    starts_at, ends_at = new.window or (None, None)
    return {
        "order_id": new.order_id,
        "client_id": new.client_id,
        "order_unique_key": new.order_unique_key,
        "fingerprint": new.fingerprint,
        "fingerprint_version": FINGERPRINT_VERSION,
        "instrument": str(request.instrument),
        "side": request.side,
        "total_quantity": request.total_quantity,
        "order_type": request.order_type,
        "limit_price": request.limit_price,
        "trigger_price": request.trigger_price,
        "product": request.product,
        "validity": request.validity,
        "strategy_tag": request.strategy_tag,
        "num_splits": split.num_splits if split else None,
        "duration_minutes": split.duration_minutes if split else None,
        "randomize": split.randomize if split else None,
        "start_at": request.start_at,
        "lot_size": terms.lot_size,
        "tick_size": terms.tick_size,
        "freeze_quantity": terms.freeze_quantity,
        "units_per_broker_quantity": terms.units_per_broker_quantity,
        "source": new.source,
        "request_id": new.request_id,
        "trace_id": new.trace_id,
        "window_starts_at": starts_at,
        "window_ends_at": ends_at,
        "kill_id": new.kill_id,
    }
