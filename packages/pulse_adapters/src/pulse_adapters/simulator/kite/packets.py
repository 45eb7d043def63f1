"""The ticker's binary frames. All integers are big-endian; prices count a part of a rupee that the segment
decides."""

import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

from pulse_adapters.simulator.prices import Level, Market

HEARTBEAT = b"\x00"
_INDICES = 9
_DIVISORS = {3: 10_000_000, 6: 10_000, 12: 10_000}  # CDS, BCD, NCO
_UINT32_MAX = (1 << 32) - 1
_LEVELS = 5
_ENTRY = struct.Struct(">IIHxx")


class Mode(StrEnum):
    LTP = "ltp"
    QUOTE = "quote"
    FULL = "full"


def packet(token: int, market: Market, mode: Mode) -> bytes:
    """One instrument as a packet of 8, 28, 32, 44 or 184 bytes."""
    segment = token & 0xFF
    divisor = _DIVISORS.get(segment, 100)

    def count(price: Decimal) -> int:
        return min(_UINT32_MAX, max(0, round(price * divisor)))

    last = count(market.last_price)
    prices = [count(price) for price in (market.open, market.high, market.low, market.close)]
    seconds = int(market.at.timestamp())
    if mode is Mode.LTP:
        return _ints(token, last)
    if segment == _INDICES:
        opened, high, low, close = prices
        # The change is signed, and the client that everybody uses does not read it.
        change = round((market.last_price - market.close) * divisor) & _UINT32_MAX
        short = _ints(token, last, high, low, opened, close, change)
        return short if mode is Mode.QUOTE else short + _ints(seconds)
    short = _ints(
        token, last, market.last_quantity, count(market.average_price), min(market.volume, _UINT32_MAX),
        market.buy_quantity, market.sell_quantity, *prices,
    )  # fmt: skip
    if mode is Mode.QUOTE:
        return short
    more = _ints(int(market.traded_at.timestamp()), market.oi, market.oi_day_high, market.oi_day_low, seconds)
    depth = b"".join(
        _ENTRY.pack(min(level.quantity, _UINT32_MAX), count(level.price), min(level.orders, 0xFFFF))
        for level in (*_five(market.buys), *_five(market.sells))
    )
    return short + more + depth


def frame(packets: Iterable[bytes]) -> bytes:
    """Packets as one message."""
    packets = list(packets)
    return struct.pack(">H", len(packets)) + b"".join(
        struct.pack(">H", len(packet)) + packet for packet in packets
    )


def _ints(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _five(levels: Sequence[Level]) -> list[Level]:
    empty = Level(Decimal(0), 0, 0)
    return [*levels[:_LEVELS], *[empty] * (_LEVELS - len(levels))]
