"""What people are told of what the loops find, put into notifications."""

from collections.abc import Callable, Iterable, Mapping

from pulse_domain.orders import events as ev
from pulse_domain.orders.model import Order
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity, Value
from pulse_domain.traffic import BreakerState
from pulse_domain.use_cases.book_facts import FactsReport
from pulse_domain.use_cases.monitor import MonitorReport
from pulse_domain.use_cases.reconcile import ReconcileReport

Notify = Callable[[Notification], None]
_Parts = dict[str, Value]


def _fill(event: ev.ExecutionFilled) -> _Parts:
    return {"quantity": event.fill.quantity, "price": event.fill.price}


def _running_total(event: ev.ExecutionCumulativeReported) -> _Parts:
    return {"in all": event.quantity, "average": event.average_price}


def _rejection(event: ev.ExecutionRejected) -> _Parts:
    return {"reason": f"{event.reason_code} {event.message}".strip()}


_KINDS = NotificationKind
# Which events people hear of, and how they are told. The rest is routine, or told by a report.
_BOOKED: Mapping[type, tuple[NotificationKind, Severity, Callable[..., _Parts]]] = {
    ev.ExecutionFilled: (_KINDS.FILL, Severity.LOW, _fill),
    # The broker's total, until its trades explain it.
    ev.ExecutionCumulativeReported: (_KINDS.FILL, Severity.LOW, _running_total),
    ev.ExecutionRejected: (_KINDS.REJECT, Severity.HIGH, _rejection),
    ev.ExecutionFillBusted: (
        _KINDS.ANOMALY,
        Severity.HIGH,
        lambda event: {"the exchange took back trade": event.trade_id},
    ),
    ev.ExecutionUnanswered: (
        _KINDS.ANOMALY,
        Severity.LOW,
        lambda event: {"no answer, it is being looked for": event.reason},
    ),
}


class Alerts:
    """Called by the loops; `notify` never waits and never raises, so neither does anything here.

    The order book is read every few seconds, and what it holds is told once.
    """

    def __init__(self, notify: Notify = lambda notification: None) -> None:
        self._notify = notify
        self._told = set[tuple[str, str]]()
        self._clock_is_right = True

    def booked(self, order: Order, event: ev.AnyExecutionEvent) -> None:
        """Something new of an execution was stored."""
        row = _BOOKED.get(type(event))
        if row is None:
            return
        kind, severity, parts_of = row
        side = {"side": str(order.request.side)} if kind in (_KINDS.FILL, _KINDS.REJECT) else {}
        self._tell(
            kind,
            severity,
            str(order.request.instrument),
            {**side, **parts_of(event), "order": order.order_id, "slice": event.seq},
        )

    def found(self, facts: FactsReport) -> None:
        """The broker has told something of its orders."""
        for row in facts.strangers:
            if self._is_new("stranger", row.broker_order_id):
                self._anomaly(
                    str(row.instrument),
                    {
                        "an order of ours that we do not know": row.broker_order_id,
                        "side": str(row.side),
                        "quantity": row.quantity,
                    },
                )
        for tracked in facts.flagged:
            flags = " ".join(tracked.execution.flags)
            self._anomaly(
                str(tracked.order.request.instrument),
                {
                    "the broker contradicts what we thought": flags,
                    "execution": tracked.execution.execution_id,
                },
            )

    def reconciled(self, report: ReconcileReport) -> None:
        """The order book was read."""
        self.found(report.facts)
        for execution_id in report.look_alikes:
            if self._is_new("look-alike", execution_id):
                self._anomaly("", {"in doubt, and an order that could be it": execution_id})
        self._executions(_KINDS.UNRESOLVED, report.unresolved)
        self._executions(_KINDS.UNSENT, report.failed)

    def monitored(self, report: MonitorReport) -> None:
        """Time alone has ended something."""
        if report.lapsed:
            self._tell(_KINDS.UNSENT, Severity.HIGH, "", {"executions": report.lapsed})

    def not_split(self, order: Order) -> None:
        """An order has no valid plan: nothing of it is sent."""
        self._tell(
            _KINDS.UNSENT,
            Severity.HIGH,
            str(order.request.instrument),
            {"order": order.order_id, "why": "it cannot be split"},
        )

    def breaker(self, state: BreakerState) -> None:
        if state is BreakerState.OPEN:
            told = "the broker does not answer; placements are held back"
            self._tell(_KINDS.BREAKER, Severity.HIGH, "", {"open": told})
        elif state is BreakerState.CLOSED:
            self._tell(_KINDS.BREAKER, Severity.LOW, "", {"closed": "placements go on"})

    def clock(self, is_right: bool) -> None:
        """Whether this process's clock counts as right, as far as is known now."""
        if is_right is self._clock_is_right:
            return
        self._clock_is_right = is_right
        if is_right:
            self._tell(_KINDS.CLOCK, Severity.LOW, "", {"a worker": "right again"})
        else:
            self._tell(_KINDS.CLOCK, Severity.HIGH, "", {"a worker": "off; it sends nothing until it is right"})

    def _executions(self, kind: NotificationKind, execution_ids: Iterable[str]) -> None:
        for execution_id in execution_ids:
            self._tell(kind, Severity.HIGH, "", {"execution": execution_id})

    def _anomaly(self, about: str, parts: _Parts) -> None:
        self._tell(_KINDS.ANOMALY, Severity.HIGH, about, parts)

    def _is_new(self, what: str, name: str) -> bool:
        if (what, name) in self._told:
            return False
        self._told.add((what, name))
        return True

    def _tell(self, kind: NotificationKind, severity: Severity, about: str, parts: _Parts) -> None:
        self._notify(Notification(kind=kind, severity=severity, about=about, parts=parts))
