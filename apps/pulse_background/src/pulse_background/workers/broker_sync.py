"""Follow the broker: pushed updates at once, and the whole order book every few seconds and on hints."""

import asyncio

import structlog

from pulse_background.alerts import Alerts
from pulse_background.wakeup import Wakeup
from pulse_domain.errors import BrokerError, StorageRejected, StorageUnavailable
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.clock import Clock
from pulse_domain.use_cases.book_facts import BookFacts, FactsReport
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileReport
from pulse_domain.use_cases.review import InspectBook
from service_kit import Ids, bind, bound

log = structlog.get_logger(__name__)

_RETRY_S = 1.0
# Hints come as often as orders change, and each of them means the whole book.
_HINT_PAUSE_S = 1.0


class BrokerSync:
    """inspect: told of all that is found, and asked about the store before each look.
    hints: called when somebody has heard that the book has changed.
    alerts: told of what people should hear of.
    """

    def __init__(
        self,
        broker: Broker,
        facts: BookFacts,
        reconcile: Reconcile,
        inspect: InspectBook,
        clock: Clock,
        hints: Wakeup,
        *,
        interval_s: float,
        alerts: Alerts | None = None,
    ) -> None:
        self._broker = broker
        self._facts = facts
        self._reconcile = reconcile
        self._inspect = inspect
        self._clock = clock
        self._hints = hints
        self._broke_off = Wakeup(clock)
        self._interval_s = interval_s
        self._alerts = alerts or Alerts()
        # The first read, the leader's own and those on hints must not run into one another.
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """The leader's part: updates, and the book at every interval."""
        with bound(worker="monitor"):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_updates(), name="broker-updates")
                group.create_task(self._follow_book(), name="broker-book")

    async def follow_hints(self) -> None:
        """Every process's part: a hint reaches one of them, and that need not be the leader."""
        with bound(worker="monitor"):
            while True:
                await self._hints.wait()
                await self._read_book()
                await self._clock.sleep(_HINT_PAUSE_S)

    async def watch_store(self) -> None:
        """Every process's part: who worked on a store that was since restored must not go by what it knew."""
        with bound(worker="monitor"):
            while True:
                await self._clock.sleep(self._interval_s)
                try:
                    async with self._reading:
                        await self._notice_restore()
                except (StorageUnavailable, StorageRejected) as error:
                    log.debug("the store cannot be asked which one it is", error=error.message)

    async def first_read(self) -> None:
        """Read the book once, completely: before that nothing may be sent."""
        while True:
            try:
                report = await self._look()
                _report(report)
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
                    facts = await self._facts([update])
                    if facts.nameless:
                        # Perhaps ours, and faster than the answer to its placement: the book has the tag.
                        self._hints.call()
                    self._inspect.saw(facts)
                    _report_facts(facts)
                    self._alerts.found(facts)
            except (BrokerError, StorageUnavailable, StorageRejected) as error:
                # What was missed is in the next read of the book.
                log.warning("broker updates broke off", error=error.message)
                self._broke_off.call()
            await self._clock.sleep(_RETRY_S)

    async def _follow_book(self) -> None:
        while True:
            await self._read_book()
            await self._broke_off.wait(self._interval_s)

    async def _read_book(self) -> None:
        try:
            _report(await self._look())
        except (BrokerError, StorageUnavailable, StorageRejected) as error:
            log.warning("the order book cannot be read", error=error.message)

    async def _look(self) -> ReconcileReport:
        async with self._reading:
            await self._notice_restore()
            report = await self._reconcile()
            # Before what may fail: what is booked is not new at the next look.
            self._alerts.reconciled(report)
            reason = await self._inspect(report)
            if reason is not None:
                log.error("trading is halted", reason=reason)
            return report

    async def _notice_restore(self) -> None:
        if await self._inspect.store_is_another():
            log.error("the store is another one than before; trading is halted until it is reconciled")
            self._reconcile.forget()


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
