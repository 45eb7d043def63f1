"""kill -9, and everything is there again."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from kiteconnect import KiteConnect

from tests.integration.simulator.process import KiteProcess, eventually
from tests.integration.simulator.test_orders import in_status, placed

Start = Callable[..., KiteProcess]


def everything(kite: KiteConnect) -> dict[str, Any]:
    orders = kite.orders()
    return {
        "orders": orders,
        "histories": {order["order_id"]: kite.order_history(order["order_id"]) for order in orders},
        "trades": kite.trades(),
        "margins": kite.margins(),
        "positions": [
            {name: p[name] for name in ("tradingsymbol", "product", "quantity", "buy_value", "sell_value")}
            for p in kite.positions()["net"]
        ],
    }


def test_a_killed_simulator_comes_back_with_its_book_and_session(start_kite: Start) -> None:
    process = start_kite()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()
    done = placed(kite, price=1501.0, tag="done")
    resting = placed(kite, tag="resting")
    waiting = placed(kite, order_type="SL", trigger_price=1600.0, price=1610.0)
    in_status(kite, done, "COMPLETE")
    in_status(kite, resting, "OPEN")
    in_status(kite, waiting, "TRIGGER PENDING")
    kite.modify_order("regular", resting, quantity=15)
    eventually(lambda: kite.order_history(resting)[-1]["quantity"] == 15)
    before, state = everything(kite), process.control("GET", "/state")

    process.restart()
    after = everything(process.client_of(kite.access_token))

    assert after == before
    assert process.control("GET", "/state") == state


def test_what_rested_still_fills_after_a_kill(start_kite: Start) -> None:
    process = start_kite()
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()
    resting = placed(kite, tag="resting")
    in_status(kite, resting, "OPEN")

    process.restart()
    process.pin("NSE:INFY", "1390", "1389.90", "1390")

    assert in_status(kite, resting, "COMPLETE")["filled_quantity"] == 10


def test_an_order_that_was_on_its_way_arrives_after_a_kill(start_kite: Start) -> None:
    # A tenth of the speed: the way to the exchange takes a good while.
    process = start_kite("--speed", "0.1", delays=True)
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()
    order_id = placed(kite)
    assert kite.order_history(order_id)[-1]["status"] != "OPEN"

    process.restart()

    in_status(kite, order_id, "OPEN")


@pytest.mark.parametrize("round_", range(3))
def test_no_order_that_was_answered_is_lost_by_a_kill_under_load(start_kite: Start, round_: int) -> None:
    process = start_kite(seed=round_)
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    token = process.access_token()
    answered: list[str] = []
    began = threading.Event()

    def trade() -> None:
        kite = process.client_of(token)
        while True:
            try:
                answered.append(placed(kite, quantity=1, price=1501.0 if len(answered) % 2 else 1400.0))
            except requests.ConnectionError:
                return
            if len(answered) > 40 + 30 * round_:
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


def test_a_clock_that_was_moved_on_stays_so(start_kite: Start) -> None:
    process = start_kite()
    process.control("POST", "/roll")
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()
    order_id = placed(kite)
    in_status(kite, order_id, "OPEN")
    day = process.control("GET")["day"]

    process.restart()

    assert process.control("GET")["day"] == day
    assert process.client_of(kite.access_token).orders()[0]["order_id"] == order_id


def test_one_journal_serves_one_process(start_kite: Start, tmp_path: Any) -> None:
    process = start_kite()
    other = KiteProcess(process._folder)

    with pytest.raises(AssertionError, match=r"journal\.db: database is locked"):
        other.start()


def test_it_ends_as_it_is_told(start_kite: Start) -> None:
    process = start_kite()
    process.client().profile()

    assert process.stop() == 0
