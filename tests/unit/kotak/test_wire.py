"""The broker's rows, by the documented fields."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pulse_adapters.kotak.wire import NeoOrder, read_message, read_order, read_trade
from pulse_adapters.real_broker.rows import UnreadableRow
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrderStatus as Status

ROW: dict[str, Any] = {
    "nOrdNo": "250122000624676",
    "exOrdId": "1100000012345678",
    "ordSt": "open",
    "stat": "Ok",
    "trdSym": "RELIANCE-EQ",
    "sym": "RELIANCE",
    "exSeg": "nse_cm",
    "trnsTp": "B",
    "prcTp": "L",
    "prod": "CNC",
    "vldt": "DAY",
    "qty": 10,
    "fldQty": 4,
    "unFldSz": 6,
    "prc": "1250.50",
    "avgPrc": "1250.10",
    "trgPrc": "0.00",
    "rejRsn": "--",
    "ordDtTm": "22-Jan-2025 14:28:01",
    "exCfmTm": "22-Jan-2025 14:28:03",
    "updRecvTm": 1737536284000000000,
    "GuiOrdId": "PU00000000000000TAG1",
}
TRADE: dict[str, Any] = {
    "nOrdNo": "250122000624676",
    "flId": "701234",
    "flLeg": 1,
    "fldQty": 4,
    "qty": 0,
    "avgPrc": "1250.10",
    "flDt": "22-Jan-2025",
    "flTm": "14:28:16",
    "exTm": "22-Jan-2025 14:28:17",
    "trdSym": "RELIANCE-EQ",
    "sym": "RELIANCE",
    "tok": "",
    "exSeg": "nse_cm",
}
NEEDED = ("nOrdNo", "ordSt", "trdSym", "exSeg", "trnsTp", "qty", "fldQty")


def test_a_row_is_read() -> None:
    order = read_order(ROW)

    assert order == NeoOrder(
        order_id=order.order_id,
        tags=("PU00000000000000TAG1",),
        instrument=Instrument.parse("NSE:RELIANCE"),
        side=Side.BUY,
        quantity=10,
        filled_quantity=4,
        average_price=Decimal("1250.10"),
        status=Status.OPEN,
        placed_at=datetime(2025, 1, 22, 8, 58, 1, tzinfo=UTC),
        updated_at=datetime(2025, 1, 22, 8, 58, 4, tzinfo=UTC),
        reason_code=None,
        reason=None,
        order_type="L",
        validity="DAY",
        price=Decimal("1250.50"),
        trigger_price=Decimal("0.00"),
        words=order.words,
    )
    assert order.order_id == "250122000624676"


def test_a_row_is_kept_in_the_brokers_words_without_the_owner() -> None:
    owner = {"actId": "AB1234", "usrId": "AB1234", "locId": "1", "reqId": "secret-request", "token": "secret"}

    words = read_order(ROW | owner).words

    assert not set(owner) & set(words)
    assert {name: words[name] for name in ("nOrdNo", "ordSt", "trdSym", "qty", "avgPrc")} == {
        name: ROW[name] for name in ("nOrdNo", "ordSt", "trdSym", "qty", "avgPrc")
    }


def test_a_row_needs_only_what_is_used() -> None:
    order = read_order({name: ROW[name] for name in (*NEEDED, "ordDtTm")})

    assert order.tags == ()
    assert (order.average_price, order.updated_at) == (Decimal(0), order.placed_at)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("nothing", [None, "", "NA", "--"])
def test_a_missing_field_is_named(name: str, nothing: Any) -> None:
    with pytest.raises(UnreadableRow, match=f"^{name} is missing$"):
        read_order(ROW | {name: nothing})


def test_the_time_of_entry_stands_in() -> None:
    assert read_order(ROW | {"ordDtTm": "NA", "ordEntTm": "22-Jan-2025 14:00:00"}).placed_at.hour == 8
    with pytest.raises(UnreadableRow, match="ordEntTm is missing"):
        read_order(ROW | {"ordDtTm": "NA"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nOrdNo", 250122),
        ("ordSt", 1),
        ("trnsTp", "BUY"),
        ("trnsTp", []),
        ("qty", -1),
        ("qty", "1.5"),
        ("qty", True),
        ("qty", "ten"),
        ("fldQty", float("inf")),
        ("avgPrc", "1e999999"),
        ("avgPrc", {}),
        ("ordDtTm", "2025-01-22 14:28:01"),
        ("ordDtTm", "32-Jan-2025 14:28:01"),
        ("ordDtTm", "22-Foo-2025 14:28:01"),
        ("updRecvTm", "later"),
        ("updRecvTm", 10**40),
    ],
)
def test_nonsense_is_named(name: str, value: Any) -> None:
    with pytest.raises(UnreadableRow, match=f"^{name} makes no sense"):
        read_order(ROW | {name: value})


@pytest.mark.parametrize("row", [None, [], "row", 1])
def test_what_is_no_row_is_told(row: Any) -> None:
    with pytest.raises(UnreadableRow):
        read_order(row)
    with pytest.raises(UnreadableRow):
        read_trade(row)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("put order req received", Status.PENDING),
        ("validation pending", Status.PENDING),
        ("open pending", Status.PENDING),
        ("open", Status.OPEN),
        ("Open", Status.OPEN),
        ("trigger pending", Status.TRIGGER_PENDING),
        ("modify validation pending", Status.PENDING),
        ("modify pending", Status.PENDING),
        ("modified", Status.PENDING),
        ("cancel pending", Status.PENDING),
        ("complete", Status.COMPLETE),
        ("traded", Status.COMPLETE),
        ("rejected", Status.REJECTED),
        ("cancelled", Status.CANCELLED),
        ("cancelled after market order", Status.CANCELLED),
        ("after market order req received", Status.PENDING),
        ("a status of tomorrow", Status.PENDING),
    ],
)
def test_statuses(text: str, status: Status) -> None:
    order = read_order(ROW | {"ordSt": text})

    assert order.status is status
    assert order.has_ended is (status in (Status.COMPLETE, Status.CANCELLED, Status.REJECTED))


def test_a_rejection_has_a_reason() -> None:
    order = read_order(ROW | {"ordSt": "rejected", "rejRsn": "RMS: Margin Exceeds, Required 100"})

    assert (order.reason_code, order.reason) == ("INSUFFICIENT_FUNDS", "RMS: Margin Exceeds, Required 100")


@pytest.mark.parametrize(
    ("segment", "trading_symbol", "symbol", "instrument"),
    [
        ("nse_cm", "RELIANCE-EQ", "RELIANCE", "NSE:RELIANCE"),
        ("nse_cm", "BAJAJ-AUTO-EQ", "BAJAJ-AUTO", "NSE:BAJAJ-AUTO"),
        ("nse_cm", "FOO-BE", "FOO", "NSE:FOO-BE"),
        ("bse_cm", "RELIANCE-A", "RELIANCE", "BSE:RELIANCE"),
        ("bse_cm", "RELIANCE", "--", "BSE:RELIANCE"),
        ("nse_fo", "NIFTY26DECFUT", "NIFTY", "NFO:NIFTY26DECFUT"),
        ("bse_fo", "SENSEX26DECFUT", "SENSEX", "BFO:SENSEX26DECFUT"),
        ("MCX_FO", "CRUDEOIL26DECFUT", "CRUDEOIL", "MCX:CRUDEOIL26DECFUT"),
        ("cde_fo", "USDINR26DECFUT", "USDINR", None),
        ("nse_cm", "not a symbol", "x", None),
    ],
)
def test_instruments(segment: str, trading_symbol: str, symbol: str, instrument: str | None) -> None:
    order = read_order(ROW | {"exSeg": segment, "trdSym": trading_symbol, "sym": symbol})

    assert order.instrument == (Instrument.parse(instrument) if instrument else None)


def test_a_row_in_units() -> None:
    order = read_order(ROW | {"qty": "3", "fldQty": "1"}).in_units(100)

    assert (order.quantity, order.filled_quantity, order.tags) == (300, 100, ("PU00000000000000TAG1",))


def test_a_trade_is_read_by_what_was_filled() -> None:
    trade = read_trade(TRADE)
    fill = trade.in_units(100)

    assert (trade.trade_id, trade.quantity, trade.price) == ("701234", 4, Decimal("1250.10"))
    assert trade.at == datetime(2025, 1, 22, 8, 58, 16, tzinfo=UTC)
    assert (fill.quantity, fill.broker_order_id) == (400, "250122000624676")


def test_a_trade_without_its_own_time_has_the_exchanges() -> None:
    assert read_trade(TRADE | {"flTm": "NA"}).at.second == 17
    assert read_trade(TRADE | {"flId": 701234}).trade_id == "701234"


def test_messages() -> None:
    assert read_message('{"type":"order","data":{"a":1}}') == ("order", {"type": "order", "data": {"a": 1}})
    for bad in ("", "[]", "{}", '{"type":1}', "{type:cn}"):
        with pytest.raises(UnreadableRow):
            read_message(bad)
