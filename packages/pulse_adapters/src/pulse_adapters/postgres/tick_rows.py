"""Ticks as rows of COPY in its binary format.

asyncpg would encode them too, at twice the time: it takes every price apart anew, while prices come again and
again. Here each is encoded once and remembered.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from struct import Struct, error

from pulse_domain.errors import StorageRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.units import to_us

COLUMNS = ("timestamp", "token", "seq", "ltp", "bid", "ask", "volume", "day_low", "day_high")
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 in UTC
_NULL = b"\xff\xff\xff\xff"
_REMEMBERED_MAX = 100_000
# Above that, and below its inverse, nothing is a price.
_EXPONENT_MAX = 30
# Every field is preceded by its length, the row by the count of its fields.
_HEAD = Struct("!hiqiiiq")
_VOLUME = Struct("!iq")


class TickRows:
    def __init__(self) -> None:
        self._prices: dict[Decimal | None, bytes] = {None: _NULL}

    def encode(self, ticks: Sequence[Tick], tokens: Mapping[Instrument, int], seq: int) -> bytes:
        """The rows of ticks, numbered from `seq` on.

        Raises:
            StorageRejected: a price is no finite number, or a number is out of range.
        """
        prices = self._prices
        if len(prices) > _REMEMBERED_MAX:
            prices = self._prices = {None: _NULL}
        head, volume, parts = _HEAD.pack, _VOLUME.pack, list[bytes]()
        add = parts.append
        try:
            for number, tick in enumerate(ticks, start=seq):
                add(head(9, 8, to_us(tick.at) - _POSTGRES_EPOCH_US, 4, tokens[tick.instrument], 8, number))
                for price in (tick.price, tick.bid, tick.ask):
                    add(prices.get(price) or self._remember(price))
                add(volume(8, tick.volume))
                for price in (tick.day_low, tick.day_high):
                    add(prices.get(price) or self._remember(price))
        except (error, ValueError, TypeError, ArithmeticError) as reason:
            raise StorageRejected("a tick cannot be stored", cause=type(reason).__name__) from reason
        return b"".join(parts)

    def _remember(self, price: Decimal | None) -> bytes:
        assert price is not None, "which is remembered from the start"
        encoded = self._prices[price] = encode_numeric(price)
        return encoded


def encode_numeric(value: Decimal) -> bytes:
    """A numeric with its length, written with two decimals, or as many more as it needs.

    Raises:
        ValueError: it is not finite, or too large or small for any price.
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or abs(exponent) > _EXPONENT_MAX or len(digits) > _EXPONENT_MAX:
        raise ValueError("not a price")
    number = int("".join(map(str, digits)))
    if exponent > 0:
        number, exponent = number * 10**exponent, 0
    while exponent < -2 and number % 10 == 0:
        number, exponent = number // 10, exponent + 1
    decimals = max(2, -exponent)
    # Groups of four digits, each side of the point.
    behind = -(-decimals // 4)
    number *= 10 ** (4 * behind + exponent)
    groups: list[int] = []
    while number:
        number, group = divmod(number, 10_000)
        groups.insert(0, group)
    weight = len(groups) - behind - 1 if groups else 0
    while groups and groups[-1] == 0:
        groups.pop()
    body = Struct(f"!hhHH{len(groups)}H").pack(
        len(groups), weight, 0x4000 if sign and groups else 0, decimals, *groups
    )
    return len(body).to_bytes(4, "big") + body
