"""Orders of every kind through the broker's own client."""

from typing import Any

import pytest
from kiteconnect import KiteConnect
from kiteconnect.exceptions import GeneralException, InputException, OrderException

from tests.integration.simulator.process import KiteProcess, eventually

LIMIT: dict[str, Any] = {
    "variety": "regular",
    "exchange": "NSE",
    "tradingsymbol": "INFY",
    "transaction_type": "BUY",
    "quantity": 10,
    "product": "CNC",
    "order_type": "LIMIT",
    "price": 1400.0,
    "validity": "DAY",
}


def placed(kite: KiteConnect, **changes: Any) -> str:
    arguments = {**LIMIT, **changes}
    order_id: str = kite.place_order(**{name: value for name, value in arguments.items() if value is not None})
    return order_id


def row(kite: KiteConnect, order_id: str) -> dict[str, Any]:
    return next(order for order in kite.orders() if order["order_id"] == order_id)


def in_status(kite: KiteConnect, order_id: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: (order := row(kite, order_id))["status"] == status and order)
    return found


def test_a_limit_order_lives_and_is_cancelled_as_documented(kite: KiteConnect) -> None:
    order_id = placed(kite, tag="pulse1")
    resting = in_status(kite, order_id, "OPEN")
    kite.modify_order("regular", order_id, quantity=12, price=1390.0)
    modified = eventually(lambda: (order := row(kite, order_id))["quantity"] == 12 and order)
    kite.cancel_order("regular", order_id)
    ended = in_status(kite, order_id, "CANCELLED")

    assert (resting["tag"], resting["tags"]) == ("pulse1", ["pulse1"])
    assert (modified["status"], modified["price"], modified["modified"]) == ("OPEN", 1390, True)
    assert (ended["filled_quantity"], ended["cancelled_quantity"]) == (0, 12)
    assert [state["status"] for state in kite.order_history(order_id)] == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN",
        "MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED", "OPEN", "CANCEL PENDING", "CANCELLED",
    ]  # fmt: skip
    # The new values appear on the last row only.
    assert [state["quantity"] for state in kite.order_history(order_id)][4:8] == [10, 10, 10, 12]


def test_an_order_that_meets_the_market_has_trades_and_a_position(
    kite: KiteConnect, kite_process: KiteProcess
) -> None:
    kite_process.pin("NSE:ITC", "400", "399.95", "400")
    order_id = placed(kite, tradingsymbol="ITC", price=401.0, product="MIS")
    done = in_status(kite, order_id, "COMPLETE")
    (trade,) = kite.order_trades(order_id)
    position = next(p for p in kite.positions()["net"] if p["tradingsymbol"] == "ITC")

    assert (done["filled_quantity"], done["average_price"], done["pending_quantity"]) == (10, 400, 0)
    assert (trade["quantity"], trade["average_price"], len(trade["order_timestamp"])) == (10, 400, 8)
    assert trade["exchange_order_id"] == done["exchange_order_id"]
    assert (position["quantity"], position["buy_value"], position["product"]) == (10, 4000, "MIS")
    assert trade["trade_id"] in {t["trade_id"] for t in kite.trades()}


def test_a_protected_market_order_shows_as_a_limit_order_with_tags(kite: KiteConnect) -> None:
    order_id = placed(kite, order_type="MARKET", price=None, market_protection=2, tag="mine")
    done = in_status(kite, order_id, "COMPLETE")

    assert (done["order_type"], done["price"], done["market_protection"]) == ("LIMIT", 1530, 0)
    assert done["tags"] == ["mine", "mktp", "mktp:2.00"]
    assert done["average_price"] == 1500


def test_stops_wait_for_their_trigger(kite: KiteConnect, kite_process: KiteProcess) -> None:
    kite_process.pin("NSE:SBIN", "900", "899.95", "900")
    stop = {"tradingsymbol": "SBIN", "trigger_price": 910.0}
    limited = placed(kite, **stop, order_type="SL", price=912.0)
    protected = placed(kite, **stop, order_type="SL-M", price=None, market_protection=1)
    waiting = [in_status(kite, order_id, "TRIGGER PENDING") for order_id in (limited, protected)]
    kite_process.pin("NSE:SBIN", "911", "910.95", "911")
    done = [in_status(kite, order_id, "COMPLETE") for order_id in (limited, protected)]

    assert [order["trigger_price"] for order in waiting] == [910, 910]
    assert [order["average_price"] for order in done] == [911, 911]
    assert [state["status"] for state in kite.order_history(limited)][-3:] == [
        "TRIGGER PENDING", "OPEN", "COMPLETE",
    ]  # fmt: skip


def test_what_an_ioc_order_does_not_fill_is_cancelled(kite: KiteConnect) -> None:
    order_id = placed(kite, validity="IOC")

    assert in_status(kite, order_id, "CANCELLED")["cancelled_quantity"] == 10


def test_an_order_with_a_time_to_live_is_cancelled_after_it(
    kite: KiteConnect, kite_process: KiteProcess
) -> None:
    order_id = placed(kite, validity="TTL", validity_ttl=2)
    resting = in_status(kite, order_id, "OPEN")
    kite_process.control("POST", "/clock", {"seconds": 121})

    assert (resting["validity"], resting["validity_ttl"]) == ("TTL", 2)
    in_status(kite, order_id, "CANCELLED")


def test_an_iceberg_shows_leg_after_leg(kite: KiteConnect) -> None:
    before = {order["order_id"] for order in kite.orders()}
    placed(kite, variety="iceberg", quantity=25, iceberg_legs=3, iceberg_quantity=10, price=1501.0)

    def legs() -> list[dict[str, Any]]:
        return [order for order in kite.orders() if order["order_id"] not in before]

    eventually(lambda: len(legs()) == 3 and all(leg["status"] == "COMPLETE" for leg in legs()))
    assert [leg["quantity"] for leg in legs()] == [10, 10, 5]
    assert legs()[1]["meta"]["iceberg"] == {
        "leg": 2, "legs": 3, "leg_quantity": 10, "total_quantity": 25, "remaining_quantity": 5,
    }  # fmt: skip


def test_a_cover_order_has_a_second_leg_that_exits(kite: KiteConnect) -> None:
    cover = {"variety": "co", "product": "MIS", "trigger_price": 1450.0, "price": 1501.0}
    first = placed(kite, **cover)
    in_status(kite, first, "COMPLETE")
    second = eventually(
        lambda: next((order for order in kite.orders() if order["parent_order_id"] == first), None)
    )
    in_status(kite, second["order_id"], "TRIGGER PENDING")
    with pytest.raises(InputException, match="parent_order_id"):
        kite.cancel_order("co", second["order_id"])
    kite.exit_order("co", second["order_id"], parent_order_id=first)

    assert in_status(kite, second["order_id"], "COMPLETE")["transaction_type"] == "SELL"
    assert second["product"] == "CO"


def test_an_after_market_order_waits_for_the_session(kite: KiteConnect, kite_process: KiteProcess) -> None:
    kite_process.control("POST", "/session", {"is_open": False})
    order_id = placed(kite, variety="amo")
    waiting = row(kite, order_id)
    with pytest.raises(InputException, match="closed"):
        placed(kite)
    kite_process.control("POST", "/session", {"is_open": True})
    released = in_status(kite, order_id, "OPEN")
    with pytest.raises(OrderException):
        kite.cancel_order("amo", order_id)
    kite.cancel_order("regular", order_id)

    assert (waiting["status"], released["variety"]) == ("AMO REQ RECEIVED", "amo")
    in_status(kite, order_id, "CANCELLED")


def test_an_auction_order_rests(kite: KiteConnect) -> None:
    order_id = placed(kite, variety="auction", auction_number="22", price=1600.0)

    assert in_status(kite, order_id, "OPEN")["auction_number"] == "22"
    kite.cancel_order("auction", order_id)


def test_autoslice_gives_children_and_their_errors(kite: KiteConnect, kite_process: KiteProcess) -> None:
    symbol = next(
        i["tradingsymbol"] for i in kite.instruments("NFO") if i["tradingsymbol"].startswith("NIFTY2")
    )
    future = {"exchange": "NFO", "tradingsymbol": symbol, "product": "NRML"}
    kite_process.pin(f"NFO:{symbol}", "25000", "24999", "25000")
    arguments = {**LIMIT, **future, "price": 20000.0}
    with pytest.raises(InputException, match="1820 for order slicing"):
        kite.place_autoslice_order(**{**arguments, "quantity": 1755})
    answer = kite.place_autoslice_order(**{**arguments, "quantity": 1755 * 3 + 65})

    good = [child["order_id"] for child in answer["children"] if "order_id" in child]
    bad = [child["error"] for child in answer["children"] if "error" in child]
    assert len(good) + len(bad) == 4
    assert {error["error_type"] for error in bad} == {"MarginException"}
    assert answer["order_id"] not in good
    assert row(kite, good[0])["tags"] == ["autoslice", f"autoslice:{answer['order_id']}"]
    for order_id in good:
        kite.cancel_order("regular", order_id)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"quantity": 100_000}, GeneralException, "Insufficient funds"),
        ({"transaction_type": "SELL", "tradingsymbol": "WIPRO"}, GeneralException, "stock holding"),
        ({"quantity": 600_000}, InputException, "maximum allowed by the exchange"),
        ({"price": 1400.03}, InputException, "Tick size"),
        ({"tag": "x" * 21}, InputException, "tag"),
        ({"order_type": "MARKET", "price": None}, InputException, "market protection"),
        ({"order_type": "SL-M", "trigger_price": 1600.0, "price": None}, InputException, "market protection"),
        ({"variety": "iceberg", "iceberg_legs": 1, "iceberg_quantity": 10}, InputException, "iceberg_legs"),
        ({"tradingsymbol": "NOSUCH"}, InputException, "does not exist"),
        ({"product": "NRML"}, InputException, "NRML"),
        ({"price": None}, InputException, "price"),
        ({"quantity": 0}, InputException, "quantity"),
        ({"validity": "TTL"}, InputException, "validity_ttl"),
    ],
)  # fmt: skip
def test_what_is_refused_at_once_is_never_in_the_book(
    kite: KiteConnect, kite_process: KiteProcess, changes: dict[str, Any], error: type[Exception], text: str
) -> None:
    before = len(kite_process.book())

    with pytest.raises(error, match=text) as refused:
        placed(kite, **{**changes, "tradingsymbol": changes.get("tradingsymbol", "INFY")})

    assert refused.value.code == 400  # type: ignore[attr-defined]
    assert len(kite_process.book()) == before


def test_an_order_that_has_ended_takes_no_changes(kite: KiteConnect) -> None:
    order_id = placed(kite, price=1501.0)
    in_status(kite, order_id, "COMPLETE")

    with pytest.raises(InputException, match="being processed"):
        kite.cancel_order("regular", order_id)
    with pytest.raises(InputException, match="being processed"):
        kite.modify_order("regular", order_id, price=1400.0)
    with pytest.raises(OrderException, match="does not exist"):
        kite.cancel_order("regular", "1")


def test_the_26th_modification_is_refused_and_the_order_lives(kite: KiteConnect) -> None:
    order_id = placed(kite)
    for step in range(25):
        in_status(kite, order_id, "OPEN")
        kite.modify_order("regular", order_id, price=1300.0 + step)
    in_status(kite, order_id, "OPEN")
    with pytest.raises(InputException, match="modifications exceeded"):
        kite.modify_order("regular", order_id, price=1350.0)
    kite.cancel_order("regular", order_id)

    assert in_status(kite, order_id, "CANCELLED")["price"] == 1324


def test_a_limit_order_becomes_a_market_order_only_with_protection(kite: KiteConnect) -> None:
    order_id = placed(kite)
    in_status(kite, order_id, "OPEN")
    with pytest.raises(InputException, match="market protection"):
        kite.modify_order("regular", order_id, order_type="MARKET")
    kite.modify_order("regular", order_id, order_type="MARKET", market_protection=1)

    done = in_status(kite, order_id, "COMPLETE")
    assert (done["order_type"], done["price"], done["average_price"]) == ("LIMIT", 1515, 1500)
