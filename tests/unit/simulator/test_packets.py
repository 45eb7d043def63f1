"""The ticker's frames against the documented figures, and read by the broker's own parser."""

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from kiteconnect import KiteTicker
from msgspec.structs import replace

from pulse_adapters.simulator.kite.packets import HEARTBEAT, Mode, frame, packet
from pulse_adapters.simulator.prices import Level, Market

INFY, NIFTY_50, USDINR = 408065, 256265, 412675
AT = datetime.fromtimestamp(1625461887, UTC)
LOCAL = datetime.fromtimestamp(1625461887)  # noqa: DTZ006  # the client's own reading: the host's zone, naive
BUYS = [("1573.40", 5, 1), ("1573.00", 140, 2), ("1572.95", 2, 1), ("1572.90", 219, 7), ("1572.85", 50, 1)]
SELLS = [("1573.70", 172, 3), ("1573.75", 44, 3), ("1573.85", 302, 3), ("1573.90", 141, 2), ("1573.95", 724, 5)]


def levels(rows: list[tuple[str, int, int]]) -> tuple[Level, ...]:
    return tuple(Level(Decimal(price), quantity, orders) for price, quantity, orders in rows)


def market(**changes: object) -> Market:
    made = Market(
        at=AT, traded_at=AT, last_price=Decimal("1573.70"), last_quantity=7, volume=1192471,
        average_price=Decimal("1570.37"), open=Decimal("1569.15"), high=Decimal(1575), low=Decimal("1561.05"),
        close=Decimal("1567.80"), buys=levels(BUYS), sells=levels(SELLS),
    )  # fmt: skip
    return replace(made, **changes)


def ints(made: bytes) -> list[int]:
    return list(struct.unpack(f">{len(made) // 4}I", made))


def parsed(*packets: bytes) -> list[dict[str, object]]:
    ticks: list[dict[str, object]] = KiteTicker("key", "token")._parse_binary(frame(packets))
    return ticks


def test_a_quote_packet_has_the_documented_figures() -> None:
    one_lot = (Level(Decimal(1573), 256511, 1),), (Level(Decimal(1574), 360503, 1),)
    shown = market(
        last_price=Decimal("1573.15"), last_quantity=1, average_price=Decimal("1570.33"), volume=1175986,
        buys=one_lot[0], sells=one_lot[1],
    )  # fmt: skip

    assert ints(packet(INFY, shown, Mode.QUOTE)) == [
        408065, 157315, 1, 157033, 1175986, 256511, 360503, 156915, 157500, 156105, 156780,
    ]  # fmt: skip


def test_a_full_packet_has_the_documented_figures() -> None:
    made = packet(INFY, market(), Mode.FULL)
    head = ints(made[:64])

    assert len(made) == 184
    assert head[:5] == [408065, 157370, 7, 157037, 1192471]
    assert head[7:] == [156915, 157500, 156105, 156780, 1625461887, 0, 0, 0, 1625461887]
    assert struct.unpack(">IIHxx", made[64:76]) == (5, 157340, 1)
    assert struct.unpack(">IIHxx", made[-12:]) == (724, 157395, 5)


def test_the_clients_parser_reads_a_full_packet() -> None:
    (tick,) = parsed(packet(INFY, market(), Mode.FULL))

    assert tick["mode"] == "full"
    assert tick["last_price"] == 1573.7
    assert tick["ohlc"] == {"open": 1569.15, "high": 1575, "low": 1561.05, "close": 1567.8}
    assert tick["exchange_timestamp"] == LOCAL
    assert tick["depth"]["sell"][4] == {"quantity": 724, "price": 1573.95, "orders": 5}  # type: ignore[index]
    assert tick["total_buy_quantity"] == sum(quantity for _, quantity, _ in BUYS)


@pytest.mark.parametrize(
    ("token", "mode", "length"),
    [(INFY, Mode.LTP, 8), (INFY, Mode.QUOTE, 44), (INFY, Mode.FULL, 184),
     (NIFTY_50, Mode.LTP, 8), (NIFTY_50, Mode.QUOTE, 28), (NIFTY_50, Mode.FULL, 32)],
)  # fmt: skip
def test_every_kind_has_its_length_and_its_mode(token: int, mode: Mode, length: int) -> None:
    made = packet(token, market(), mode)
    (tick,) = parsed(made)

    assert len(made) == length
    assert tick["mode"] == mode
    assert tick["tradable"] == (token != NIFTY_50)
    assert tick["last_price"] == 1573.7


def test_an_index_has_its_prices_in_another_order() -> None:
    (tick,) = parsed(packet(NIFTY_50, market(), Mode.FULL))

    assert tick["ohlc"] == {"open": 1569.15, "high": 1575, "low": 1561.05, "close": 1567.8}
    assert tick["exchange_timestamp"] == LOCAL


def test_a_currency_has_seven_decimals() -> None:
    (tick,) = parsed(packet(USDINR, market(last_price=Decimal("88.1275")), Mode.LTP))

    assert tick["last_price"] == 88.1275


def test_a_frame_holds_many_packets_in_order() -> None:
    ticks = parsed(packet(INFY, market(), Mode.LTP), packet(NIFTY_50, market(), Mode.QUOTE))

    assert [tick["instrument_token"] for tick in ticks] == [INFY, NIFTY_50]
    assert len(HEARTBEAT) == 1


def test_depth_that_is_not_there_is_zero() -> None:
    (tick,) = parsed(packet(INFY, market(buys=(), sells=levels(SELLS[:1])), Mode.FULL))

    assert tick["depth"]["buy"] == [{"quantity": 0, "price": 0, "orders": 0}] * 5  # type: ignore[index]
