"""Follow the broker: pushed updates at once, and the whole order book every few seconds."""

import asyncio

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import BrokerError, StorageRejected, StorageUnavailable
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.clock import Clock
from pulse_domain.use_cases.book_facts import BookFacts, FactsReport
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileReport
from service_kit import Ids, bind, bound

log = structlog.get_logger(__name__)

_RETRY_S = 1.0


class BrokerSync:
    def __init__(
        self,
        broker: Broker,
        facts: BookFacts,
        reconcile: Reconcile,
        clock: Clock,
        wakeup: Wakeup,
        *,
        interval_s: float,
    ) -> None:
        self._broker = broker
        self._facts = facts
        self._reconcile = reconcile
        self._clock = clock
        self._wakeup = wakeup
        self._interval_s = interval_s
        # The first read and the leader's own must not run into one another.
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        with bound(worker="monitor"):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_updates(), name="broker-updates")
                group.create_task(self._read_book(), name="broker-book")

    async def first_read(self) -> None:
        """Read the book once, completely: before that nothing may be sent."""
        while True:
            try:
                async with self._reading:
                    report = await self._reconcile()
                if report.complete:
                    return
                log.warning("the order book is incomplete; nothing is sent yet")
            except (BrokerError, StorageUnavailable, StorageRejected) as error:
                log.warning("the order book cannot be read; nothing is sent yet", error=error.message)
            await self._clock.sleep(_RETRY_S)

    async def _follow_updates(self) -> None:
        while True:
            try:
                async for update in self._broker.updates():
                    _report_facts(await self._facts([update]))
            except (BrokerError, StorageUnavailable, StorageRejected) as error:
                # What was missed is in the next read of the book.
                log.warning("broker updates broke off", error=error.message)
                self._wakeup.call()
            await self._clock.sleep(_RETRY_S)

    async def _read_book(self) -> None:
        while True:
            try:
                async with self._reading:
                    report = await self._reconcile()
                _report(report)
            except (BrokerError, StorageUnavailable, StorageRejected) as error:
                log.warning("the order book cannot be read", error=error.message)
            await self._wakeup.wait(self._interval_s)


def _report(report: ReconcileReport) -> None:
    _report_facts(report.facts)
    if not report.complete:
        log.warning("the order book is incomplete; nothing is concluded from it")
    for name in ("released", "failed", "unresolved", "look_alikes"):
        for execution_id in getattr(report, name):
            log.error(f"unknown execution: {name}", execution_id=execution_id)


def _report_facts(facts: FactsReport) -> None:
    for row in facts.strangers:
        log.error("an order with our prefix that we do not know", broker_order_id=row.broker_order_id)
    for tracked in facts.flagged:
        with bind(Ids(tracked.order.request_id, tracked.order.trace_id)):
            log.error(
                "the broker contradicts what we thought",
                order_id=tracked.order.order_id,
                execution_id=tracked.execution.execution_id,
                flags=list(tracked.execution.flags),
            )
