"""Each fault, as the broker's own client sees it, and what is true behind it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from kiteconnect import KiteConnect
from kiteconnect.exceptions import (
    DataException,
    InputException,
    NetworkException,
    OrderException,
    TokenException,
)

from tests.integration.simulator.process import KiteProcess, eventually
from tests.integration.simulator.test_orders import LIMIT, placed

Start = Callable[..., KiteProcess]


def true_count(process: KiteProcess) -> int:
    return len(process.book())


@pytest.mark.parametrize(
    ("kind", "error", "code", "is_placed"),
    [
        ("reject", InputException, 400, False),
        ("drop_before", requests.ConnectionError, None, False),
        ("html_504_before", DataException, 502, False),
        ("drop_after", requests.ConnectionError, None, True),
        ("html_504_after", DataException, 502, True),
        ("timed_out_400", OrderException, 400, True),
        ("expire_token", TokenException, 403, False),
    ],
)
def test_a_struck_order_is_placed_or_not(
    kite: KiteConnect,
    kite_process: KiteProcess,
    kind: str,
    error: type[Exception],
    code: int | None,
    is_placed: bool,
) -> None:
    before = true_count(kite_process)
    kite_process.fault(kind)

    with pytest.raises(error) as seen:
        placed(kite)

    assert getattr(seen.value, "code", None) == code
    assert true_count(kite_process) - before == int(is_placed)


@pytest.mark.parametrize(("kind", "is_placed"), [("timeout_before", False), ("hang_after", True)])
def test_a_request_that_hangs_times_out(kite_process: KiteProcess, kind: str, is_placed: bool) -> None:
    kite = kite_process.client(timeout=0.5)
    before = true_count(kite_process)
    kite_process.fault(kind, seconds=[2, 2])

    with pytest.raises(requests.ReadTimeout):
        placed(kite)

    assert true_count(kite_process) - before == int(is_placed)


def test_the_message_of_a_400_can_say_that_it_timed_out(kite: KiteConnect, kite_process: KiteProcess) -> None:
    kite_process.fault("timed_out_400")

    with pytest.raises(OrderException, match="timed out"):
        placed(kite, tag="placedanyway")

    assert any(order["tag"] == "placedanyway" for order in kite.orders())


@pytest.mark.parametrize(("call", "act"), [("modify", "modify_order"), ("cancel", "cancel_order")])
def test_changes_are_struck_too(kite: KiteConnect, kite_process: KiteProcess, call: str, act: str) -> None:
    order_id = placed(kite)
    eventually(lambda: kite.order_history(order_id)[-1]["status"] == "OPEN")
    kite_process.fault("drop_after", call=call)

    with pytest.raises(requests.ConnectionError):
        getattr(kite, act)("regular", order_id, **({"price": 1390.0} if call == "modify" else {}))

    wanted = ("OPEN", 1390) if call == "modify" else ("CANCELLED", 1400)
    eventually(lambda: (last := kite.order_history(order_id)[-1]) and (last["status"], last["price"]) == wanted)


def test_an_accepted_order_can_be_refused_later(kite: KiteConnect, kite_process: KiteProcess) -> None:
    kite_process.fault("reject_later", stage="RISK", message="RMS says no")
    kite_process.fault("reject_later", stage="EXCHANGE", skip=1, message="17070 : price out of range")
    by_risk, by_exchange = placed(kite), placed(kite)

    def ended(order_id: str) -> dict[str, Any]:
        found: dict[str, Any] = eventually(
            lambda: next(
                (o for o in kite.orders() if o["order_id"] == order_id and o["status"] == "REJECTED"), None
            )
        )
        return found

    assert (ended(by_risk)["exchange_order_id"], ended(by_risk)["status_message"]) == (None, "RMS says no")
    assert ended(by_exchange)["exchange_order_id"] is not None
    assert "17070" in ended(by_exchange)["status_message_raw"]


def test_a_refused_modification_leaves_the_order_as_it_was(
    kite: KiteConnect, kite_process: KiteProcess
) -> None:
    order_id = placed(kite)
    eventually(lambda: kite.order_history(order_id)[-1]["status"] == "OPEN")
    kite_process.fault("reject_later", call="modify", message="the exchange says no")
    kite.modify_order("regular", order_id, price=1300.0)
    eventually(lambda: kite.order_history(order_id)[-1]["status_message"] is not None)

    last = kite.order_history(order_id)[-1]
    assert (last["status"], last["price"], last["status_message"]) == ("OPEN", 1400, "the exchange says no")


def test_a_hidden_order_appears_in_the_book_later(kite: KiteConnect, kite_process: KiteProcess) -> None:
    kite_process.fault("hide")
    order_id = placed(kite)
    at_first = [order["order_id"] for order in kite.orders()]
    with pytest.raises(OrderException):
        kite.order_history(order_id)
    kite_process.control("POST", "/clock", {"seconds": 91})

    assert order_id not in at_first
    assert order_id in [order["order_id"] for order in kite.orders()]


def test_a_truncated_book_lacks_its_newest_rows_once(kite: KiteConnect, kite_process: KiteProcess) -> None:
    ids = [placed(kite) for _ in range(3)]
    kite_process.fault("truncate", rows=2)
    truncated = [order["order_id"] for order in kite.orders()]
    whole = [order["order_id"] for order in kite.orders()]

    assert whole[-3:] == ids
    assert truncated == whole[:-2]


def test_a_429_closes_the_calendar_second_for_orders_alone(start_kite: Start) -> None:
    process = start_kite()
    kite = process.client()
    process.fault("too_many")
    with pytest.raises(NetworkException) as seen:
        placed(kite)
    kite.profile()

    assert seen.value.code == 429
    # The next second takes orders again.
    eventually(lambda: _places(kite), seconds=3)


def _places(kite: KiteConnect) -> bool:
    try:
        placed(kite)
    except NetworkException:
        return False
    return True


def test_order_requests_are_counted_by_the_calendar_second(start_kite: Start) -> None:
    process = start_kite(limits=True)
    process.pin("NSE:INFY", "1500")
    kite = process.client()
    outcomes = []
    for _ in range(35):
        second = process.control("GET")["now"][:19]
        outcomes.append((second, _places(kite)))

    taken: dict[str, int] = {}
    for second, went_well in outcomes:
        taken[second] = taken.get(second, 0) + went_well
    # A request may fall into the second after the one in which it was begun.
    assert max(taken.values()) <= 20
    assert not all(went_well for _, went_well in outcomes)
    assert len(process.book()) == sum(went_well for _, went_well in outcomes)


def test_quotes_are_limited_to_one_a_second(start_kite: Start) -> None:
    kite = start_kite(limits=True).client()

    def ask_five_times() -> None:
        for _ in range(5):
            kite.ltp("NSE:INFY")

    with pytest.raises(NetworkException, match="Too many requests"):
        ask_five_times()


def test_chance_is_repeated_by_the_seed(start_kite: Start, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"rules": [{"kind": "reject", "times": None, "probability": 0.5}]}))

    def outcomes(seed: int) -> list[bool]:
        process = start_kite("--fault-plan", str(plan), seed=seed)
        process.pin("NSE:INFY", "1500")
        kite = process.client()
        return [_is_placed(kite) for _ in range(24)]

    first = outcomes(1)
    assert first == outcomes(1)
    assert first != outcomes(2)
    assert {True, False} == set(first)


def _is_placed(kite: KiteConnect) -> bool:
    try:
        kite.place_order(**LIMIT)
    except InputException:
        return False
    return True


def test_a_plan_that_makes_no_sense_is_one_line(start_kite: Start, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"rules": [{"kind": "nonsense"}]}')

    with pytest.raises(AssertionError, match="nonsense"):
        start_kite("--fault-plan", str(plan))


def test_a_stalled_order_shows_and_does_not_move(kite: KiteConnect, kite_process: KiteProcess) -> None:
    kite_process.fault("stall", seconds=[30, 30])
    order_id = placed(kite)

    assert next(o for o in kite.orders() if o["order_id"] == order_id)["status"] == "PUT ORDER REQ RECEIVED"
    kite_process.control("POST", "/clock", {"seconds": 31})
    eventually(lambda: kite.order_history(order_id)[-1]["status"] == "OPEN")


@pytest.mark.parametrize(("kind", "is_placed"), [("reject", False), ("timed_out_400", True)])
def test_an_error_of_the_oms_says_nothing_about_the_order(
    kite: KiteConnect, kite_process: KiteProcess, kind: str, is_placed: bool
) -> None:
    before = true_count(kite_process)
    message = "Request failed (kitetrade-oms)"
    kite_process.fault(kind, status=503, reason="NetworkException", message=message)

    with pytest.raises(NetworkException, match="kitetrade-oms") as seen:
        placed(kite)

    assert seen.value.code == 503
    assert true_count(kite_process) - before == int(is_placed)


def test_the_log_of_calls_tells_what_was_asked_and_answered(
    kite: KiteConnect, kite_process: KiteProcess
) -> None:
    before = len(kite_process.control("GET", "/calls"))
    placed(kite, tag="wellplaced")
    for kind, error in (("reject", InputException), ("drop_after", requests.ConnectionError)):
        kite_process.fault(kind)
        with pytest.raises(error):
            placed(kite, tag=kind.replace("_", ""))
    kite.orders()

    calls = kite_process.control("GET", "/calls")[before:]
    assert [(call["call"], call["path"], call["tag"], call["status"]) for call in calls] == [
        ("place", "/orders/regular", "wellplaced", 200),
        ("place", "/orders/regular", "reject", 400),
        ("place", "/orders/regular", "dropafter", 0),
        ("book", "/orders", None, 200),
    ]
    assert [call["at"] for call in calls] == sorted(call["at"] for call in calls)
