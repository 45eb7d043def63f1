"""Orders at the simulated Kotak, through the broker's own client."""

import json
from datetime import datetime
from importlib import import_module
from typing import Any

import httpx
import pytest

from pulse_domain.units import INDIA
from tests.integration.simulator.neo import (
    NO_DATA,
    KotakProcess,
    book,
    history,
    in_status,
    placed,
    row,
)
from tests.integration.simulator.process import eventually

FIELDS = {
    "am": "NO", "dq": "0", "es": "nse_cm", "mp": "0", "pc": "CNC", "pr": "1400", "pt": "L", "qt": "10",
    "rt": "DAY", "tp": "0", "ts": "INFY-EQ", "tt": "B", "os": "NEOTRADEAPI",
}  # fmt: skip


def send(process: KotakProcess, path: str = "/quick/order/rule/ms/place", **changes: Any) -> dict[str, Any]:
    """An order as no client of sound mind sends it; None leaves a field out."""
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    answer = httpx.post(process.url + path, data={"jData": json.dumps(fields)}, headers=process.session())
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_a_limit_order_lives_and_is_cancelled_as_documented(neo: Any) -> None:
    order_id = placed(neo, tag="pulse1")
    resting = in_status(neo, order_id, "open")
    neo.modify_order(order_id=order_id, price="1390", order_type="L", quantity="12", validity="DAY")
    modified = eventually(lambda: (order := row(neo, order_id))["qty"] == 12 and order)
    assert neo.cancel_order(order_id=order_id)["stat"] == "Ok"
    ended = in_status(neo, order_id, "cancelled")

    assert (resting["GuiOrdId"], resting["trdSym"], resting["unFldSz"]) == ("pulse1", "INFY-EQ", 10)
    assert (modified["prc"], modified["ordSt"]) == ("1390.00", "open")
    assert (ended["fldQty"], ended["cnlQty"], ended["unFldSz"]) == (0, 12, 0)
    states = history(neo, order_id)
    assert [state["ordSt"] for state in reversed(states)] == [
        "put order req received", "validation pending", "open pending", "open",
        "modify validation pending", "modify pending", "modified", "open", "cancel pending", "cancelled",
    ]  # fmt: skip
    assert states[0]["exchOrdId"] == ended["exOrdId"]


def test_an_order_number_is_the_day_and_a_count(neo: Any, kotak_process: KotakProcess) -> None:
    first, second = placed(neo), placed(neo)
    today = datetime.fromisoformat(kotak_process.control("GET")["now"]).astimezone(INDIA)

    assert len(first) == 15
    assert first.startswith(f"{today:%y%m%d}")
    assert int(second) - int(first) == 1


def test_an_order_that_meets_the_market_has_trades_and_a_position(
    neo: Any, kotak_process: KotakProcess
) -> None:
    kotak_process.pin("NSE:ITC", "400", "399.95", "400")
    order_id = placed(neo, trading_symbol="ITC-EQ", price="401", product="MIS", tag="fills")
    done = in_status(neo, order_id, "complete")
    trades = neo.trade_report()
    trade = next(each for each in trades["data"] if each["nOrdNo"] == order_id)
    position = next(each for each in neo.positions()["data"] if each["trdSym"] == "ITC-EQ")

    assert trades["stat"] == "ok"
    assert (done["fldQty"], done["avgPrc"], done["unFldSz"]) == (10, "400.00", 0)
    assert (trade["fldQty"], trade["qty"], trade["avgPrc"], trade["tok"]) == (10, 0, "400.00", "")
    assert (trade["GuiOrdId"], trade["exOrdId"]) == ("fills", done["exOrdId"])
    assert (position["flBuyQty"], position["buyAmt"], position["prod"]) == ("10", "4000.00", "MIS")
    # By the client's own reckoning.
    reckoned = import_module("neo_api_client.utils.positions_pnl").compute_position_metrics(position, None, 402)
    assert (reckoned["netQty"], reckoned["averagePrice"], reckoned["positionPnl"]) == (10, 400, 20)


def test_what_is_held_and_the_money_are_told(neo: Any) -> None:
    before = float(neo.limits()["Net"])
    placed(neo, quantity="100")
    limits = neo.limits()
    asked = {
        "exchange_segment": "nse_cm", "price": "100", "order_type": "L", "product": "CNC", "quantity": "2",
        "instrument_token": "1594", "transaction_type": "B",
    }  # fmt: skip
    margin = neo.margin_required(**asked)["data"]

    assert (limits["stat"], limits["stCode"]) == ("Ok", 200)
    assert before - float(limits["Net"]) == 140_000
    assert (margin["ordMrgn"], margin["rmsVldtd"], margin["stat"]) == ("200.000000", "OK", "Ok")
    assert neo.holdings() == NO_DATA


def test_a_market_order_shows_as_a_limit_order_within_the_band(neo: Any, kotak_process: KotakProcess) -> None:
    buy = in_status(neo, placed(neo, order_type="MKT", price="0"), "complete")
    kotak_process.pin("NSE:IDEA", "9", "8.95", "9")
    sale = in_status(
        neo, placed(neo, order_type="MKT", price="0", trading_symbol="IDEA-EQ", transaction_type="S",
                    product="MIS"), "complete",
    )  # fmt: skip

    assert (buy["prcTp"], buy["prc"], buy["avgPrc"]) == ("L", "1507.50", "1500.00")
    assert (sale["prcTp"], sale["prc"]) == ("L", "8.82")


def test_a_market_order_without_a_price_is_refused(neo: Any, kotak_process: KotakProcess) -> None:
    kotak_process.pin("NSE:WIPRO", "0")
    answer = send(kotak_process, pt="MKT", pr="0", ts="WIPRO-EQ")
    kotak_process.control("POST", "/prices", {"instrument": "NSE:WIPRO"})

    assert answer["stCode"] == 1041


def test_sl_m_is_taken_and_refused_by_risk_management(neo: Any) -> None:
    order_id = placed(neo, order_type="SL-M", price="0", trigger_price="1600")
    refused = in_status(neo, order_id, "rejected")

    assert (refused["rejRsn"], refused["exOrdId"]) == ("Market order with Algo Id not allowed", "NA")


def test_a_stop_waits_for_its_trigger(neo: Any, kotak_process: KotakProcess) -> None:
    order_id = placed(neo, order_type="SL", price="1610", trigger_price="1600")
    waiting = in_status(neo, order_id, "trigger pending")
    kotak_process.pin("NSE:INFY", "1605", "1604.90", "1605")

    assert waiting["trgPrc"] == "1600.00"
    assert in_status(neo, order_id, "complete")["avgPrc"] == "1605.00"


def test_a_limit_of_nothing_becomes_one_of_the_exchange(neo: Any, kotak_process: KotakProcess) -> None:
    answer = send(kotak_process, pr="0")

    assert row(neo, answer["nOrdNo"])["prc"] == "1.00"


@pytest.mark.parametrize(
    "changes",
    [
        {"qt": 10}, {"qt": "0"}, {"qt": "1.5"}, {"qt": None}, {"pr": "0.0"}, {"pr": "-1"}, {"pr": "x"},
        {"tp": None}, {"tt": "Buy"}, {"pt": "Limit"}, {"pc": "CO"}, {"rt": "GTC"}, {"am": "maybe"},
        {"es": "NSE"}, {"ts": "INFY"}, {"es": "cde_fo"}, {"pr": "1400.01"}, {"dq": "11"}, {"pt": "SL"},
        {"ts": "Nifty 50"},
        {"es": "nse_fo", "ts": "INFY-EQ"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_1009(kotak_process: KotakProcess, changes: dict[str, Any]) -> None:
    before = len(kotak_process.book())
    answer = send(kotak_process, **changes)

    assert (answer["stat"], answer["stCode"]) == ("Not_Ok", 1009), answer
    assert answer["errMsg"]
    assert len(kotak_process.book()) == before


@pytest.mark.parametrize("body", ["", "jData=", "jData=[]", "jData=nonsense", "x=1"])
def test_a_body_that_is_none_is_1009(kotak_process: KotakProcess, body: str) -> None:
    headers = {**kotak_process.session(), "Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{kotak_process.url}/quick/order/rule/ms/place", content=body, headers=headers)

    assert (answer.status_code, answer.json()["stCode"]) == (200, 1009)


def test_too_little_money_is_1004_as_documented(kotak_process: KotakProcess) -> None:
    answer = send(kotak_process, qt="400000")

    assert (answer["stat"], answer["stCode"]) == ("Not_Ok", 1004)
    assert "Insufficient" in answer["emsg"]


def test_what_has_ended_cannot_be_changed(neo: Any) -> None:
    complete = placed(neo, price="1501")
    in_status(neo, complete, "complete")
    cancelled = placed(neo)
    in_status(neo, cancelled, "open")
    neo.cancel_order(order_id=cancelled)
    in_status(neo, cancelled, "cancelled")

    assert neo.cancel_order(order_id=complete) == {
        "stCode": 1021, "errMsg": "order is completed", "stat": "please provide valid order number",
        "status_code": 400,  # the client's own addition
    }  # fmt: skip
    for unknown in (cancelled, "000000000000000"):
        assert neo.cancel_order(order_id=unknown)["stCode"] == 1006
        assert (
            neo.modify_order(order_id=unknown, price="1", order_type="L", quantity="1", validity="DAY")[
                "stCode"
            ]
            == 1006
        )


def test_reports_of_nothing_are_errors(start_kotak: Any) -> None:
    neo = start_kotak().client()

    assert neo.order_report() == NO_DATA
    assert neo.order_report(order_id="000000000000000") == NO_DATA
    assert neo.trade_report() == NO_DATA
    assert neo.order_history("000000000000000")["data"] == NO_DATA


def test_an_after_market_order_waits_for_the_opening(neo: Any, kotak_process: KotakProcess) -> None:
    kotak_process.control("POST", "/session", {"is_open": False})
    refused = neo.place_order(
        exchange_segment="nse_cm", product="CNC", price="1400", order_type="L", quantity="1", validity="DAY",
        trading_symbol="INFY-EQ", transaction_type="B",
    )  # fmt: skip
    waits, dropped = placed(neo, amo="YES"), placed(neo, amo="YES")
    at_first = row(neo, waits)
    neo.modify_order(order_id=waits, price="1390", order_type="L", quantity="10", validity="DAY", amo="YES")
    modified = row(neo, waits)
    by_sdk = neo.cancel_order(order_id=dropped, amo="YES")
    cancelled = send(kotak_process, "/quick/order/cancel", on=dropped, am="YES", ts="INFY-EQ")
    kotak_process.control("POST", "/session", {"is_open": True})

    assert refused["stat"] == "Not_Ok"
    assert (at_first["ordSt"], at_first["ordGenTp"]) == ("after market order req received", "AMO")
    assert (modified["ordSt"], modified["prc"]) == ("modify after market order req received", "1390.00")
    assert by_sdk["stCode"] == 1009, "the client does not send the symbol that is wanted"
    assert cancelled["stat"] == "Ok"
    assert row(neo, dropped)["ordSt"] == "cancelled after market order"
    in_status(neo, waits, "open")


def test_every_row_has_the_documented_fields(neo: Any) -> None:
    order_id = placed(neo, price="1501")
    in_status(neo, order_id, "complete")
    order, state = row(neo, order_id), history(neo, order_id)[0]
    trade = next(each for each in neo.trade_report()["data"] if each["nOrdNo"] == order_id)

    assert {"exCfmTm", "hsUpTm", "boeSec", "updRecvTm", "rejRsn", "vldt", "tok", "sym", "series"} <= set(order)
    assert {"exchOrdId", "exchTmstp", "flDtTm", "ordDur", "dclQty", "nReqId", "scripName"} <= set(state)
    assert {"flId", "flLeg", "flDt", "flTm", "exTm", "rptTp", "updRecvTm"} <= set(trade)
    assert all(isinstance(order[name], str) for name in ("prc", "avgPrc", "trgPrc"))
    assert all(isinstance(order[name], int) for name in ("qty", "fldQty", "unFldSz", "boeSec", "updRecvTm"))
    datetime.strptime(order["ordDtTm"], "%d-%b-%Y %H:%M:%S")  # noqa: DTZ007  # they have no offset
    assert len(book(neo)) >= 1
