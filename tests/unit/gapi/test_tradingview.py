import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gapi import tradingview
from gapi.alert_values import FIELDS
from gapi.orders import OrderRequest, SplitConfig
from service_kit import ServiceError
from service_kit.litestar_kit import decode

ALERTS = Path(__file__).parents[3].parent / "shared" / "data" / "tradingview-alerts"
DEFAULT_SPLIT = SplitConfig(num_splits=4, duration_minutes=30, randomize=False)
ALERT: dict[str, Any] = {"symbol": "TCS", "action": "buy", "quantity": "10"}


def order(fields: dict[str, Any], split: SplitConfig | None = None) -> dict[str, Any]:
    """The order request that an alert becomes; Pulse would find no fault with its shape."""
    made = tradingview.order(tradingview.read(json.dumps(fields).encode()), split)
    decode(made.body, OrderRequest)
    request: dict[str, Any] = json.loads(made.body)
    return request


def fault(fields: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ServiceError) as raised:
        order(fields)
    return raised.value.code, raised.value.details["field"]


def test_the_least_alert() -> None:
    assert order(ALERT) == {"instrument": "NSE:TCS", "side": "BUY", "total_quantity": 10}


def test_every_name_at_once() -> None:
    request = order(
        {
            "passphrase": "secret",
            "instrument": "NFO:NIFTY26JANFUT",
            "side": "Sell",
            "total_quantity": 150,
            "order_type": "sl",
            "limit_price": "100.50",
            "trigger_price": 101,
            "product": "nrml",
            "validity": "ioc",
            "start_at": "2026-01-05T09:15:00+05:30",
            "strategy_tag": "alpha",
            "order_unique_key": "k-1",
            "position_size": "-150",
        }
    )

    assert request == {
        "instrument": "NFO:NIFTY26JANFUT",
        "side": "SELL",
        "total_quantity": 150,
        "order_type": "SL",
        "limit_price": "100.50",
        "trigger_price": "101",
        "product": "NRML",
        "validity": "IOC",
        "start_at": "2026-01-05T09:15:00+05:30",
        "strategy_tag": "alpha",
        "order_unique_key": "k-1",
    }


@pytest.mark.parametrize(
    ("fields", "instrument"),
    [
        ({"symbol": "tcs"}, "NSE:TCS"),
        ({"ticker": "TCS"}, "NSE:TCS"),
        ({"symbol": "NSE:TCS"}, "NSE:TCS"),
        ({"ticker": "nse:tcs"}, "NSE:TCS"),
        ({"symbol": "NSE_DLY:TCS"}, "NSE:TCS"),
        ({"symbol": "TCS", "exchange": "NSE_DL"}, "NSE:TCS"),
        ({"symbol": "TCS", "exchange": "bse"}, "BSE:TCS"),
        ({"symbol": "NSE:TCS", "exchange": "NSE_DLY"}, "NSE:TCS"),
        ({"symbol": "CRUDEOIL26JANFUT", "exchange": "MCX"}, "MCX:CRUDEOIL26JANFUT"),
        ({"symbol": 500325, "exchange": "BSE"}, "BSE:500325"),
        ({"symbol": " TCS ", "exchange": ""}, "NSE:TCS"),
        ({"instrument": "nse:m&m"}, "NSE:M&M"),
    ],
)
def test_instruments(fields: dict[str, Any], instrument: str) -> None:
    assert order({"action": "buy", "quantity": 1} | fields)["instrument"] == instrument


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "instrument"),
        ({"exchange": "NSE"}, "instrument"),
        ({"symbol": "NYSE:IBM"}, "symbol"),
        ({"ticker": "T C S"}, "ticker"),
        ({"symbol": "NSE:TCS", "exchange": "BSE"}, "exchange"),
        ({"symbol": "TCS", "exchange": "BSE_DLY"}, "exchange"),
        ({"symbol": "TCS", "exchange": 5}, "exchange"),
        ({"symbol": True}, "symbol"),
        ({"symbol": {"of": "TCS"}}, "symbol"),
        ({"instrument": "TCS"}, "instrument"),
        ({"instrument": "NSE:TCS", "symbol": "TCS"}, "symbol"),
        ({"exchange": "NSE", "instrument": "NSE:TCS"}, "instrument"),
    ],
)
def test_bad_instruments(fields: dict[str, Any], name: str) -> None:
    assert fault({"action": "buy", "quantity": 1} | fields) == ("INVALID_INSTRUMENT", name)


@pytest.mark.parametrize("name", ["side", "action"])
@pytest.mark.parametrize("value", ["buy", "BUY", " Buy "])
def test_sides(name: str, value: str) -> None:
    assert order({"symbol": "TCS", "quantity": 1, name: value})["side"] == "BUY"


@pytest.mark.parametrize("name", ["total_quantity", "quantity"])
@pytest.mark.parametrize("value", ["10", 10, "10.0", 10.0, " 10 ", "+10"])
def test_quantities(name: str, value: object) -> None:
    assert order({"symbol": "TCS", "action": "buy", name: value})["total_quantity"] == 10


@pytest.mark.parametrize(
    "value",
    ["10.5", 10.5, "0", -1, "ten", "1e1", "1_0", "NaN", "١", True, {}, "10,000", 10**12, "9" * 40, 1e300],
)
def test_bad_quantities(value: object) -> None:
    assert fault(ALERT | {"quantity": value}) == ("INVALID_QUANTITY", "quantity")


@pytest.mark.parametrize("name", ["order_type", "pricetype"])
@pytest.mark.parametrize("price", ["limit_price", "price"])
def test_limits(name: str, price: str) -> None:
    request = order(ALERT | {name: "limit", price: "3787.05"})

    assert (request["order_type"], request["limit_price"]) == ("LIMIT", "3787.05")


def test_a_json_number_is_a_price_digit_for_digit() -> None:
    made = tradingview.order(
        tradingview.read(b'{"symbol":"TCS","action":"buy","quantity":1,"pricetype":"LIMIT","price":3787.10}'),
        None,
    )

    assert json.loads(made.body)["limit_price"] == "3787.10"


@pytest.mark.parametrize("kind", [{}, {"pricetype": "MARKET"}, {"pricetype": "sl-m", "trigger_price": "90"}])
@pytest.mark.parametrize("price", ["1423.55", "NaN", "0", 0])
def test_price_without_a_limit_only_tells_the_close(kind: dict[str, Any], price: object) -> None:
    assert "limit_price" not in order(ALERT | kind | {"price": price})


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"limit_price": "10"}, "limit_price"),
        ({"trigger_price": "10"}, "trigger_price"),
        ({"pricetype": "LIMIT"}, "limit_price"),
        ({"pricetype": "LIMIT", "price": "0"}, "price"),
        ({"pricetype": "LIMIT", "price": "-1"}, "price"),
        ({"pricetype": "LIMIT", "price": "NaN"}, "price"),
        ({"pricetype": "LIMIT", "price": {}}, "price"),
        ({"pricetype": "LIMIT", "price": 1e-30}, "price"),
        ({"pricetype": "SL", "price": "10"}, "trigger_price"),
        ({"pricetype": "SL-M", "trigger_price": "many"}, "trigger_price"),
    ],
)
def test_bad_prices(fields: dict[str, Any], name: str) -> None:
    assert fault(ALERT | fields) == ("INVALID_PRICE", name)


@pytest.mark.parametrize("name", ["strategy_tag", "strategy"])
def test_strategy_tags_are_made_to_fit(name: str) -> None:
    assert order(ALERT | {name: "Long entry (β)"})["strategy_tag"] == "Long_entry____"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"action": "hold"}, "action"),
        ({"pricetype": "MKT"}, "pricetype"),
        ({"product": "BO"}, "product"),
        ({"validity": "GTC"}, "validity"),
        ({"start_at": "09:15"}, "start_at"),
        ({"strategy": "x" * 65}, "strategy"),
        ({"strategy": {}}, "strategy"),
        ({"order_unique_key": "a b"}, "order_unique_key"),
        ({"stop_loss": "90"}, "stop_loss"),
        ({"alert": "{{plot_0}}"}, "alert"),
        ({"side": "buy"}, "side"),
        ({"strategy": "a", "strategy_tag": "a"}, "strategy_tag"),
        ({"apikey": "a", "secret": "a"}, "secret"),
        ({"action": "{{strategy.order.action}}"}, "action"),
        ({"strategy": "Long {{strategy.order.id}}"}, "strategy"),
        ({"orders": [{"symbol": "TCS"}]}, "orders"),
        ({"stop_loss": "90", "order_legs": []}, "order_legs"),
        ({"x" * 1000: 1}, "x" * 64),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(fields: dict[str, Any], name: str) -> None:
    assert fault(ALERT | fields) == ("INVALID_REQUEST", name)


def test_a_placeholder_in_a_quantity_is_named() -> None:
    placeholder = "{{strategy.order.contracts}}"

    assert fault(ALERT | {"quantity": placeholder}) == ("INVALID_QUANTITY", "quantity")


@pytest.mark.parametrize(("first", "second"), [("quantity", "total_quantity"), ("price", "limit_price")])
def test_a_field_under_two_names_is_refused(first: str, second: str) -> None:
    assert fault({"symbol": "TCS", "action": "buy", first: 1, second: 1})[1] == second


def test_a_field_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ServiceError) as raised:
        tradingview.read(b'{"symbol":"TCS","action":"buy","quantity":1,"quantity":2}')

    assert raised.value.details == {"field": "quantity"}


def test_empty_values_count_as_absent() -> None:
    assert order(ALERT | {"price": "", "stop_loss": " ", "target": None, "position_size": ""}) == order(ALERT)
    assert fault(ALERT | {"quantity": ""}) == ("INVALID_QUANTITY", "total_quantity")


@pytest.mark.parametrize(("action", "size"), [("buy", "10"), ("buy", 10), ("buy", "10.0"), ("sell", "-10")])
def test_a_position_that_agrees(action: str, size: object) -> None:
    assert "position_size" not in order(ALERT | {"action": action, "position_size": size})


@pytest.mark.parametrize(("action", "size"), [("buy", "0"), ("buy", "20"), ("sell", "10"), ("sell", "-20")])
def test_a_position_that_says_something_else(action: str, size: object) -> None:
    assert fault(ALERT | {"action": action, "position_size": size}) == ("INVALID_REQUEST", "position_size")


def test_a_split_of_the_alert() -> None:
    split = {"num_splits": "3", "duration_minutes": 20.0, "randomize": "False", "note": ""}

    request = order(ALERT | {"split_config": split}, DEFAULT_SPLIT)

    assert request["split_config"] == {"num_splits": 3, "duration_minutes": 20, "randomize": False}


@pytest.mark.parametrize(
    ("split", "name"),
    [
        ("4", "split_config"),
        ({}, "split_config"),
        ({"num_splits": "4"}, "split_config"),
        ({"num_splits": "1", "duration_minutes": "5"}, "split_config.num_splits"),
        ({"num_splits": "{{x}}", "duration_minutes": "5"}, "split_config.num_splits"),
        ({"num_splits": [4], "duration_minutes": "5"}, "split_config.num_splits"),
        ({"num_splits": 4, "duration_minutes": "1441"}, "split_config.duration_minutes"),
        ({"num_splits": 4, "duration_minutes": 5, "randomize": "maybe"}, "split_config.randomize"),
        ({"num_splits": 4, "duration_minutes": 5, "extra": "1"}, "split_config.extra"),
    ],
)
def test_bad_splits(split: object, name: str) -> None:
    assert fault(ALERT | {"split_config": split}) == ("INVALID_SPLIT_CONFIG", name)


def test_the_default_split() -> None:
    assert order(ALERT, DEFAULT_SPLIT)["split_config"] == {
        "num_splits": 4,
        "duration_minutes": 30,
        "randomize": False,
    }


@pytest.mark.parametrize(("quantity", "slices"), [(4, 4), (3, 3), (2, 2)])
def test_the_default_split_has_no_more_slices_than_units(quantity: int, slices: int) -> None:
    request = order(ALERT | {"quantity": quantity}, DEFAULT_SPLIT)

    assert request["split_config"]["num_splits"] == slices


@pytest.mark.parametrize(
    "fields",
    [
        {"quantity": 1},
        {"pricetype": "SL-M", "trigger_price": 9},
        {"pricetype": "SL", "trigger_price": 9, "price": 9},
    ],
)
def test_the_default_split_is_left_out(fields: dict[str, Any]) -> None:
    assert "split_config" not in order(ALERT | fields, DEFAULT_SPLIT)


@pytest.mark.parametrize(
    "body",
    [
        b"SENSEX251016C75000 sell 1",
        b"",
        b"{",
        b'{"quantity": }',
        b'{"quantity": NaN}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": 1e99999999999999999999}',
        b'{"a": ' + b"1" * 5000 + b"}",
        b"[" * 60_000,
        '{"a": 1}'.encode("utf-16"),
    ],
)
def test_what_is_not_json_is_told_so(body: bytes) -> None:
    with pytest.raises(ServiceError, match="not JSON") as raised:
        tradingview.read(body)

    assert raised.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize("body", [b"[]", b'[{"symbol":"TCS"}]', b"5", b'"x"', b"null"])
def test_an_alert_is_one_object(body: bytes) -> None:
    with pytest.raises(ServiceError, match="one JSON object"):
        tradingview.read(body)


@pytest.mark.parametrize(
    ("fields", "secrets"),
    [
        ({}, []),
        ({"apikey": ""}, []),
        ({"apikey": "a", "passphrase": "b"}, ["a", "b"]),
        ({"secret": 5}, [""]),
        ({"secret": ["a"]}, [""]),
    ],
)
def test_secrets(fields: dict[str, Any], secrets: list[str]) -> None:
    assert tradingview.read(json.dumps(fields).encode()).secrets == secrets


def test_an_alert_with_a_key_says_so() -> None:
    for fields, has_key in ((ALERT, False), (ALERT | {"order_unique_key": "k"}, True)):
        made = tradingview.order(tradingview.read(json.dumps(fields).encode()), None)

        assert made.has_key is has_key


REAL = {
    "01-openalgo-smart-order": {
        "instrument": "NSE:RELIANCE",
        "side": "BUY",
        "total_quantity": 10,
        "order_type": "MARKET",
        "product": "MIS",
        "strategy_tag": "Long",
    },
    "02-openalgo-flow-token-in-url": {"instrument": "NSE:RELIANCE", "side": "BUY", "total_quantity": 10},
    "03-openalgo-number-unquoted": {
        "instrument": "NSE:RELIANCE",
        "side": "BUY",
        "total_quantity": 10,
        "order_type": "MARKET",
        "product": "MIS",
    },
    "04-dhan-multi-leg": "order_legs",
    "05-kite-bridge-fixed-future": "transaction_type",
    "06-stocksdeveloper-place-orders": "orders",
    "07-algotest-plain-text": None,
    "08-secret-with-empty-levels": {
        "instrument": "NSE:RELIANCE",
        "side": "BUY",
        "total_quantity": 10,
        "strategy_tag": "Long",
    },
}


@pytest.mark.skipif(not ALERTS.is_dir(), reason="the collection of real alerts is not beside the repository")
@pytest.mark.parametrize("name", REAL)
def test_real_alerts(name: str) -> None:
    body = json.loads((ALERTS / f"{name}.json").read_text())["rendered"].encode()
    expected = REAL[name]

    if isinstance(expected, dict):
        assert json.loads(tradingview.order(tradingview.read(body), None).body) == expected
    else:
        with pytest.raises(ServiceError) as raised:
            tradingview.order(tradingview.read(body), None)
        assert raised.value.details.get("field") == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([*FIELDS, "orders", "x"]) | st.text(max_size=10)


@given(st.dictionaries(names, json_values, max_size=8), st.booleans())
@example({"symbol": "TCS", "action": "buy", "quantity": 1e308}, True)
def test_any_json_is_an_order_or_refused(fields: dict[str, Any], split: bool) -> None:
    body = json.dumps(fields).encode()
    with suppress(ServiceError):
        made = tradingview.order(tradingview.read(body), DEFAULT_SPLIT if split else None)

        decode(made.body, OrderRequest)


near_orders = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["TCS", "nse:tcs", "NFO:X", "?"]),
        "action": st.sampled_from(["buy", "Sell", "hold"]),
        "quantity": st.integers(-1, 200).map(str) | st.floats(0, 5),
    },
    optional={
        "pricetype": st.sampled_from(["market", "LIMIT", "sl", "sl-m", "x"]),
        "price": st.decimals(allow_nan=True, allow_infinity=True).map(str) | st.floats(0, 1e9),
        "trigger_price": st.floats(-1, 1e9),
        "split_config": json_values
        | st.fixed_dictionaries({"num_splits": st.integers(0, 101), "duration_minutes": st.integers(0, 1441)}),
        "position_size": st.integers(-200, 200),
    },
)


@given(near_orders)
def test_what_comes_out_is_what_was_meant(fields: dict[str, Any]) -> None:
    try:
        made = tradingview.order(tradingview.read(json.dumps(fields).encode()), DEFAULT_SPLIT)
    except ServiceError:
        return
    request = decode(made.body, OrderRequest)

    assert request.side.lower() == fields["action"].lower()
    assert request.total_quantity == float(fields["quantity"])
    if request.split_config is not None:
        assert request.split_config.num_splits >= 2
        assert request.order_type in ("MARKET", "LIMIT")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(ServiceError):
        tradingview.order(tradingview.read(body), None)
