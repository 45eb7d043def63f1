"""Brokers' postbacks: proven to be theirs, then no more than a hint.

What a postback says of an order is not read. The workers are told to read the order book, and facts come from
there only: a postback that is lost, doubled or sent again by somebody else changes nothing else.
"""

from pulse_adapters.zerodha.postbacks import BadPostback, WrongChecksum, read_postback
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue
from service_kit import ServiceError


class Postbacks:
    """zerodha_api_secret: None where that is not the broker, or its secret is not told."""

    def __init__(self, zerodha_api_secret: str | None, queue: WorkQueue) -> None:
        self._zerodha_api_secret = zerodha_api_secret
        self._queue = queue

    def take_zerodha(self, body: bytes) -> None:
        """Check a postback, and let the order book be read.

        Raises:
            ServiceError: NOT_FOUND, INVALID_REQUEST or FORBIDDEN; nothing was done.
        """
        if self._zerodha_api_secret is None:
            raise ServiceError("NOT_FOUND", "postbacks of zerodha are not configured")
        try:
            read_postback(body, self._zerodha_api_secret)
        except BadPostback as error:
            raise ServiceError("INVALID_REQUEST", str(error)) from error
        except WrongChecksum as error:
            raise ServiceError("FORBIDDEN", str(error)) from error
        self._queue.enqueue(Job(JobKind.RECONCILE))
