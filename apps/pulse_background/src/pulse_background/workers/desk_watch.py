"""Tell people when trading is halted or goes on, and when the broker's session ends or begins."""

from collections.abc import Awaitable, Callable

import structlog

from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity
from pulse_domain.ports.order_store import OrderStore, TradingState
from service_kit import bound

log = structlog.get_logger(__name__)

_LOOK_S = 2.0


class DeskWatch:
    """The leader's part; each change is told once, whoever made it. What it finds at its start is told where it
    stops trading.

    is_open: whether there is a session at the broker.
    """

    def __init__(
        self,
        store: OrderStore,
        is_open: Callable[[], Awaitable[bool]],
        clock: Clock,
        notify: Callable[[Notification], None],
        *,
        broker: str,
    ) -> None:
        self._store = store
        self._is_open = is_open
        self._clock = clock
        self._notify = notify
        self._broker = broker
        self._state = TradingState(halted=False)
        self._was_open = True

    async def run(self) -> None:
        with bound(worker="monitor"):
            while True:
                try:
                    await self.look()
                except (StorageUnavailable, StorageRejected) as error:
                    log.debug("the trading state cannot be read", error=error.message)
                await self._clock.sleep(_LOOK_S)

    async def look(self) -> None:
        """Look once.

        Raises:
            StorageUnavailable: nothing was told that is not so.
        """
        state = await self._store.trading_state()
        if state != self._state:
            if state.halted:
                self._tell_state(NotificationKind.HALT, Severity.HIGH, state)
            elif self._state.halted:
                self._tell_state(NotificationKind.RESUME, Severity.HIGH, state)
            self._state = state
        # The session is in the same store: where that does not answer, nothing is known of it.
        is_open = await self._is_open()
        if is_open is not self._was_open:
            self._was_open = is_open
            if is_open:
                parts, severity = {"there is one again": "sending goes on"}, Severity.LOW
            else:
                parts = {"there is no valid one": f"nothing is sent until `pulse broker login {self._broker}`"}
                severity = Severity.HIGH
            self._notify(
                Notification(kind=NotificationKind.SESSION, severity=severity, about=self._broker, parts=parts)
            )

    def _tell_state(self, kind: NotificationKind, severity: Severity, state: TradingState) -> None:
        parts = {"by": state.changed_by or "", "reason": state.reason or ""}
        if state.needs_reconcile:
            parts["until"] = "a reconcile is confirmed"
        self._notify(
            Notification(
                kind=kind, severity=severity, parts={name: value for name, value in parts.items() if value}
            )
        )
