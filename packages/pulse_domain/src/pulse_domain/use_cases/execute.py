"""Send a claimed execution to the broker, and say what came of it.

The claim made it durable that the order may be sent. What follows is one call and one event: a definite
yes, a definite no, "certainly not sent", or silence. Silence is never taken for a no.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from pulse_domain.errors import BrokerError, BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.orders import events as ev
from pulse_domain.orders.events import storable
from pulse_domain.ports.broker import Broker, OrderTicket
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import Booking, BrokerCall, Claim


class ExecuteSettings(Struct, frozen=True, kw_only=True):
    """call_timeout_s: the hard deadline of a call at the broker; the lease must outlive it.
    retry_after_s: the wait after "certainly not sent", doubled at each attempt up to `retry_after_max_s`; the
    order's window bounds the retries."""

    executor: str
    call_timeout_s: float = 10.0
    lease_s: float = 120.0
    retry_after_s: float = 1.0
    retry_after_max_s: float = 30.0


DEADLINE_PASSED = "DEADLINE_PASSED"


class ExecuteSlice:
    def __init__(self, broker: Broker, clock: Clock, settings: ExecuteSettings) -> None:
        self._broker = broker
        self._clock = clock
        self._settings = settings

    async def __call__(self, claim: Claim, claimed_at: float) -> Booking:
        """Place the order of a claim; call it at most once per claim.

        claimed_at: `Clock.monotonic` from before the claim statement was sent.
        """
        execution = claim.execution
        place = {"seq": execution.seq, "chunk": execution.chunk}
        fence = {**place, "attempt": execution.attempt}
        lease_left = claim.lease_s - (self._clock.monotonic() - claimed_at)
        window_left = (execution.expires_at - store_now(claim, lease_left)).total_seconds()
        if lease_left < self._settings.call_timeout_s or window_left <= 0:
            # Too late for the order's window, or to be sure that the call ends within the lease.
            return Booking(
                order_id=execution.order_id,
                event=ev.ExecutionReleased(
                    **fence, reason=DEADLINE_PASSED, not_before=store_now(claim, lease_left)
                ),
            )
        ticket = ticket_of(claim)
        began_at, began = self._clock.now(), self._clock.monotonic()
        error: BrokerError | None = None
        event: ev.AnyExecutionEvent
        try:
            # Whoever sends looks at the deadline last: a process that is stopped before that sends nothing
            # after the window.
            timeout_s = min(self._settings.call_timeout_s, window_left)
            broker_order_id = await self._broker.place(ticket, timeout_s=timeout_s)
            event = ev.ExecutionAccepted(**place, broker_order_id=broker_order_id)
        except BrokerRejected as refused:
            error = refused
            event = ev.ExecutionRejected(
                **place, reason_code=storable(refused.reason_code), message=storable(refused.message)
            )
        except BrokerUnavailable as unavailable:
            error = unavailable
            doubled = self._settings.retry_after_s * 2.0 ** min(execution.attempt - 1, 30)
            wait = timedelta(seconds=min(doubled, self._settings.retry_after_max_s))
            not_before = self._store_now(claim, claimed_at) + wait
            event = ev.ExecutionReleased(
                **fence, reason=storable(unavailable.reason_code), not_before=not_before
            )
        except BrokerOutcomeUnknown as unknown:
            error = unknown
            ended_at = self._store_now(claim, claimed_at) if unknown.call_ended else None
            event = ev.ExecutionUnanswered(
                **fence, reason=storable(unknown.reason_code), call_ended_at=ended_at
            )
        call = self._record(ticket, began_at, began, event, error)
        # What was refused, or got no answer, is on the record too.
        answer = call.answer or {"place_error": call.error}
        return Booking(order_id=execution.order_id, event=event, call=call, answer=answer)

    def _store_now(self, claim: Claim, claimed_at: float) -> datetime:
        return store_now(claim, claim.lease_s - (self._clock.monotonic() - claimed_at))

    def _record(
        self,
        ticket: OrderTicket,
        began_at: datetime,
        began: float,
        event: ev.AnyExecutionEvent,
        error: BrokerError | None,
    ) -> BrokerCall:
        answer = None
        if isinstance(event, ev.ExecutionAccepted):
            answer = {"broker_order_id": event.broker_order_id}
        return BrokerCall(
            broker=self._broker.name,
            operation="place",
            began_at=began_at,
            duration_ms=round((self._clock.monotonic() - began) * 1000),
            request={
                "tag": ticket.tag,
                "instrument": str(ticket.instrument),
                "side": ticket.side,
                "quantity": ticket.quantity,
                "order_type": ticket.order_type,
            },
            answer=answer,
            error=storable(f"{error.reason_code}: {error.message}") if error else None,
        )


def store_now(claim: Claim, lease_left_s: float) -> datetime:
    """The present instant by the store's clock, which set the lease: the worker's own may differ."""
    assert claim.execution.lease_until is not None, "a claim has a lease"
    return claim.execution.lease_until - timedelta(seconds=lease_left_s)


def ticket_of(claim: Claim) -> OrderTicket:
    """The order at the broker, by the terms stored with the parent order."""
    request = claim.order.request
    assert request.product is not None, "a stored request is normalised"
    return OrderTicket(
        tag=claim.execution.tag,
        instrument=request.instrument,
        side=request.side,
        quantity=claim.execution.quantity,
        order_type=request.order_type,
        product=request.product,
        validity=request.validity,
        limit_price=request.limit_price,
        trigger_price=request.trigger_price,
        terms=claim.order.terms,
    )
