"""Binary frames, by the numbers of the broker's own sample frames."""

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.zerodha.packets import BadFrame, Level, Ohlc, Packet, parse_frame

INFY = 408065
QUOTE = (INFY, 157315, 1, 157033, 1175986, 256511, 360503, 156915, 157500, 156105, 156780)
FULL = (
    INFY, 157370, 7, 157037, 1192471, 256443, 363009, 156915, 157500, 156105, 156780,
    1625461887, 0, 0, 0, 1625461887,
)  # fmt: skip
BIDS = [(5, 157340, 1), (140, 157300, 2), (2, 157295, 1), (219, 157290, 7), (50, 157285, 1)]
ASKS = [(172, 157370, 3), (44, 157375, 3), (302, 157380, 7), (141, 157390, 2), (724, 157395, 5)]


def ints(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def frame(*packets: bytes) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(p)) + p for p in packets)


def level(quantity: int, price: int, orders: int) -> bytes:
    return struct.pack(">IIHH", quantity, price, orders, 0)


def full(bids: list[tuple[int, int, int]] = BIDS, asks: list[tuple[int, int, int]] = ASKS) -> bytes:
    return ints(*FULL) + b"".join(level(*each) for each in [*bids, *asks])


def one(packet: bytes) -> Packet:
    [read] = parse_frame(frame(packet))
    return read


@pytest.mark.parametrize("heartbeat", [b"\x00", b"\x07", b""])
def test_a_heartbeat_holds_nothing(heartbeat: bytes) -> None:
    assert parse_frame(heartbeat) == ()


def test_ltp() -> None:
    assert one(ints(INFY, 157315)) == Packet(token=INFY, tradable=True, last_price=Decimal("1573.15"))


def test_quote() -> None:
    packet = one(ints(*QUOTE))

    assert packet == Packet(
        token=INFY,
        tradable=True,
        last_price=Decimal("1573.15"),
        ohlc=Ohlc(
            open=Decimal("1569.15"), high=Decimal("1575"), low=Decimal("1561.05"), close=Decimal("1567.80")
        ),
        last_quantity=1,
        average_price=Decimal("1570.33"),
        volume=1175986,
        buy_quantity=256511,
        sell_quantity=360503,
    )


def test_full() -> None:
    packet = one(full())

    assert packet.last_price == Decimal("1573.7")
    assert packet.last_trade_at == packet.exchange_at == datetime(2021, 7, 5, 5, 11, 27, tzinfo=UTC)
    assert (packet.open_interest, packet.open_interest_high, packet.open_interest_low) == (0, 0, 0)
    assert packet.depth is not None
    assert packet.depth.bids[0] == Level(5, Decimal("1573.4"), 1)
    assert packet.depth.asks[4] == Level(724, Decimal("1573.95"), 5)
    assert len(packet.depth.bids) == len(packet.depth.asks) == 5


def test_empty_levels_are_left_out() -> None:
    depth = one(full(bids=[BIDS[0], *[(0, 0, 0)] * 4], asks=[(0, 0, 0)] * 5)).depth

    assert depth is not None
    assert (len(depth.bids), depth.asks) == (1, ())


def test_an_index_has_its_own_order() -> None:
    token = 256265  # NIFTY 50: its segment is 9
    numbers = (token, 2500000, 2510000, 2490000, 2495000, 2480000, 20000)

    quote, complete = parse_frame(frame(ints(*numbers), ints(*numbers, 1625461887)))

    assert quote.ohlc == Ohlc(
        open=Decimal(24950), high=Decimal(25100), low=Decimal(24900), close=Decimal(24800)
    )
    assert (quote.tradable, quote.exchange_at, quote.volume) == (False, None, None)
    assert complete.exchange_at == datetime(2021, 7, 5, 5, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("segment", "price"),
    [(1, "837.5"), (2, "837.5"), (3, "0.008375"), (4, "837.5"), (6, "8.375"), (7, "837.5"), (12, "8.375")],
)
def test_segments_have_their_own_fractions(segment: int, price: str) -> None:
    assert one(ints(1000 << 8 | segment, 83750)).last_price == Decimal(price)


def test_instants_of_nothing_are_none() -> None:
    packet = one(ints(*FULL[:11], 0, 0, 0, 0, 0) + bytes(120))

    assert packet.last_trade_at is None
    assert packet.exchange_at is None


def test_several_packets_and_one_of_a_new_kind() -> None:
    packets = parse_frame(frame(ints(INFY, 1), ints(INFY, 1, 2), full()))

    assert [packet.volume for packet in packets] == [None, 1192471]


@pytest.mark.parametrize(
    "bad",
    [
        frame(ints(*QUOTE))[:-1],
        frame(ints(*QUOTE)) + b"\x00",
        b"\x00\x01",
        b"\x00\x01\x00",
        b"\x00\x02" + frame(ints(INFY, 1))[2:],
    ],
)
def test_a_frame_that_does_not_add_up_is_refused(bad: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_frame(bad)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        packets = parse_frame(data)
    except BadFrame:
        return
    assert all(packet.last_price >= 0 for packet in packets)
