"""Hints to the workers. Rows in the store are the truth: a lost, doubled or late hint changes nothing
but how soon the work is seen."""

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from pulse_domain.orders.ids import OrderId


class JobKind(StrEnum):
    SPLIT_ORDER = "split_order"
    CANCEL_ORDER = "cancel_order"
    RECONCILE = "reconcile"


class Job(Struct, frozen=True):
    kind: JobKind
    order_id: OrderId | None = None


class WorkQueue(Protocol):
    def enqueue(self, job: Job) -> None:
        """Hand a hint over. Never waits and never raises: an unreachable queue drops it."""
        ...

    async def close(self) -> None:
        """Send what is waiting, within a second or so, and end."""
        ...
