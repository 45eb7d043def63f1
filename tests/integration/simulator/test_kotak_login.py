"""Logging in at the simulated Kotak, and what a session is good for."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pulse.simulate import DEFAULT_ACCESS_TOKEN, DEFAULT_MOBILE_NUMBER, DEFAULT_MPIN, DEFAULT_UCC
from tests.integration.simulator.neo import LIMIT, KotakProcess, code, placed

Start = Callable[..., KotakProcess]
HEADERS = {"Authorization": DEFAULT_ACCESS_TOKEN, "neo-fin-key": "neotradeapi"}
LOGIN, VALIDATE = "/login/1.0/tradeApiLogin", "/login/1.0/tradeApiValidate"


def ask(process: KotakProcess, path: str, body: dict[str, str], **headers: str) -> httpx.Response:
    return httpx.post(process.url + path, json=body, headers={**HEADERS, **headers})


def first_step(**changes: str) -> dict[str, str]:
    return {"mobileNumber": DEFAULT_MOBILE_NUMBER, "ucc": DEFAULT_UCC, "totp": code(), **changes}


def test_two_steps_give_a_session_and_where_it_is_good(kotak_process: KotakProcess) -> None:
    view = ask(kotak_process, LOGIN, first_step()).json()["data"]
    trade = ask(kotak_process, VALIDATE, {"mpin": DEFAULT_MPIN}, sid=view["sid"], Auth=view["token"]).json()[
        "data"
    ]

    assert (view["kType"], trade["kType"], trade["status"]) == ("View", "Trade", "success")
    assert (trade["baseUrl"], trade["ucc"]) == (kotak_process.url, DEFAULT_UCC)
    assert trade["rtUrl"] == f"{kotak_process.url}/realtime"
    payload = trade["token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"] > 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"totp": "000000"}, 401), ({"ucc": "OTHER"}, 401), ({"mobileNumber": "+910000000000"}, 401)],
)
def test_what_is_wrong_is_401(kotak_process: KotakProcess, changes: dict[str, str], status: int) -> None:
    answer = ask(kotak_process, LOGIN, first_step(**changes))

    assert answer.status_code == status
    assert (answer.json()["status"], answer.json()["errorCode"]) == ("error", str(status))


def test_what_is_missing_is_an_error_under_200(kotak_process: KotakProcess) -> None:
    answer = ask(kotak_process, LOGIN, first_step(mobileNumber=""))

    assert (answer.status_code, answer.json()) == (
        200, {"error": [{"code": "400", "message": "Missing required field 'MobileNumber'"}]},
    )  # fmt: skip


@pytest.mark.parametrize("header", ["Authorization", "neo-fin-key"])
def test_the_application_is_asked_for_too(kotak_process: KotakProcess, header: str) -> None:
    assert ask(kotak_process, LOGIN, first_step(), **{header: "another"}).status_code == 401


def test_the_first_step_alone_is_no_session(kotak_process: KotakProcess) -> None:
    view = ask(kotak_process, LOGIN, first_step()).json()["data"]
    wrong = ask(kotak_process, VALIDATE, {"mpin": "000000"}, sid=view["sid"], Auth=view["token"])
    elsewhere = ask(kotak_process, VALIDATE, {"mpin": DEFAULT_MPIN}, sid="another", Auth=view["token"])
    orders = httpx.get(
        f"{kotak_process.url}/quick/user/orders", headers={"Sid": view["sid"], "Auth": view["token"]}
    )

    assert (wrong.status_code, elsewhere.status_code) == (401, 403)
    assert (orders.status_code, orders.json()["stat"]) == (403, "Not_Ok")


def test_several_sessions_are_good_until_the_day_ends(start_kotak: Start) -> None:
    process = start_kotak()
    first, second = process.client(), process.client()
    placed(first)
    process.restart()
    placed(second)
    seen = [len(neo.order_report()["data"]) for neo in (first, second)]
    process.control("POST", "/roll")

    assert seen == [2, 2]
    assert [neo.order_report()["stCode"] for neo in (first, second)] == [403, 403]
    # Codes are made by clocks that nobody has moved.
    assert process.client().order_report()["stCode"] == 5203


def test_orders_come_from_registered_addresses_alone(start_kotak: Start) -> None:
    process = start_kotak("--static-ip", "192.0.2.1")
    neo = process.client()

    assert neo.place_order(**LIMIT) == {"stCode": 100008, "errMsg": "unauthorized", "stat": "Not_Ok"}
    assert neo.cancel_order(order_id="1")["stCode"] == 100008
    assert neo.order_report()["stCode"] == 5203, "reads may come from anywhere"
    assert process.book() == []


def test_orders_come_from_where_their_session_was_opened(kotak_process: KotakProcess) -> None:
    headers = kotak_process.session()
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=elsewhere, base_url=kotak_process.url, headers=headers) as client:
        refused = client.post("/quick/order/cancel", data={"jData": '{"on":"1","am":"NO"}'}).json()
        ip = client.get("/login/1.0/get-client-ip").json()

    assert (refused["stCode"], refused["errMsg"]) == (1037, "session ip doesnt match with reqest ip")
    assert (ip["data"][0]["ip"], ip["stCode"]) == ("127.0.0.2", 1000)


def test_market_data_need_the_application_alone(kotak_process: KotakProcess) -> None:
    client = kotak_process.new_client()
    quotes = client.quotes(
        instrument_tokens=[{"instrument_token": "1594", "exchange_segment": "nse_cm"}], quote_type="ltp"
    )
    bad = httpx.get(f"{kotak_process.url}/script-details/1.0/masterscrip/file-paths")

    assert quotes[0]["ltp"] == "1500.0000"
    assert (bad.status_code, bad.json()["code"]) == (401, "900901")


def test_what_is_not_there_is_told_in_the_envelope(kotak_process: KotakProcess) -> None:
    answer: Any = httpx.get(f"{kotak_process.url}/nowhere")

    assert (answer.status_code, answer.json()["stat"]) == (404, "Not_Ok")
