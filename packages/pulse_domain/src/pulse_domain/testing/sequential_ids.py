"""Ids that come out the same at every run."""

from uuid import UUID

from pulse_domain.orders.ids import OrderId, order_id_from_uuid


class SequentialIds:
    """Order ids count upwards, so they sort as real ones do."""

    def __init__(self, start: int = 1) -> None:
        self._next = start

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    def order_id(self) -> OrderId:
        # Version 7 and variant bits as in a real one; the counter stands in for time and randomness.
        return order_id_from_uuid(UUID(int=self._take() << 80 | 0x7 << 76 | 0b10 << 62))

    def executor_id(self) -> str:
        return f"worker-{self._take()}"
