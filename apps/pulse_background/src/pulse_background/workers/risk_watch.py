"""Trip the kill switch at the day's loss, and see a kill to its end. Nothing here ever resumes trading."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import structlog

from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.ports.audit_log import AuditEntry, AuditLog
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity, Value
from pulse_domain.ports.order_store import OrderStore, TradingState
from pulse_domain.risk import ResultFacts
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.risk_gate import CHANNEL
from pulse_domain.use_cases.square_off import LeftOpen, SquareOff, SquareOffReport
from service_kit import bound

log = structlog.get_logger(__name__)

ACTOR = "risk:daily-loss"
_LOOK_S = 1.0


class KnownFigures(Protocol):
    """Of a day, as `positions.DayFigures` tells them."""

    @property
    def facts(self) -> ResultFacts | None: ...

    @property
    def known(self) -> Decimal: ...

    @property
    def is_open(self) -> bool: ...


class DayFigures(Protocol):
    async def __call__(self, at: datetime, /) -> KnownFigures: ...


class RiskWatch:
    """The leader's part.

    max_daily_loss: in rupees; at this loss after charges the kill switch trips, as far as it is known: what is
        not known hides no loss beside it. None: it does not by itself.
    square_off: None where positions are left as they are.
    result_s: between two looks at the result, which is made of all fills.

    result_max_age: for how long the result may be unknown, while anything is open, before people are told.

    It trips once, until a person resumes; who resumes while the result is still beyond the limit sees it trip
    again. A halt by a person keeps it from tripping only where nothing is left to cancel or to square off.
    """

    def __init__(
        self,
        store: OrderStore,
        results: DayFigures,
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
        self._unknown_since: float | None = None
        self._told_unknown = False
        self._has_tripped = False
        # Of its own trip: whether people, and the audit log, are still to learn that trading is halted.
        self._untold = False
        self._unrecorded = False
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
            if state.changed_by == ACTOR:
                self._has_tripped = True
                await self._see_through(state.reason or "")
                return
        else:
            # A halt that did not come about is asked for anew.
            self._untold = self._unrecorded = False
            self._has_tripped = False
        if self._clock.monotonic() < self._result_due:
            return
        self._result_due = self._clock.monotonic() + self._result_s
        figures = await self._results(self._clock.now())
        is_known = await self._note_known(figures)
        if figures.known > -max_loss or (state.halted and not await self._is_left_to_do(state, figures)):
            return
        told = "the day's result" if is_known else "what is known of the day's result"
        reason = f"{told} is {figures.known:.2f} after charges, the limit is -{max_loss}"
        log.error("the kill switch trips", reason=reason)
        await self._record("tripped", reason)
        self._untold = self._unrecorded = True
        # Until it is answered, the next look is to judge at once.
        self._result_due = 0.0
        await self._kill.stop(ACTOR, reason)
        self._has_tripped = True
        self._tell_trip(reason)
        count = await self._kill.cancel(ACTOR)
        await self._record_kill(f"trading is halted, {count} orders are to be cancelled")

    async def _see_through(self, reason: str) -> None:
        """Go on with a kill of its own that was cut off."""
        self._tell_trip(reason)
        if await self._store.open_orders(1):
            await self._kill(ACTOR, reason)
        await self._record_kill("trading is halted, what was open is to be cancelled")

    def _tell_trip(self, reason: str) -> None:
        """Once, as soon as trading is known to be halted: whatever becomes of the cancels."""
        if not self._untold:
            return
        self._untold = False
        self._notify(
            Notification(
                kind=NotificationKind.RISK,
                severity=Severity.HIGH,
                about="the kill switch has tripped",
                parts={"why": reason, "now": "open orders are being cancelled", "resumes": "a person only"},
            )
        )

    async def _record_kill(self, detail: str) -> None:
        if self._unrecorded:
            self._unrecorded = not await self._record("killed", detail)

    async def _is_left_to_do(self, state: TradingState, figures: KnownFigures) -> bool:
        """Whether a kill would do more than the halt of somebody else has done.

        Whoever halts after it has tripped has taken over.
        """
        if self._has_tripped:
            return False
        if self._square_off is not None and state.kill_id is None and figures.is_open:
            return True
        return bool(await self._store.open_orders(1))

    async def _note_known(self, figures: KnownFigures) -> bool:
        """Whether all of the result is known; people are told where it has not been for too long."""
        now, facts = self._clock.monotonic(), figures.facts
        if facts is not None and self._clock.now() - facts.at <= self._result_max_age:
            if self._told_unknown:
                log.info("the day's result is known again")
            self._unknown_since, self._told_unknown = None, False
            return True
        if self._unknown_since is None:
            self._unknown_since = now
        is_long = now - self._unknown_since >= self._result_max_age.total_seconds()
        if is_long and not self._told_unknown and (figures.is_open or await self._store.open_orders(1)):
            self._told_unknown = True
            known = f"{figures.known:.2f}"
            log.error("the day's result is not known: the kill switch goes by what is known of it", known=known)
            self._say(
                "the day's result is not known",
                {"so": "the kill switch goes by what is known of it", "known": known},
            )
        return False

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

    async def _record(self, outcome: str, detail: str) -> bool:
        """Whether the audit log has taken it."""
        entry = AuditEntry(
            channel=CHANNEL, actor=ACTOR, place="leader", action="kill", outcome=outcome, detail=detail
        )
        try:
            await self._audit.record(entry)
        except (StorageUnavailable, StorageRejected) as error:
            # The halt itself is on record with its reason; it must not wait for this.
            log.error("the audit log does not take an entry", error=error.message, outcome=outcome)
            return False
        return True
