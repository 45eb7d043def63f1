"""The market feed's frames, held against the reading of the broker's own SDK."""

from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.kotak.packets import EXCHANGES, Frame, parse_frame
from pulse_adapters.kotak.sdk import load_sdk
from pulse_adapters.simulator.kotak.packets import DIVIDERS, status

# The example of the broker's documents.
MINI = bytes.fromhex(
    "36 00 28 1c 01 01 00 07 00 10 2d 00 00 80 26 b4 68 00 00 00 00 40 e2 01 00 32 00 00 00 00 00 00 00"
    "90 dc 01 00 77 00 00 00 b0 05 00 00 01 00 00 00 02 01 00 00 00"
)
_IDS = {name: number for number, name in EXCHANGES.items()}


@pytest.fixture(scope="module")
def sdk() -> Any:
    load_sdk()
    return import_module("neo_api_client.websocket.feed.protocol")


def header(length: int, code: int, exchange: int, level: int) -> bytes:
    return length.to_bytes(2, "little") + code.to_bytes(2, "little") + bytes([exchange, level, 0, 0, 0])


def framed(code: int, exchange: int, level: int, body: bytes) -> bytes:
    return header(9 + len(body), code, exchange, level) + body


def picture(dice: Random, level: int, *, rows: tuple[int, int] = (5, 5), cut_rows: int = 0) -> bytes:
    """A packet of numbers such as come: positive, and of any size."""

    def number(size: int) -> bytes:
        return dice.randrange(1, 2 ** min(8 * size - 1, 31)).to_bytes(size, "little")

    fixed = [number(size) for size in (4, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 8, 4, 4)]
    counts = [count.to_bytes(4, "little") for count in rows]
    more = [number(size) for size in (2, 4, 4, 8, 4, 4, 4, 4, 4, 4, 1, 4)]
    wanted = 2 if level == 4 else sum(rows)
    levels = [number(8) + number(4) + number(4) for _ in range(wanted - cut_rows)]
    return framed(7208, 1, level, b"".join([*fixed, *counts, *more, *levels]))


def test_the_documents_example() -> None:
    (packet,) = parse_frame(MINI, {"nse_cm": 100}).packets

    assert (packet.segment, packet.token, packet.last_price) == ("nse_cm", 11536, Decimal("1234.56"))
    assert packet.last_trade_at == datetime(2025, 8, 31, 10, 40, tzinfo=UTC)


@pytest.mark.parametrize("level", [2, 4, 8, 16])
@pytest.mark.parametrize("seed", range(20))
def test_market_pictures_are_read_as_the_sdk_does(sdk: Any, level: int, seed: int) -> None:
    dice = Random(seed)
    rows = dice.choice([(5, 5), (0, 5), (5, 0), (0, 0), (20, 20), (1, 1)])
    data = picture(dice, level, rows=rows, cut_rows=min(seed % 3, sum(rows)))
    theirs = sdk.decode_packet(data, {1: 100})

    (ours,) = parse_frame(data, {"nse_cm": 100}).packets

    assert (ours.segment, str(ours.token)) == (theirs.exchange_segment, theirs.instrument_token)
    assert float(ours.last_price) == theirs.last_traded_price
    assert float(ours.day_high or 0) == theirs.high_price
    assert float(ours.day_low or 0) == theirs.low_price
    assert ours.volume == theirs.volume_traded_today
    assert ours.updated_at is not None
    assert ours.updated_at.timestamp() == theirs.last_update_time
    assert ours.last_trade_at is not None
    assert ours.last_trade_at.timestamp() == theirs.last_trade_time
    for best, side in ((ours.bid, theirs.buy), (ours.ask, theirs.sell)):
        assert (None if best is None else float(best)) == (side[0].price if side else None)


@pytest.mark.parametrize("exchange", sorted(EXCHANGES))
def test_exchanges_and_dividers_are_those_of_the_sdk(sdk: Any, exchange: int) -> None:
    divider = DIVIDERS.get(EXCHANGES[exchange], 10_000)
    data = MINI[:4] + bytes([exchange]) + MINI[5:]
    theirs = sdk.decode_packet(data, {exchange: divider})

    (ours,) = parse_frame(data, {EXCHANGES[exchange]: divider}).packets

    assert ours.segment == theirs.exchange_segment
    assert float(ours.last_price) == theirs.last_traded_price


def test_an_index_is_read_as_the_sdk_does(sdk: Any) -> None:
    numbers = [26000, 2_500_000, 2_490_000, 2_510_000, 2_480_000, 2_505_050]
    body = b"".join(number.to_bytes(4, "little") for number in numbers)
    body += (1_756_636_800).to_bytes(8, "little") + bytes(12 + 8 + 1 + 4) + b"Nifty 50".ljust(21, b"\0")
    data = framed(7207, 1, 4, body)
    theirs = sdk.decode_packet(data, {1: 100})

    (ours,) = parse_frame(data, {}).packets

    assert (float(ours.last_price), float(ours.day_high or 0), float(ours.day_low or 0)) == (
        theirs.last_traded_price, theirs.high_price, theirs.low_price,
    )  # fmt: skip
    assert ours.last_trade_at is not None
    assert ours.last_trade_at.timestamp() == theirs.last_trade_time


def test_what_was_never_traded_has_no_time_and_an_empty_side_no_price() -> None:
    blank = (-2_209_008_600).to_bytes(8, "little", signed=True)
    dice = Random(1)
    data = bytearray(picture(dice, 4))
    data[37:45], data[45:53] = bytes(8), blank
    data[144:152] = bytes(8)  # nobody buys

    (packet,) = parse_frame(bytes(data), {}).packets

    assert (packet.last_trade_at, packet.updated_at, packet.bid) == (None, None, None)
    assert packet.ask is not None


def test_messages_without_prices_and_of_kinds_that_nobody_knows_are_left_out() -> None:
    told = status("nse_cm", is_open=True, sequence=1)
    unknown = [framed(7208, 1, 99, bytes(40)), framed(7208, 77, 1, bytes(45)), framed(104, 1, 4, bytes(24))]

    assert parse_frame(told + b"".join(unknown), {}) == Frame((), 0)


def test_packets_before_a_torn_one_are_kept() -> None:
    for cut in range(1, len(MINI)):
        frame = parse_frame(MINI + MINI[:cut], {})
        assert (len(frame.packets), frame.bad) == (1, 1)


def test_a_packet_that_is_too_short_for_its_kind_spoils_no_other() -> None:
    short = framed(7208, 1, 1, bytes(10))

    frame = parse_frame(MINI + short + MINI, {})

    assert (len(frame.packets), frame.bad) == (2, 1)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_as_something(data: bytes) -> None:
    frame = parse_frame(data, {})

    assert frame.bad + len(frame.packets) <= len(data)


@given(st.data())
def test_a_frame_with_a_broken_byte_is_read_as_something(data: st.DataObject) -> None:
    frame = bytearray(MINI + picture(Random(3), 4) + MINI)
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))

    parse_frame(bytes(frame), {})
