"""Sessions, money, positions and the market, through the broker's own client."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import requests
from kiteconnect import KiteConnect
from kiteconnect.exceptions import InputException, TokenException

from tests.integration.simulator.process import API_KEY, API_SECRET, KiteProcess, eventually
from tests.integration.simulator.test_orders import in_status, placed, row

Start = Callable[..., KiteProcess]


def request_token(process: KiteProcess) -> str:
    token: str = process.control("POST", "/request-token")["request_token"]
    return token


def test_a_login_exchanges_a_request_token_once(kite_process: KiteProcess) -> None:
    kite = kite_process.client_of("")
    token = request_token(kite_process)
    session = kite.generate_session(token, API_SECRET)
    profile = kite.profile()
    with pytest.raises(TokenException, match="invalid or has expired"):
        kite.generate_session(token, API_SECRET)

    assert session["login_time"].tzinfo is None
    assert (profile["user_id"], profile["broker"]) == (session["user_id"], "ZERODHA")


def test_a_wrong_secret_is_refused(kite_process: KiteProcess) -> None:
    with pytest.raises(TokenException):
        kite_process.client_of("").generate_session(request_token(kite_process), "wrong")


def test_the_login_page_sends_the_user_back_with_a_token(kite_process: KiteProcess) -> None:
    page = requests.get(
        f"{kite_process.url}/connect/login?v=3&api_key={API_KEY}&redirect_params=a%3Db",
        allow_redirects=False,
        timeout=5,
    )

    assert page.status_code == 302
    assert "request_token=" in page.headers["location"]
    assert page.headers["location"].endswith("&a=b")


def test_tokens_end_at_six_in_the_morning(kite: KiteConnect, kite_process: KiteProcess) -> None:
    expired: list[bool] = []
    kite.set_session_expiry_hook(lambda: expired.append(True))
    kite_process.control("POST", "/roll")

    with pytest.raises(TokenException) as refused:
        kite.orders()
    assert (refused.value.code, expired) == (403, [True])
    # The dump does not ask.
    assert kite.instruments("NSE")


def test_a_new_login_replaces_the_session(kite: KiteConnect, kite_process: KiteProcess) -> None:
    kite_process.client()

    with pytest.raises(TokenException):
        kite.profile()


def test_errors_of_the_router_have_the_envelope(kite_process: KiteProcess) -> None:
    missing = requests.get(f"{kite_process.url}/nowhere", timeout=5)
    wrong = requests.delete(f"{kite_process.url}/orders", timeout=5)

    assert (missing.status_code, missing.json()["status"]) == (404, "error")
    assert (wrong.status_code, wrong.json()["error_type"]) == (405, "GeneralException")


def test_a_day_ends_and_another_begins(start_kite: Start) -> None:
    process = start_kite()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    process.pin("NSE:ITC", "400", "399.90", "400")
    kite = process.client()
    future = next(i for i in kite.instruments("NFO") if i["instrument_type"] == "FUT")
    symbol, lot = future["tradingsymbol"], future["lot_size"]
    process.pin(f"NFO:{symbol}", "25000", "24999", "25000")
    delivery = placed(kite, price=1501.0)
    intraday = placed(kite, tradingsymbol="ITC", price=401.0, product="MIS")
    carried = placed(kite, exchange="NFO", tradingsymbol=symbol, price=25001.0, product="NRML", quantity=lot)
    resting = placed(kite)
    for order_id in (delivery, intraday, carried):
        in_status(kite, order_id, "COMPLETE")
    in_status(kite, resting, "OPEN")
    process.control("POST", "/roll")
    kite = process.client()
    (held,), (position,) = kite.holdings(), kite.positions()["net"]

    assert (kite.orders(), kite.trades(), kite.positions()["day"]) == ([], [], [])
    assert (held["tradingsymbol"], held["t1_quantity"], held["opening_quantity"]) == ("INFY", 10, 10)
    assert (position["tradingsymbol"], position["overnight_quantity"], position["quantity"]) == (
        symbol,
        lot,
        lot,
    )
    assert process.control("GET", "/book")["balanced"]


def test_shares_bought_yesterday_can_be_sold(start_kite: Start) -> None:
    process = start_kite()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()
    in_status(kite, placed(kite, price=1501.0), "COMPLETE")
    process.control("POST", "/roll")
    kite = process.client()
    in_status(kite, placed(kite, transaction_type="SELL", quantity=4, price=1499.0), "COMPLETE")
    (held,) = kite.holdings()

    assert (held["opening_quantity"], held["used_quantity"]) == (10, 4)
    assert kite.positions()["net"][0]["quantity"] == -4


def test_a_position_is_converted(start_kite: Start) -> None:
    process = start_kite()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()
    in_status(kite, placed(kite, price=1501.0, product="MIS"), "COMPLETE")
    arguments = {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "position_type": "day",
        "old_product": "MIS", "new_product": "CNC",
    }  # fmt: skip
    assert kite.convert_position(**arguments, quantity=4) is True
    with pytest.raises(InputException):
        kite.convert_position(**arguments, quantity=7)
    state = process.control("GET", "/state")

    quantities = {p["product"]: p["quantity"] for p in kite.positions()["net"]}
    assert quantities == {"MIS": 6, "CNC": 4}
    assert process.control("GET", "/book")["balanced"]
    process.restart()
    assert process.control("GET", "/state") == state


def test_money_is_blocked_and_given_back(start_kite: Start) -> None:
    process = start_kite("--capital", "100000")
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()
    order_id = placed(kite)
    blocked = kite.margins("equity")
    in_status(kite, order_id, "OPEN")
    kite.cancel_order("regular", order_id)
    in_status(kite, order_id, "CANCELLED")

    assert (blocked["net"], blocked["utilised"]["debits"]) == (86_000, 14_000)
    assert kite.margins()["equity"]["net"] == 100_000


def test_orders_fill_in_parts_where_volume_is_shared(start_kite: Start) -> None:
    process = start_kite("--participation", "0.1")
    process.pin("NSE:INFY", "1500", "1500", "1500", volume=1000)
    kite = process.client()
    order_id = placed(kite, quantity=100, price=1500.0)
    in_status(kite, order_id, "OPEN")
    filled: list[Any] = []
    for volume in (1300, 1500, 9999):
        process.pin("NSE:INFY", "1500", "1500", "1500", volume=volume)
        eventually(lambda: row(kite, order_id)["filled_quantity"] > (filled[-1][1] if filled else 0))
        order = row(kite, order_id)
        filled.append((order["status"], order["filled_quantity"], order["pending_quantity"]))

    assert filled == [("OPEN", 30, 70), ("OPEN", 50, 50), ("COMPLETE", 100, 0)]
    assert [trade["quantity"] for trade in kite.order_trades(order_id)] == [30, 20, 50]


def test_quotes_know_what_they_are_asked_for(kite: KiteConnect) -> None:
    quotes = kite.quote("NSE:INFY", "NSE:NOSUCH", "NSE:NIFTY 50")
    by_token = kite.ltp(408065)

    assert set(quotes) == {"NSE:INFY", "NSE:NIFTY 50"}
    assert [level["price"] for level in quotes["NSE:INFY"]["depth"]["buy"]] == [
        1499.9, 1499.8, 1499.7, 1499.6, 1499.5,
    ]  # fmt: skip
    assert by_token["408065"]["last_price"] == 1500
    with pytest.raises(InputException, match="Maximum 500"):
        kite.quote(*(f"NSE:X{n}" for n in range(501)))


def test_candles_have_a_longest_span(kite: KiteConnect) -> None:
    day = kite.historical_data(408065, "2026-11-02 00:00:00", "2026-11-06 23:59:59", "day")
    minutes = kite.historical_data(
        408065, datetime(2026, 11, 2, 9, 15), datetime(2026, 11, 2, 9, 19), "minute", oi=True
    )

    assert [candle["date"].strftime("%d %H:%M%z") for candle in day[:2]] == ["02 00:00+0530", "03 00:00+0530"]
    assert len(day) == 5
    assert len(minutes) == 5
    assert all(c["low"] <= c["open"] <= c["high"] and c["low"] <= c["close"] <= c["high"] for c in minutes)
    with pytest.raises(InputException, match="60 days"):
        kite.historical_data(408065, "2026-01-01 00:00:00", "2026-11-06 23:59:59", "minute")


def test_margins_and_charges_are_told_before_an_order(kite: KiteConnect) -> None:
    order = {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "variety": "regular",
        "product": "CNC", "order_type": "LIMIT", "quantity": 10, "price": 1500, "trigger_price": 0,
    }  # fmt: skip
    (margin,) = kite.order_margins([order])
    basket = kite.basket_order_margins([order, {**order, "transaction_type": "SELL"}])
    (note,) = kite.get_virtual_contract_note([{**order, "order_id": "1", "average_price": 1500}])

    assert (margin["total"], margin["charges"]["transaction_tax"]) == (15_000, 15)
    assert (basket["initial"]["total"], basket["final"]["total"]) == (30_000, 0)
    assert note["charges"]["transaction_tax_type"] == "stt"
    with pytest.raises(InputException):
        kite.order_margins([{"exchange": "NSE"}])
