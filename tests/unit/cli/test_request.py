from typing import Any

import pytest

from pulse.errors import BadInput
from pulse.request import OrderType, Product, Side, Validity, check_order_id, new_key, order_request


def request(**given: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"key": "k-1", "instrument": "NSE:TCS", "side": Side.BUY, "quantity": 120}
    return order_request(**fields | given)


def test_plain_order_leaves_the_rest_to_the_service() -> None:
    assert request() == {
        "order_unique_key": "k-1",
        "instrument": "NSE:TCS",
        "side": "BUY",
        "total_quantity": 120,
    }


def test_everything_given_is_sent() -> None:
    sent = request(
        instrument="NFO:NIFTY26JANFUT",
        side=Side.SELL,
        order_type=OrderType.SL,
        limit="3700.5",
        trigger="3701",
        product=Product.MIS,
        validity=Validity.IOC,
        start_at="2026-01-05T09:15:00+05:30",
        tag="mean-rev",
    )

    assert sent == {
        "order_unique_key": "k-1",
        "instrument": "NFO:NIFTY26JANFUT",
        "side": "SELL",
        "total_quantity": 120,
        "order_type": "SL",
        "limit_price": "3700.5",
        "trigger_price": "3701",
        "product": "MIS",
        "validity": "IOC",
        "start_at": "2026-01-05T09:15:00+05:30",
        "strategy_tag": "mean-rev",
    }


@pytest.mark.parametrize(("given", "sent"), [(None, True), (True, True), (False, False)])
def test_split_is_randomised_unless_told_otherwise(given: bool | None, sent: bool) -> None:
    split = request(splits=6, minutes=1, randomize=given)["split_config"]

    assert split == {"num_splits": 6, "duration_minutes": 1, "randomize": sent}


def test_instant_in_utc_is_taken() -> None:
    assert request(start_at="2026-01-05T03:45:00Z")["start_at"] == "2026-01-05T03:45:00+00:00"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"instrument": "TCS"}, "EXCHANGE:SYMBOL"),
        ({"instrument": "NSE:tcs"}, "EXCHANGE:SYMBOL"),
        ({"instrument": "NYSE:IBM"}, "EXCHANGE:SYMBOL"),
        ({"key": "a b"}, "--key"),
        ({"key": ""}, "--key"),
        ({"tag": "x" * 65}, "--tag"),
        ({"splits": 6}, "--minutes"),
        ({"minutes": 6}, "--splits"),
        ({"randomize": False}, "--splits"),
        ({"splits": 6, "minutes": 1, "order_type": OrderType.SL_M, "trigger": "1"}, "SL-M cannot be split"),
        ({"order_type": OrderType.LIMIT}, "LIMIT needs --limit"),
        ({"order_type": OrderType.SL, "limit": "1"}, "SL needs --trigger"),
        ({"limit": "1"}, "MARKET takes no --limit"),
        ({"order_type": OrderType.LIMIT, "limit": "0.00"}, "--limit must be a price"),
        ({"order_type": OrderType.LIMIT, "limit": "1e3"}, "--limit must be a price"),
        ({"order_type": OrderType.LIMIT, "limit": "nan"}, "--limit must be a price"),
        ({"start_at": "tomorrow"}, "ISO 8601"),
        ({"start_at": "2026-01-05T09:15:00"}, "offset"),
    ],
)
def test_malformed_input_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        request(**given)


def test_keys_are_random_and_allowed() -> None:
    first, second = new_key(), new_key()

    assert first != second
    assert request(key=first)["order_unique_key"] == first
    assert len(first) == len("cli-") + 24


@pytest.mark.parametrize("text", ["", "ord_", "42", "ord_../x", "ord_a?b=c"])
def test_what_is_no_order_id_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not an order id"):
        check_order_id(text)
