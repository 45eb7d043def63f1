"""Trip the kill switch at the day's loss, and see a kill to its end. Nothing here ever resumes trading."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import structlog

from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.ports.audit_log import AuditEntry, AuditLog
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity, Value
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.risk import ResultFacts
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.risk_gate import CHANNEL, DayResults
from pulse_domain.use_cases.square_off import LeftOpen, SquareOff, SquareOffReport
from service_kit import bound

log = structlog.get_logger(__name__)

ACTOR = "risk:daily-loss"
_LOOK_S = 1.0


class RiskWatch:
    """The leader's part.

    max_daily_loss: in rupees; at this loss after charges the kill switch trips. None: it does not by itself.
    square_off: None where positions are left as they are.
    result_s: between two looks at the result, which is made of all fills.

    It trips while trading goes on. A halt by a person stands as it is; a person who resumes while the result is
    still beyond the limit sees it trip again.
    """

    def __init__(
        self,
        store: OrderStore,
        results: DayResults,
        kill: KillTrading,
        square_off: SquareOff | None,
        clock: Clock,
        audit: AuditLog,
        notify: Callable[[Notification], None],
        *,
        max_daily_loss: Decimal | None,
        result_s: float = 5.0,
        result_max_age: timedelta = timedelta(seconds=30),
    ) -> None:
        self._store = store
        self._results = results
        self._kill = kill
        self._square_off = square_off
        self._clock = clock
        self._audit = audit
        self._notify = notify
        self._max_daily_loss = max_daily_loss
        self._result_s = result_s
        self._result_max_age = result_max_age
        self._result_due = 0.0
        self._is_known = True
        self._told: set[tuple[str, str]] = set()

    async def run(self) -> None:
        with bound(worker="monitor"):
            while True:
                try:
                    await self.look()
                except (StorageUnavailable, StorageRejected) as error:
                    log.warning("the risk watch is blind: the store does not answer", error=error.message)
                await self._clock.sleep(_LOOK_S)

    async def look(self) -> None:
        """Look once.

        Raises:
            StorageUnavailable: what was begun is gone on with at the next look.
        """
        if self._max_daily_loss is not None:
            await self._watch_result(self._max_daily_loss)
        if self._square_off is not None:
            report = await self._square_off()
            if report is not None:
                self._tell(report)

    async def _watch_result(self, max_loss: Decimal) -> None:
        state = await self._store.trading_state()
        if state.halted:
            if state.changed_by == ACTOR and await self._store.open_orders(1):
                # Whoever tripped it did not come to its end.
                await self._kill(ACTOR, state.reason or "")
            return
        if self._clock.monotonic() < self._result_due:
            return
        self._result_due = self._clock.monotonic() + self._result_s
        facts = (await self._results(self._clock.now())).facts
        self._note_known(facts)
        if facts is None or facts.net > -max_loss:
            return
        reason = f"the day's result is {facts.net:.2f} after charges, the limit is -{max_loss}"
        log.error("the kill switch trips", reason=reason)
        await self._record("tripped", reason)
        report = await self._kill(ACTOR, reason)
        await self._record("killed", f"{report.cancelled} orders are to be cancelled")
        self._notify(
            Notification(
                kind=NotificationKind.RISK,
                severity=Severity.HIGH,
                about="the kill switch has tripped",
                parts={"why": reason, "orders being cancelled": report.cancelled, "resumes": "a person only"},
            )
        )

    def _note_known(self, facts: ResultFacts | None) -> None:
        is_known = facts is not None and self._clock.now() - facts.at <= self._result_max_age
        if is_known is not self._is_known:
            self._is_known = is_known
            if is_known:
                log.info("the day's result is known again")
            else:
                log.error("the day's result is not known: the kill switch cannot trip by it")
                self._notify(
                    Notification(
                        kind=NotificationKind.RISK,
                        severity=Severity.HIGH,
                        about="the day's result is not known",
                        parts={"so": "the kill switch cannot trip by it"},
                    )
                )

    def _tell(self, report: SquareOffReport) -> None:
        for closing in report.ordered:
            log.warning(
                "a position is being squared off",
                kill=report.kill_id,
                instrument=str(closing.instrument),
                units=closing.units,
                order_id=closing.order_id,
            )
            self._say(
                str(closing.instrument),
                {"squared off": closing.units, "product": str(closing.product), "order": closing.order_id},
            )
        for left in report.left:
            self._tell_left(report.kill_id, left)

    def _tell_left(self, kill_id: str, left: LeftOpen) -> None:
        what = (kill_id, f"{left.instrument} {left.product} {left.why}")
        if what in self._told:
            return
        self._told.add(what)
        log.error(
            "a position stays open after the kill: close it by hand",
            kill=kill_id,
            instrument=str(left.instrument),
            product=str(left.product),
            units=left.units,
            why=left.why,
        )
        self._say(
            str(left.instrument),
            {"stays open": left.units, "product": str(left.product), "why": left.why, "for": "a person"},
        )

    def _say(self, about: str, parts: dict[str, Value]) -> None:
        self._notify(Notification(kind=NotificationKind.RISK, severity=Severity.HIGH, about=about, parts=parts))

    async def _record(self, outcome: str, detail: str) -> None:
        entry = AuditEntry(
            channel=CHANNEL, actor=ACTOR, place="leader", action="kill", outcome=outcome, detail=detail
        )
        try:
            await self._audit.record(entry)
        except (StorageUnavailable, StorageRejected) as error:
            # The halt itself is on record with its reason; it must not wait for this.
            log.error("the audit log does not take an entry", error=error.message, outcome=outcome)
