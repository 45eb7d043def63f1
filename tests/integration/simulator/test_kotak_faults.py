"""Each fault at the simulated Kotak, as a client sees it, and what is true behind it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.simulator.neo import LIMIT, KotakProcess, book, in_status, placed, row
from tests.integration.simulator.process import eventually
from tests.integration.simulator.test_kotak_orders import FIELDS

Start = Callable[..., KotakProcess]
PLACE = "/quick/order/rule/ms/place"


def true_count(process: KotakProcess) -> int:
    return len(process.book())


def send(process: KotakProcess, *, timeout: float = 5) -> httpx.Response:
    return httpx.post(
        process.url + PLACE, data={"jData": json.dumps(FIELDS)}, headers=process.session(), timeout=timeout
    )


@pytest.mark.parametrize(
    ("kind", "status", "code", "is_placed"),
    [
        ("reject", 400, 1009, False),
        ("html_504_before", 504, None, False),
        ("html_504_after", 504, None, True),
        ("timed_out_400", 400, 400, True),
        ("expire_token", 403, 403, False),
        ("too_many", 429, 429, False),
    ],
)
def test_a_struck_order_is_placed_or_not(
    start_kotak: Start, kind: str, status: int, code: int | None, is_placed: bool
) -> None:
    process = start_kotak()
    process.fault(kind)
    answer = send(process)

    assert answer.status_code == status
    assert (answer.text.startswith("<html>")) is (code is None)
    assert code is None or (answer.json()["stat"], answer.json()["stCode"]) == ("Not_Ok", code)
    assert true_count(process) == int(is_placed)


@pytest.mark.parametrize(("kind", "is_placed"), [("drop_before", False), ("drop_after", True)])
def test_a_connection_is_cut(kotak_process: KotakProcess, kind: str, is_placed: bool) -> None:
    before = true_count(kotak_process)
    kotak_process.fault(kind)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        send(kotak_process)

    assert true_count(kotak_process) - before == int(is_placed)


@pytest.mark.parametrize(("kind", "is_placed"), [("timeout_before", False), ("hang_after", True)])
def test_a_request_that_hangs_times_out(kotak_process: KotakProcess, kind: str, is_placed: bool) -> None:
    before = true_count(kotak_process)
    kotak_process.fault(kind, seconds=[2, 2])
    with pytest.raises(httpx.ReadTimeout):
        send(kotak_process, timeout=0.5)

    assert true_count(kotak_process) - before == int(is_placed)


def test_a_no_can_come_with_200_and_a_number_of_choice(kotak_process: KotakProcess) -> None:
    kotak_process.fault("reject", status=200, reason="1041", message="no price")
    refused = send(kotak_process)
    before = true_count(kotak_process)
    kotak_process.fault("timed_out_400", status=200, reason="1005")
    told = send(kotak_process)

    assert (refused.status_code, refused.json()["stCode"], refused.json()["errMsg"]) == (200, 1041, "no price")
    assert (told.status_code, told.json()["stat"]) == (200, "Not_Ok")
    assert "timed out" in told.json()["errMsg"]
    assert true_count(kotak_process) - before == 1


def test_changes_are_struck_too(neo: Any, kotak_process: KotakProcess) -> None:
    order_id = placed(neo)
    in_status(neo, order_id, "open")
    kotak_process.fault("html_504_after", call="cancel")

    answer = neo.cancel_order(order_id=order_id)

    assert "stat" not in answer
    in_status(neo, order_id, "cancelled")


def test_an_accepted_order_can_be_refused_later(neo: Any, kotak_process: KotakProcess) -> None:
    kotak_process.fault("reject_later", stage="RISK", message="RMS says no")
    kotak_process.fault("reject_later", stage="EXCHANGE", skip=1, message="17070 : price out of range")
    by_risk, by_exchange = placed(neo), placed(neo)

    assert in_status(neo, by_risk, "rejected")["rejRsn"] == "RMS says no"
    refused = in_status(neo, by_exchange, "rejected")
    assert refused["rejRsn"] == "17070 : price out of range"
    assert (row(neo, by_risk)["exOrdId"] == "NA", refused["exOrdId"] == "NA") == (True, False)


def test_a_hidden_order_appears_in_the_book_later(neo: Any, kotak_process: KotakProcess) -> None:
    kotak_process.fault("hide")
    order_id = placed(neo)
    at_first = [order["nOrdNo"] for order in book(neo)]
    by_number = neo.order_report(order_id=order_id)
    kotak_process.control("POST", "/clock", {"seconds": 91})

    assert order_id not in at_first
    assert by_number["stCode"] == 5203
    assert order_id in [order["nOrdNo"] for order in book(neo)]


def test_a_truncated_book_lacks_its_newest_rows_once(neo: Any, kotak_process: KotakProcess) -> None:
    ids = [placed(neo) for _ in range(3)]
    kotak_process.fault("truncate", rows=2)
    truncated = [order["nOrdNo"] for order in book(neo)]
    whole = [order["nOrdNo"] for order in book(neo)]

    assert whole[-3:] == ids
    assert truncated == whole[:-2]


def test_a_fault_can_wait_for_a_symbol(neo: Any, kotak_process: KotakProcess) -> None:
    kotak_process.fault("reject", symbol="ITC-EQ")
    placed(neo)

    assert neo.place_order(**{**LIMIT, "trading_symbol": "ITC-EQ", "price": "1"})["stat"] == "Not_Ok"


def test_more_than_ten_orders_a_second_are_429(start_kotak: Start) -> None:
    process = start_kotak(limits=True)
    headers = process.session()
    with httpx.Client(base_url=process.url, headers=headers) as client:
        answers = [client.post(PLACE, data={"jData": json.dumps(FIELDS)}) for _ in range(60)]
        refused = [each for each in answers if each.status_code == 429]
        reads = [client.get("/quick/user/orders").status_code for _ in range(15)]

    assert refused
    assert refused[0].headers["Retry-After"] == "1"
    assert true_count(process) == len(answers) - len(refused)
    assert set(reads) == {200}, "they are not counted"


def test_a_plan_strikes_from_the_start(start_kotak: Start, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"rules": [{"kind": "drop_after"}, {"kind": "truncate", "skip": 1}]}))
    process = start_kotak("--fault-plan", str(plan))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        send(process)
    neo = process.client()

    assert [len(book(neo)) for _ in range(3)] == [1, 0, 1]


@pytest.mark.parametrize("seed", [3, 4])
def test_pace_and_clock_come_from_the_seed(start_kotak: Start, seed: int) -> None:
    told = [start_kotak(seed=seed, delays=True).control("GET") for _ in range(2)]

    assert told[0]["pace"] == told[1]["pace"]
    assert told[0]["clock_offset_s"] == told[1]["clock_offset_s"] != 0


def test_the_truth_is_told_to_whoever_runs_it(neo: Any, kotak_process: KotakProcess) -> None:
    order_id = placed(neo, tag="truth")

    told = eventually(lambda: next((o for o in kotak_process.book() if o["order_id"] == order_id), None))
    assert told["tags"] == ["truth"]
    assert any(call["tag"] == "truth" for call in kotak_process.control("GET", "/calls"))
