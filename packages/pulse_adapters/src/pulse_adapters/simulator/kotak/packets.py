"""The market feed's binary packets. All integers are little-endian; prices count a part of a rupee that the
exchange's divider tells."""

import struct
from collections.abc import Sequence
from decimal import Decimal
from enum import IntEnum

from pulse_adapters.simulator.catalog import Listing
from pulse_adapters.simulator.kotak.names import segment
from pulse_adapters.simulator.prices import Level, Market

EXCHANGE_IDS = {"nse_cm": 1, "nse_fo": 2, "cde_fo": 3, "bse_cm": 5, "bse_fo": 6, "mcx_fo": 9}
DIVIDERS = {name: 10_000_000 if name == "cde_fo" else 100 for name in EXCHANGE_IDS}

_PICTURE, _INDEX, _STATUS = 7208, 7207, 105
_HEADER = struct.Struct("<HHbBBBB")
_MINI_BODY = struct.Struct("<IqIqIiiIBI")
_PICTURE_BODY = struct.Struct("<IqqqqqIIIIIqIIIIhiIdiIIIIIBI")
_INDEX_BODY = struct.Struct("<IiiiiiQiiidBi21s")
_STATUS_BODY = struct.Struct("<H5s")
_ROW = struct.Struct("<qii")
_INT32_MAX = (1 << 31) - 1  # some of the fields are signed
_CIRCUIT, _YEAR = Decimal("0.1"), Decimal("0.3")
_OPEN, _CLOSED = 1, 2


class Depth(IntEnum):
    """How much of an instrument is told."""

    MINI = 1
    TOUCH_LINE = 4
    FIVE = 8
    FULL = 16

    @property
    def rows(self) -> int:
        return 1 if self is Depth.TOUCH_LINE else 5


def packet(listing: Listing, market: Market, depth: Depth, sequence: int) -> bytes:
    """An instrument as a packet. sequence: of the connection, modulo 256."""
    name = segment(listing)
    divider = DIVIDERS[name]

    def count(price: Decimal) -> int:
        return min(_INT32_MAX, max(0, round(price * divider)))

    change = market.last_price - market.close
    percent = round(change * 10_000 / market.close) if market.close else 0
    moved = max(-_INT32_MAX, min(_INT32_MAX, round(change * divider)))
    number, lot = listing.exchange_token, listing.lot_size
    traded, last = int(market.traded_at.timestamp()), count(market.last_price)
    low, high = (count(market.close * factor) for factor in (1 - _CIRCUIT, 1 + _CIRCUIT))
    year_low, year_high = count(market.low * (1 - _YEAR)), count(market.high * (1 + _YEAR))
    if listing.is_index:
        body = _INDEX_BODY.pack(
            number, count(market.open), count(market.close), count(market.high), count(market.low), last,
            traded, year_high, year_low, percent, 0.0, 2, 1, listing.instrument.symbol.encode()[:21],
        )  # fmt: skip
        return _framed(_INDEX, name, depth, sequence, body)
    if depth is Depth.MINI:
        body = _MINI_BODY.pack(
            number, traded, last, market.last_quantity, count(market.close), percent, moved, lot, 2, 1
        )
        return _framed(_PICTURE, name, depth, sequence, body)
    bids, asks = market.buys[: depth.rows], market.sells[: depth.rows]
    body = _PICTURE_BODY.pack(
        number, market.buy_quantity, market.sell_quantity, market.volume, traded, int(market.at.timestamp()),
        count(market.open), count(market.close), count(market.high), count(market.low), last,
        market.last_quantity, count(market.average_price), 0, depth.rows, depth.rows, 0, percent, market.oi,
        float(market.average_price * market.volume), moved, high, low, year_high, year_low, lot, 2, 1,
    )  # fmt: skip
    rows = [*_padded(bids, depth.rows), *_padded(asks, depth.rows)]
    levels = b"".join(_ROW.pack(level.quantity, count(level.price), level.orders) for level in rows)
    return _framed(_PICTURE, name, depth, sequence, body + levels)


def status(name: str, *, is_open: bool, sequence: int) -> bytes:
    """Whether an exchange trades."""
    body = _STATUS_BODY.pack(_OPEN if is_open else _CLOSED, b"")
    return _framed(_STATUS, name, 0, sequence, body)


def _framed(code: int, name: str, depth: int, sequence: int, body: bytes) -> bytes:
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, code, EXCHANGE_IDS[name], depth, 0, sequence % 256, 0) + body


def _padded(levels: Sequence[Level], rows: int) -> list[Level]:
    return [*levels, *[Level(Decimal(0), 0, 0)] * (rows - len(levels))]
