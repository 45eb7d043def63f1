"""The broker's rows, by the documented fields and by its own samples where they are at hand."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pulse_adapters.real_broker.rows import OrderRow, UnreadableRow
from pulse_adapters.zerodha.wire import read_message, read_order, read_trade
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrderStatus as Status

ROW: dict[str, Any] = {
    "account_id": "AB1234",
    "placed_by": "AB1234",
    "order_id": "1234567890123456789",
    "exchange_order_id": "1100000012345678",
    "parent_order_id": None,
    "status": "OPEN",
    "status_message": None,
    "status_message_raw": None,
    "order_timestamp": "2026-01-05 09:20:00",
    "exchange_update_timestamp": "2026-01-05 09:20:02",
    "exchange_timestamp": "2026-01-05 09:20:01",
    "variety": "regular",
    "modified": False,
    "exchange": "NFO",
    "tradingsymbol": "NIFTY26JAN25000CE",
    "instrument_token": 12345,
    "order_type": "LIMIT",
    "transaction_type": "SELL",
    "validity": "DAY",
    "validity_ttl": 0,
    "product": "NRML",
    "quantity": 650,
    "disclosed_quantity": 0,
    "price": 101.05,
    "trigger_price": 0,
    "average_price": 101.1,
    "filled_quantity": 65,
    "pending_quantity": 585,
    "cancelled_quantity": 0,
    "market_protection": 0,
    "meta": {},
    "tag": "PU00000000000000TAG1",
    "tags": ["PU00000000000000TAG1"],
    "guid": "x",
}
TRADE: dict[str, Any] = {
    "trade_id": "10000000",
    "order_id": "1234567890123456789",
    "exchange_order_id": "1100000012345678",
    "exchange": "NFO",
    "tradingsymbol": "NIFTY26JAN25000CE",
    "instrument_token": 12345,
    "product": "NRML",
    "average_price": 420.65,
    "quantity": 65,
    "transaction_type": "SELL",
    "fill_timestamp": "2026-01-05 09:20:02",
    "order_timestamp": "09:20:00",
    "exchange_timestamp": "2026-01-05 09:20:01",
}
NEEDED = (
    "order_id", "status", "order_timestamp", "exchange", "tradingsymbol", "transaction_type", "quantity",
    "filled_quantity", "average_price",
)  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return ROW | changes


def test_a_row_is_read() -> None:
    order = read_order(ROW)

    assert order == OrderRow(
        order_id=order.order_id,
        tags=("PU00000000000000TAG1",),
        instrument=Instrument.parse("NFO:NIFTY26JAN25000CE"),
        side=Side.SELL,
        quantity=650,
        filled_quantity=65,
        average_price=Decimal("101.1"),
        status=Status.OPEN,
        placed_at=datetime(2026, 1, 5, 3, 50, tzinfo=UTC),
        updated_at=datetime(2026, 1, 5, 3, 50, 2, tzinfo=UTC),
        reason_code=None,
        reason=None,
        words=order.words,
    )
    assert order.order_id == "1234567890123456789"


def test_a_row_is_kept_in_the_brokers_words_without_the_owner_or_a_secret() -> None:
    of_the_owner = {
        "placed_by": "AB1234", "guid": "secret-guid", "account_id": "AB1234", "checksum": "secret-sum",
        "access_token": "secret-token",
    }  # fmt: skip
    odd = {
        "order_timestamp": datetime(2026, 1, 5, 9, 20), "tags": ["PU00000000000000TAG1"],
        "price": float("nan"), "status_message": "no\0 funds", "meta": {"a": 1},
    }  # fmt: skip

    words = read_order(row(**of_the_owner, **odd)).words

    assert not set(of_the_owner) & set(words)
    assert "secret" not in msgspec.json.encode(words).decode()
    assert words["tradingsymbol"] == ROW["tradingsymbol"]
    assert (words["order_timestamp"], words["status_message"]) == ("2026-01-05T09:20:00", "no funds")
    assert (words["price"], words["meta"]) == ("nan", "{'a': 1}")
    assert words["tags"] == ["PU00000000000000TAG1"]
    assert "status_message_raw" not in words


def test_a_row_needs_only_what_is_used() -> None:
    order = read_order({name: ROW[name] for name in NEEDED})

    assert order.tags == ()
    assert order.updated_at == order.placed_at


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_field_is_named(name: str) -> None:
    lacking = {key: value for key, value in ROW.items() if key != name}

    for bad in (lacking, row(**{name: None})):
        with pytest.raises(UnreadableRow, match=f"^{name} is missing$"):
            read_order(bad)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order_id", 1234),
        ("order_id", ""),
        ("status", 1),
        ("order_timestamp", "yesterday"),
        ("order_timestamp", "09:20:00"),
        ("order_timestamp", 1736000000),
        ("transaction_type", "HOLD"),
        ("quantity", "650"),
        ("quantity", 1.5),
        ("quantity", True),
        ("quantity", -1),
        ("quantity", float("nan")),
        ("quantity", float("inf")),
        ("filled_quantity", None),
        ("average_price", "101.1"),
        ("average_price", float("nan")),
        ("tags", "PU"),
        ("tags", [1]),
        ("tag", 7),
    ],
)
def test_a_field_that_makes_no_sense_is_named(name: str, value: object) -> None:
    with pytest.raises(UnreadableRow, match=f"^{name} "):
        read_order(row(**{name: value}))


@pytest.mark.parametrize("bad", [None, [], "row", 1])
def test_what_is_no_row_is_told(bad: object) -> None:
    with pytest.raises(UnreadableRow):
        read_order(bad)


@pytest.mark.parametrize(
    ("tag", "tags", "read"),
    [
        (None, None, ()),
        ("A1", None, ("A1",)),
        (None, ["mktp", "mktp:2.00"], ("mktp", "mktp:2.00")),
        ("A1", ["A1"], ("A1",)),
        ("A1", ["autoslice", "A1"], ("A1", "autoslice")),
        ("", [], ()),
    ],
)
def test_a_tag_counts_wherever_it_stands(
    tag: str | None, tags: list[str] | None, read: tuple[str, ...]
) -> None:
    assert read_order(row(tag=tag, tags=tags)).tags == read


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("COMPLETE", Status.COMPLETE),
        ("CANCELLED", Status.CANCELLED),
        ("CANCEL", Status.CANCELLED),
        ("REJECTED", Status.REJECTED),
        ("OPEN", Status.OPEN),
        ("TRIGGER PENDING", Status.TRIGGER_PENDING),
        ("LAPSED", Status.EXPIRED),
        *(
            (on_its_way, Status.PENDING)
            for on_its_way in (
                "PUT ORDER REQ RECEIVED",
                "AMO REQ RECEIVED",
                "VALIDATION PENDING",
                "OPEN PENDING",
                "MODIFY VALIDATION PENDING",
                "MODIFY PENDING",
                "MODIFIED",
                "CANCEL PENDING",
                "MODIFY AMO REQ RECEIVED",
                "NOT MODIFIED",
                "NOT CANCELLED",
                "UPDATE",
                "SOMETHING NEW",
            )
        ),
    ],
)
def test_statuses(text: str, status: Status) -> None:
    order = read_order(row(status=text))

    assert order.status is status
    assert order.has_ended == (status.value in ("COMPLETE", "CANCELLED", "REJECTED", "EXPIRED"))


def test_a_rejection_carries_its_reason() -> None:
    order = read_order(
        row(status="REJECTED", status_message="Insufficient funds.", status_message_raw="RMS:Margin Exceeds")
    )

    assert (order.reason_code, order.reason) == ("INSUFFICIENT_FUNDS", "Insufficient funds.")


def test_a_rejection_without_a_text_has_a_code() -> None:
    order = read_order(row(status="REJECTED"))

    assert (order.reason_code, order.reason) == ("REJECTED", None)


def test_an_instrument_that_is_none_of_ours_is_none() -> None:
    assert read_order(row(exchange="BCD")).instrument is None
    assert read_order(row(tradingsymbol="NIFTY 50")).instrument is None


def test_lots_become_units() -> None:
    order = read_order(row(exchange="MCX", tradingsymbol="CRUDEOIL26DECFUT", quantity=3, filled_quantity=1))

    units = order.in_units(100)
    assert (units.quantity, units.filled_quantity, units.average_price) == (300, 100, Decimal("101.1"))


def test_times_that_the_sdk_has_read_are_indian_too() -> None:
    naive = datetime(2026, 1, 5, 9, 20)

    assert read_order(row(order_timestamp=naive)).placed_at == datetime(2026, 1, 5, 3, 50, tzinfo=UTC)


def test_prices_are_what_was_written() -> None:
    assert read_order(row(average_price=72.755)).average_price == Decimal("72.755")
    assert read_order(row(average_price=4852)).average_price == Decimal(4852)


def test_a_trade_is_read() -> None:
    fill = read_trade(TRADE).in_units(1)

    assert (fill.trade_id, fill.quantity, fill.price) == ("10000000", 65, Decimal("420.65"))
    assert fill.at == datetime(2026, 1, 5, 3, 50, 2, tzinfo=UTC)


def test_a_trade_without_its_own_time_has_the_exchanges() -> None:
    trade = read_trade(TRADE | {"fill_timestamp": None})

    assert trade.at == datetime(2026, 1, 5, 3, 50, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["trade_id", "order_id", "quantity", "average_price", "exchange", "tradingsymbol"]
)
def test_a_missing_field_of_a_trade_is_named(name: str) -> None:
    with pytest.raises(UnreadableRow, match=f"^{name} is missing$"):
        read_trade({key: value for key, value in TRADE.items() if key != name})


def test_text_messages() -> None:
    assert read_message('{"type": "order", "id": "", "data": {"order_id": "1"}}') == (
        "order",
        {"order_id": "1"},
    )
    assert read_message('{"type": "error", "data": "no"}') == ("error", "no")
    for bad in ("", "{", "[]", "1", '{"data": 1}', '{"type": 1}'):
        with pytest.raises(UnreadableRow):
            read_message(bad)


# --- the broker's own samples

SAMPLES = Path(__file__).parents[4] / "shared/data/kite-mocks"
with_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the broker's samples are not kept here")


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


@with_samples
def test_the_sample_order_book_is_read() -> None:
    orders = [read_order(each) for each in sample("orders.json")["data"]]

    assert len(orders) == len({order.order_id for order in orders})
    assert {order.status for order in orders} == {Status.CANCELLED, Status.COMPLETE, Status.REJECTED}
    assert all(order.instrument for order in orders)
    assert all(order.placed_at.utcoffset() == timedelta(0) for order in orders)
    [rejected] = [order for order in orders if order.status is Status.REJECTED]
    assert rejected.reason_code == "INSUFFICIENT_FUNDS"
    assert ("mktp", "mktp:2.00") in [order.tags for order in orders]


@with_samples
def test_the_sample_history_is_read() -> None:
    history = [read_order(each) for each in sample("order_info.json")["data"]]

    assert history[-1].status is Status.OPEN
    assert {order.status for order in history[:-1]} <= {Status.PENDING, Status.OPEN}


@with_samples
@pytest.mark.parametrize("name", ["trades.json", "order_trades.json"])
def test_the_sample_trades_are_read(name: str) -> None:
    trades = [read_trade(each) for each in sample(name)["data"]]

    assert trades
    assert all(trade.instrument and trade.quantity > 0 and trade.price > 0 for trade in trades)


@with_samples
def test_the_sample_postback_is_read() -> None:
    order = read_order(sample("postback.json"))

    assert (order.status, order.filled_quantity) == (Status.COMPLETE, 1)
