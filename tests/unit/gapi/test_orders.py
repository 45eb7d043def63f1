import json
from typing import Any

import pytest

from gapi.errors import code_of_field
from gapi.orders import OrderRequest, PreviewRequest, TradingCommand, check, keyed_body
from service_kit import ServiceError
from service_kit.litestar_kit import InvalidBody, decode

ORDER: dict[str, Any] = {
    "order_unique_key": "k-1",
    "instrument": "NSE:RELIANCE",
    "side": "BUY",
    "total_quantity": 100,
}
SPLIT: dict[str, Any] = {"num_splits": 12, "duration_minutes": 60}


def fault(fields: dict[str, Any], wanted: type = OrderRequest) -> tuple[str, Any]:
    """The code and the field that a body is refused with."""
    with pytest.raises(ServiceError) as raised:
        check(decode(json.dumps(fields).encode(), wanted))
    error = raised.value
    field = error.details.get("field")
    return code_of_field(field or "") if isinstance(error, InvalidBody) else error.code, field


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"side": "SELL"},
        {"instrument": "NFO:NIFTY26JAN23500CE"},
        {"instrument": "NSE:M&M"},
        {"instrument": "BSE:BAJAJ-AUTO"},
        {"total_quantity": 1},
        {"total_quantity": 1_000_000_000},
        {"split_config": SPLIT},
        {"split_config": {"num_splits": 2, "duration_minutes": 1440, "randomize": False}},
        {"split_config": {"num_splits": 100, "duration_minutes": 1}},
        {"split_config": None, "limit_price": None, "product": None, "strategy_tag": None, "start_at": None},
        {"start_at": "2026-01-05T09:15:00+05:30"},
        {"start_at": "2026-01-05T03:45:00Z"},
        {"order_type": "LIMIT", "limit_price": "3787.05"},
        {"order_type": "LIMIT", "limit_price": 3787.05},
        {"order_type": "LIMIT", "limit_price": 3787, "split_config": SPLIT},
        {"order_type": "LIMIT", "limit_price": "100000000"},
        {"order_type": "LIMIT", "limit_price": "0.0001"},
        {"order_type": "LIMIT", "limit_price": "1.50000"},
        {"order_type": "SL", "limit_price": "10.05", "trigger_price": "10"},
        {"order_type": "SL-M", "trigger_price": 10.5},
        {"product": "MIS", "validity": "IOC", "strategy_tag": "a_B-1.:"},
        {"order_unique_key": "x" * 128},
    ],
)
def test_good_orders(fields: dict[str, Any]) -> None:
    check(decode(json.dumps(ORDER | fields).encode(), OrderRequest))


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"instrument": 5}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": None}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": "RELIANCE"}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": "NYSE:IBM"}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": "nse:TCS"}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": "NSE:TCS\n"}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": "NSE:"}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": "NSE:" + "X" * 65}, "INVALID_INSTRUMENT", "instrument"),
        ({"side": "buy"}, "INVALID_REQUEST", "side"),
        ({"side": None}, "INVALID_REQUEST", "side"),
        ({"total_quantity": 0}, "INVALID_QUANTITY", "total_quantity"),
        ({"total_quantity": 1_000_000_001}, "INVALID_QUANTITY", "total_quantity"),
        ({"total_quantity": "5"}, "INVALID_QUANTITY", "total_quantity"),
        ({"total_quantity": 5.5}, "INVALID_QUANTITY", "total_quantity"),
        ({"total_quantity": True}, "INVALID_QUANTITY", "total_quantity"),
        ({"total_quantity": 10**30}, "INVALID_QUANTITY", "total_quantity"),
        ({"split_config": "yes"}, "INVALID_SPLIT_CONFIG", "split_config"),
        ({"split_config": {}}, "INVALID_SPLIT_CONFIG", "split_config"),
        ({"split_config": {"num_splits": 2}}, "INVALID_SPLIT_CONFIG", "split_config"),
        ({"split_config": SPLIT | {"num_splits": 1}}, "INVALID_SPLIT_CONFIG", "split_config.num_splits"),
        ({"split_config": SPLIT | {"num_splits": 101}}, "INVALID_SPLIT_CONFIG", "split_config.num_splits"),
        ({"split_config": SPLIT | {"num_splits": "5"}}, "INVALID_SPLIT_CONFIG", "split_config.num_splits"),
        (
            {"split_config": SPLIT | {"duration_minutes": 0}},
            "INVALID_SPLIT_CONFIG",
            "split_config.duration_minutes",
        ),
        (
            {"split_config": SPLIT | {"duration_minutes": 1441}},
            "INVALID_SPLIT_CONFIG",
            "split_config.duration_minutes",
        ),
        ({"split_config": SPLIT | {"randomize": "true"}}, "INVALID_SPLIT_CONFIG", "split_config.randomize"),
        ({"split_config": SPLIT | {"extra": 1}}, "INVALID_SPLIT_CONFIG", "split_config"),
        ({"start_at": "2026-01-05T09:15:00"}, "INVALID_REQUEST", "start_at"),
        ({"start_at": "tomorrow"}, "INVALID_REQUEST", "start_at"),
        ({"start_at": 1767600000}, "INVALID_REQUEST", "start_at"),
        ({"order_type": "STOP"}, "INVALID_REQUEST", "order_type"),
        ({"order_type": "LIMIT"}, "INVALID_PRICE", "limit_price"),
        ({"limit_price": "10"}, "INVALID_PRICE", "limit_price"),
        ({"trigger_price": "10"}, "INVALID_PRICE", "trigger_price"),
        ({"order_type": "SL", "limit_price": "10"}, "INVALID_PRICE", "trigger_price"),
        ({"order_type": "SL", "trigger_price": "10"}, "INVALID_PRICE", "limit_price"),
        ({"order_type": "SL-M", "trigger_price": "1", "limit_price": "1"}, "INVALID_PRICE", "limit_price"),
        (
            {"order_type": "SL-M", "trigger_price": "10", "split_config": SPLIT},
            "INVALID_SPLIT_CONFIG",
            "split_config",
        ),
        ({"product": "BO"}, "INVALID_REQUEST", "product"),
        ({"validity": None}, "INVALID_REQUEST", "validity"),
        ({"strategy_tag": ""}, "INVALID_REQUEST", "strategy_tag"),
        ({"strategy_tag": "x" * 65}, "INVALID_REQUEST", "strategy_tag"),
        ({"strategy_tag": "a b"}, "INVALID_REQUEST", "strategy_tag"),
        ({"order_unique_key": ""}, "INVALID_REQUEST", "order_unique_key"),
        ({"order_unique_key": "a/b"}, "INVALID_REQUEST", "order_unique_key"),
        ({"order_unique_key": "x" * 129}, "INVALID_REQUEST", "order_unique_key"),
        ({"order_unique_key": 7}, "INVALID_REQUEST", "order_unique_key"),
        ({"quantity": 5}, "INVALID_REQUEST", "quantity"),
        ({"Side": "BUY"}, "INVALID_REQUEST", "Side"),
    ],
)
def test_bad_fields(fields: dict[str, Any], code: str, field: str) -> None:
    assert fault(ORDER | fields) == (code, field)


@pytest.mark.parametrize(
    "price",
    ["0", "-1", "100000000.01", "1.00001", "NaN", "1e2", "1_0", " 1", "", "١", "1\n", True, [], 0, 1e300, 1e-5],
)
def test_bad_prices(price: object) -> None:
    assert fault(ORDER | {"order_type": "LIMIT", "limit_price": price}) == ("INVALID_PRICE", "limit_price")


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("instrument", "INVALID_INSTRUMENT"),
        ("side", "INVALID_REQUEST"),
        ("total_quantity", "INVALID_QUANTITY"),
    ],
)
def test_missing_fields(field: str, code: str) -> None:
    order = dict(ORDER)
    del order[field]

    assert fault(order) == (code, field)


def test_a_preview_takes_no_key() -> None:
    assert fault(ORDER, PreviewRequest) == ("INVALID_REQUEST", "order_unique_key")


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": 5}, {"reason": "x" * 501}])
def test_a_halt_needs_a_reason(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidBody) as raised:
        decode(json.dumps(body).encode(), TradingCommand)

    assert raised.value.field == "reason"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff", b"{}x", b"[" * 100_000])
def test_a_body_that_is_no_order(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        decode(body, OrderRequest)


def keyed(fields: dict[str, Any], header: str | None) -> bytes:
    body = json.dumps(fields, indent=1).encode()
    return keyed_body(decode(body, OrderRequest), body, header)


@pytest.mark.parametrize("header", [None, "k-1"])
def test_a_body_with_a_key_is_passed_on_as_it_came(header: str | None) -> None:
    assert keyed(ORDER, header) == json.dumps(ORDER, indent=1).encode()


@pytest.mark.parametrize("given", [{}, {"order_unique_key": None}])
def test_the_header_stands_in_for_the_key(given: dict[str, Any]) -> None:
    body = b'{"order_type": "LIMIT", "limit_price": 1.10, ' + json.dumps(ORDER | given).encode()[1:]
    if not given:
        body = body.replace(b'"order_unique_key": "k-1", ', b"")

    sent = keyed_body(decode(body, OrderRequest), body, "h-1")

    assert json.loads(sent)["order_unique_key"] == "h-1"
    assert b"1.10" in sent  # digit for digit
    assert decode(sent, OrderRequest).order_unique_key == "h-1"


@pytest.mark.parametrize(
    ("key", "header", "field"),
    [
        (None, None, "order_unique_key"),
        ("k-1", "k-2", "Idempotency-Key"),
        (None, "", "Idempotency-Key"),
        ("k-1", "a b", "Idempotency-Key"),
        (None, "x" * 129, "Idempotency-Key"),
    ],
)
def test_a_missing_malformed_or_second_key(key: str | None, header: str | None, field: str) -> None:
    with pytest.raises(ServiceError) as raised:
        keyed(ORDER | {"order_unique_key": key}, header)

    assert (raised.value.code, raised.value.details) == ("INVALID_REQUEST", {"field": field})
