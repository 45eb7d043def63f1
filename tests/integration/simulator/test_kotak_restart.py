"""kill -9 of the simulated Kotak, and everything is there again."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.simulator.neo import KotakProcess, book, history, in_status, placed
from tests.integration.simulator.process import KiteProcess, eventually
from tests.integration.simulator.test_kotak_orders import FIELDS

Start = Callable[..., KotakProcess]


def everything(neo: Any) -> dict[str, Any]:
    orders = book(neo)
    limits = neo.limits()
    del limits["TimeStamp"]
    return {
        "orders": orders,
        "histories": {order["nOrdNo"]: history(neo, order["nOrdNo"]) for order in orders},
        "trades": neo.trade_report(),
        "limits": limits,
    }


def test_a_killed_simulator_comes_back_with_its_book_and_session(start_kotak: Start) -> None:
    process = start_kotak()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    neo = process.client()
    done = placed(neo, price="1501", tag="done")
    resting = placed(neo, tag="resting")
    waiting = placed(neo, order_type="SL", trigger_price="1600", price="1610")
    in_status(neo, done, "complete")
    in_status(neo, resting, "open")
    in_status(neo, waiting, "trigger pending")
    neo.modify_order(order_id=resting, price="1400", order_type="L", quantity="15", validity="DAY")
    eventually(lambda: history(neo, resting)[0]["qty"] == 15)
    before, state = everything(neo), process.control("GET", "/state")

    process.restart()

    assert everything(neo) == before
    assert process.control("GET", "/state") == state


def test_what_rested_still_fills_and_numbers_go_on_after_a_kill(start_kotak: Start) -> None:
    process = start_kotak()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    neo = process.client()
    resting = placed(neo, tag="resting")
    in_status(neo, resting, "open")

    process.restart()
    process.pin("NSE:INFY", "1390", "1389.90", "1390")

    assert in_status(neo, resting, "complete")["fldQty"] == 10
    assert int(placed(neo)) == int(resting) + 1


def test_no_order_that_was_answered_is_lost_by_a_kill_under_load(start_kotak: Start) -> None:
    process = start_kotak()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    headers = process.session()
    answered: list[str] = []
    began = threading.Event()

    def trade() -> None:
        with httpx.Client(base_url=process.url, headers=headers) as client:
            while True:
                fields = {**FIELDS, "qt": "1", "pr": "1501" if len(answered) % 2 else "1400"}
                try:
                    answer = client.post("/quick/order/rule/ms/place", data={"jData": json.dumps(fields)})
                except httpx.TransportError:
                    return
                answered.append(answer.json()["nOrdNo"])
                if len(answered) > 60:
                    began.set()

    threads = [threading.Thread(target=trade) for _ in range(4)]
    for thread in threads:
        thread.start()
    began.wait(20)
    process.kill()
    for thread in threads:
        thread.join()
    process.start()

    there = {order["order_id"] for order in process.book()}
    assert set(answered) <= there
    # At most the one order that each thread had in the air was placed without an answer.
    assert len(there) - len(answered) <= len(threads)


def test_the_faces_keep_their_journals_apart(start_kotak: Start, tmp_path: Path) -> None:
    process = start_kotak()
    placed(process.client())
    process.kill()
    other = KiteProcess(process._folder)
    other.start()
    try:
        assert other.book() == []
    finally:
        other.stop()

    process.start()
    assert len(process.book()) == 1


def test_one_journal_serves_one_process(start_kotak: Start) -> None:
    other = KotakProcess(start_kotak()._folder)

    with pytest.raises(AssertionError, match=r"kotak\.db: database is locked"):
        other.start()


def test_it_ends_as_it_is_told(start_kotak: Start) -> None:
    process = start_kotak()
    process.client().limits()

    assert process.stop() == 0
