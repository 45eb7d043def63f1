"""The market feed's binary frames (`native_batch`): prices, as they come over the wire.

A frame holds packets, each with its length and a header of nine bytes. All numbers are little-endian, and
prices whole numbers of a fraction of a rupee that depends on the exchange.
"""

import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

_HEADER = struct.Struct("<HHbBBBB")
_MINI = struct.Struct("<IqIqIiiIBI")
_PICTURE = struct.Struct("<IqqqqqIIIIIqIIIIhiIdiIIIIIBI")
_INDEX = struct.Struct("<IiiiiiQiiidBi21s")
_ROW = struct.Struct("<qii")

_INDEX_CODE = 7207
# Opening and closing of a market, and the closing auction's reference price.
_NO_PRICES = frozenset({104, 105, 6511, 6521})
_MINI_LEVEL, _TOUCH_LINE = 1, 4
_PICTURE_LEVELS = frozenset({2, _TOUCH_LINE, 8, 16})

EXCHANGES = {
    1: "nse_cm", 2: "nse_fo", 3: "cde_fo", 4: "nse_com", 5: "bse_cm", 6: "bse_fo", 7: "bse_cd", 8: "bse_co",
    9: "mcx_fo", 10: "ncd_co",
}  # fmt: skip
_DIVIDER = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MAX = 1 << 33  # some centuries on; what is beyond is no time


class Packet(Struct, frozen=True, kw_only=True):
    """What the packet does not tell is None, prices of 0 too. Times are aware, quantities the broker's."""

    segment: str
    token: int
    last_price: Decimal
    day_low: Decimal | None = None
    day_high: Decimal | None = None
    volume: int | None = None
    last_trade_at: datetime | None = None
    updated_at: datetime | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None


class Frame(Struct, frozen=True):
    """bad: how many packets could not be read; after a length that makes no sense the rest counts as one."""

    packets: tuple[Packet, ...]
    bad: int


def parse_frame(frame: bytes, dividers: dict[str, int]) -> Frame:
    """Read a frame; never raises. A packet of an unknown kind is left out: new ones may be added.

    dividers: by segment, as the broker tells them.
    """
    packets: list[Packet] = []
    bad, at = 0, 0
    while at < len(frame):
        length = int.from_bytes(frame[at : at + 2], "little")
        data = frame[at : at + length]
        if length < _HEADER.size or len(data) < length:
            return Frame(tuple(packets), bad + 1)
        at += length
        try:
            packet = _packet(data, dividers)
        except struct.error:
            bad += 1
        else:
            if packet is not None:
                packets.append(packet)
    return Frame(tuple(packets), bad)


def _packet(data: bytes, dividers: dict[str, int]) -> Packet | None:
    _, code, exchange, level, *_ = _HEADER.unpack_from(data)
    segment = EXCHANGES.get(exchange)
    if segment is None or code in _NO_PRICES:
        return None
    divider = dividers.get(segment) or _DIVIDER
    if code == _INDEX_CODE:
        return _index(data, segment, divider)
    if level == _MINI_LEVEL:
        return _mini(data, segment, divider)
    if level in _PICTURE_LEVELS:
        return _picture(data, segment, divider, level)
    return None


def _mini(data: bytes, segment: str, divider: int) -> Packet:
    token, traded_at, last, *_ = _MINI.unpack_from(data, _HEADER.size)
    return Packet(
        segment=segment, token=token, last_price=Decimal(last) / divider, last_trade_at=_instant(traded_at)
    )


def _index(data: bytes, segment: str, divider: int) -> Packet:
    token, _open, _close, high, low, value, traded_at, *_ = _INDEX.unpack_from(data, _HEADER.size)
    return Packet(
        segment=segment,
        token=token,
        last_price=Decimal(value) / divider,
        day_low=_price(low, divider),
        day_high=_price(high, divider),
        last_trade_at=_instant(traded_at),
    )


def _picture(data: bytes, segment: str, divider: int, level: int) -> Packet:
    token, _, _, volume, traded_at, updated_at, _, _, high, low, last, _, _, _, bids, asks, *_ = (
        _PICTURE.unpack_from(data, _HEADER.size)
    )
    if level == _TOUCH_LINE:
        bids, asks = 1, 1
    first = _HEADER.size + _PICTURE.size
    return Packet(
        segment=segment,
        token=token,
        last_price=Decimal(last) / divider,
        day_low=_price(low, divider),
        day_high=_price(high, divider),
        volume=max(0, volume),
        last_trade_at=_instant(traded_at),
        updated_at=_instant(updated_at),
        bid=_best(data, first, divider) if bids else None,
        ask=_best(data, first + bids * _ROW.size, divider) if asks else None,
    )


def _best(data: bytes, at: int, divider: int) -> Decimal | None:
    # There may be fewer rows than are counted.
    if at + _ROW.size > len(data):
        return None
    quantity, price, _orders = _ROW.unpack_from(data, at)
    return _price(price, divider) if quantity > 0 else None


def _price(number: int, divider: int) -> Decimal | None:
    return Decimal(number) / divider if number > 0 else None


def _instant(epoch_s: int) -> datetime | None:
    # What was never traded or changed has 0, or an instant in 1900.
    return _EPOCH + timedelta(seconds=epoch_s) if 0 < epoch_s < _SECONDS_MAX else None
