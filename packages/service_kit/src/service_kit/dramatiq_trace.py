"""Carries the ids over the queue, from the code that sends a message to the actor that runs it."""

from typing import Any

import dramatiq

from service_kit import trace


class CarryIds(dramatiq.Middleware):
    """Stamp the current ids on every message, and run its actor under them.

    Put it first in the broker's list: Dramatiq runs after-hooks in reverse order, so the ids then outlast the
    retries and follow-up messages that other middleware sends. An asyncio actor sees them as well.
    """

    def before_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int) -> None:
        # A retry is the same message, and keeps the ids of its first sending.
        ids = trace.current() or trace.adopt(None, None)
        message.options.setdefault("request_id", ids.request_id)
        message.options.setdefault("trace_id", ids.trace_id)

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        trace.CURRENT.set(trace.adopt(message.options.get("request_id"), message.options.get("trace_id")))

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        # A worker thread has no ids of its own to go back to.
        trace.CURRENT.set(None)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        trace.CURRENT.set(None)
