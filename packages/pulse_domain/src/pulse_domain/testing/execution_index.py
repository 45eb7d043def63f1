"""Executions by what the store's steps look for, so that none of them has to look at all."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from datetime import datetime

from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.status import Phase

_Key = tuple[str, int, int]


class ExecutionIndex:
    """Holds each execution as it was put in last."""

    def __init__(self) -> None:
        self._by_phase: dict[Phase, dict[_Key, Execution]] = {phase: {} for phase in Phase}
        self._phases: dict[_Key, Phase] = {}
        # Instant, then place: the order in which they are claimed.
        self._planned: list[tuple[datetime, str, int, int]] = []
        self._tags: dict[str, _Key] = {}
        self._named: dict[_Key, tuple[datetime, BrokerOrderId]] = {}
        self._trading: dict[BrokerOrderId, dict[_Key, None]] = {}

    def put(self, execution: Execution) -> None:
        """Take in a new execution, or one that has changed."""
        key = (execution.order_id, execution.seq, execution.chunk)
        before, phase = self._phases.get(key), execution.phase
        if before is Phase.PLANNED:
            planned = (self._by_phase[before][key].due_at, *key)
            del self._planned[bisect_left(self._planned, planned)]
        if phase is Phase.PLANNED:
            insort(self._planned, (execution.due_at, *key))
        if before is not phase:
            if before is None:
                self._tags[execution.tag] = key
            else:
                del self._by_phase[before][key]
            self._phases[key] = phase
        self._by_phase[phase][key] = execution
        if execution.broker_order_id is not None:
            self._named[key] = (execution.due_at, execution.broker_order_id)
        for fill in execution.fills:
            self._trading.setdefault(fill.broker_order_id, {})[key] = None

    def drop(self, execution: Execution) -> None:
        """Forget an execution of which something was sent, or that ended before."""
        key = (execution.order_id, execution.seq, execution.chunk)
        phase = self._phases.pop(key)
        assert phase is not Phase.PLANNED, "a planned execution is not forgotten"
        del self._by_phase[phase][key], self._tags[execution.tag]
        self._named.pop(key, None)
        for fill in execution.fills:
            self._trading.get(fill.broker_order_id, {}).pop(key, None)

    def in_phases(self, phases: Iterable[Phase]) -> Iterator[Execution]:
        """Those that are in one of the phases."""
        for phase in phases:
            yield from self._by_phase[phase].values()

    def planned(self) -> Iterator[Execution]:
        """Those of which nothing was sent, by their instants; none may be changed meanwhile."""
        planned = self._by_phase[Phase.PLANNED]
        for _, order_id, seq, chunk in self._planned:
            yield planned[order_id, seq, chunk]

    def tagged(self, tags: Iterable[str]) -> list[Execution]:
        """Those that carry one of the tags."""
        keys = {self._tags[tag]: None for tag in tags if tag in self._tags}
        return [self._by_phase[self._phases[key]][key] for key in keys]

    def named_since(self, since: datetime) -> set[str]:
        """The broker order ids of those that were due since an instant."""
        return {broker_order_id for due_at, broker_order_id in self._named.values() if due_at >= since}

    def named(self, broker_order_ids: Iterable[str], since: datetime) -> list[Execution]:
        """Those of some broker order ids that were due since an instant."""
        wanted = set(broker_order_ids)
        return [
            self._by_phase[self._phases[key]][key]
            for key, (due_at, broker_order_id) in self._named.items()
            if due_at >= since and broker_order_id in wanted
        ]

    def trading_under(self, broker_order_id: BrokerOrderId) -> list[Execution]:
        """Those that have, or had, a trade of an order at the broker."""
        return [self._by_phase[self._phases[key]][key] for key in self._trading.get(broker_order_id, ())]
