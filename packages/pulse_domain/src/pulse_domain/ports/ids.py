"""New identifiers."""

from typing import Protocol

from pulse_domain.orders.ids import OrderId


class Ids(Protocol):
    def order_id(self) -> OrderId:
        """A new order id, unique everywhere and growing with time (TypeID over UUIDv7)."""
        ...

    def executor_id(self) -> str:
        """A new name for a worker process, never used again."""
        ...
