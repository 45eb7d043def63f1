"""Ids from the clock and the system's randomness."""

import os
import secrets
from uuid import UUID

from pulse_domain.orders.ids import OrderId, order_id_from_uuid
from pulse_domain.ports.clock import Clock


class RandomIds:
    """UUIDv7 (RFC 9562): 48 bits of milliseconds, then randomness; within one process strictly growing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def order_id(self) -> OrderId:
        milliseconds = int(self._clock.now().timestamp() * 1000)
        random = int.from_bytes(os.urandom(10))
        value = milliseconds << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
        if value <= self._last:
            # The same millisecond, or a clock that was set back: go on from the last id's random part.
            value = self._last + 1 + (random & 0xFFFFFFFF)
        self._last = value
        return order_id_from_uuid(UUID(int=value))

    def executor_id(self) -> str:
        return f"worker-{secrets.token_hex(8)}"
