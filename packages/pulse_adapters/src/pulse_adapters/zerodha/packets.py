"""The ticker's binary frames: prices, as they come over the wire.

A frame holds packets; what a packet is follows from its length. All numbers are big-endian, and prices
whole numbers of a fraction of a rupee that depends on the segment.
"""

import struct
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

# Segments with finer prices; everywhere else they are in paise.
_DIVISORS = {3: 10**7, 6: 10**4, 12: 10**4}
_PAISE = 100
_INDICES = 9

_INDEX = struct.Struct(">7I")
_QUOTE = struct.Struct(">11I")
_DETAILS = struct.Struct(">5I")
_LEVEL = struct.Struct(">IIHxx")
_LEVELS = 5


class BadFrame(ValueError):
    """The bytes are not a frame of the ticker."""


class Ohlc(Struct, frozen=True, kw_only=True):
    """`close` is that of the day before."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class Level(Struct, frozen=True):
    quantity: int
    price: Decimal
    orders: int


class Depth(Struct, frozen=True, kw_only=True):
    """The best five of either side, best first; empty levels are left out."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Packet(Struct, frozen=True, kw_only=True):
    """What is not in the packet's mode is None. Times are aware; quantities are the broker's."""

    token: int
    tradable: bool
    last_price: Decimal
    ohlc: Ohlc | None = None
    last_quantity: int | None = None
    average_price: Decimal | None = None
    volume: int | None = None
    buy_quantity: int | None = None
    sell_quantity: int | None = None
    last_trade_at: datetime | None = None
    exchange_at: datetime | None = None
    open_interest: int | None = None
    open_interest_high: int | None = None
    open_interest_low: int | None = None
    depth: Depth | None = None


def parse_frame(frame: bytes) -> tuple[Packet, ...]:
    """The packets of a binary frame; none for a heartbeat.

    A packet of an unknown length is left out: new kinds may be added.

    Raises:
        BadFrame: the frame ends inside a packet, or goes on after the last.
    """
    if len(frame) < 2:
        return ()
    count = int.from_bytes(frame[:2], "big")
    packets: list[Packet] = []
    at = 2
    for _ in range(count):
        length = int.from_bytes(frame[at : at + 2], "big")
        data = frame[at + 2 : at + 2 + length]
        if at + 2 > len(frame) or len(data) < length:
            raise BadFrame(f"a frame of {len(frame)} bytes ends inside packet {len(packets) + 1} of {count}")
        at += 2 + length
        if (packet := _packet(data)) is not None:
            packets.append(packet)
    if at != len(frame):
        raise BadFrame(f"a frame of {len(frame)} bytes goes on after its {count} packets")
    return tuple(packets)


def _packet(data: bytes) -> Packet | None:
    if len(data) < 8:
        return None
    token = int.from_bytes(data[:4], "big")
    segment = token & 0xFF
    divisor = _DIVISORS.get(segment, _PAISE)
    tradable = segment != _INDICES
    match len(data), tradable:
        case 8, _:
            last = int.from_bytes(data[4:8], "big")
            return Packet(token=token, tradable=tradable, last_price=_price(last, divisor))
        case ((28 | 32), False):
            return _index_packet(data, divisor)
        case ((44 | 184), True):
            return _tradable_packet(data, divisor)
    return None


def _index_packet(data: bytes, divisor: int) -> Packet:
    # The order is another one than in a tradable packet; the change (the seventh) can be worked out.
    token, last, high, low, opened, close, _change = _INDEX.unpack_from(data)
    return Packet(
        token=token,
        tradable=False,
        last_price=_price(last, divisor),
        ohlc=_ohlc(opened, high, low, close, divisor),
        exchange_at=_instant(int.from_bytes(data[28:32], "big")) if len(data) == 32 else None,
    )


def _tradable_packet(data: bytes, divisor: int) -> Packet:
    token, last, last_quantity, average, volume, buys, sells, *ohlc = _QUOTE.unpack_from(data)
    opened, high, low, close = ohlc
    full = len(data) == 184
    traded_at, oi, oi_high, oi_low, exchange_at = _DETAILS.unpack_from(data, 44) if full else (None,) * 5
    return Packet(
        token=token,
        tradable=True,
        last_price=_price(last, divisor),
        ohlc=_ohlc(opened, high, low, close, divisor),
        last_quantity=last_quantity,
        average_price=_price(average, divisor),
        volume=volume,
        buy_quantity=buys,
        sell_quantity=sells,
        last_trade_at=_instant(traded_at),
        exchange_at=_instant(exchange_at),
        open_interest=oi,
        open_interest_high=oi_high,
        open_interest_low=oi_low,
        depth=Depth(bids=_levels(data, 64, divisor), asks=_levels(data, 124, divisor)) if full else None,
    )


def _levels(data: bytes, at: int, divisor: int) -> tuple[Level, ...]:
    read = (_LEVEL.unpack_from(data, at + n * _LEVEL.size) for n in range(_LEVELS))
    return tuple(
        Level(quantity, _price(price, divisor), orders) for quantity, price, orders in read if quantity
    )


def _ohlc(opened: int, high: int, low: int, close: int, divisor: int) -> Ohlc:
    return Ohlc(
        open=_price(opened, divisor),
        high=_price(high, divisor),
        low=_price(low, divisor),
        close=_price(close, divisor),
    )


def _price(number: int, divisor: int) -> Decimal:
    return Decimal(number) / divisor


def _instant(epoch_s: int | None) -> datetime | None:
    # 0 is what the exchange sends where there was no trade yet.
    return datetime.fromtimestamp(epoch_s, UTC) if epoch_s else None
