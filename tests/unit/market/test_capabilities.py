"""What each broker takes."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from pulse_domain.errors import NotOffered
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.market import CAPABILITIES
from pulse_domain.market.capabilities import cash_series
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, Validity

TODAY = date(2026, 11, 20)


def request(instrument: str, **given: Any) -> OrderRequest:
    fields: dict[str, Any] = {"side": Side.BUY, "total_quantity": 1}
    return OrderRequest(instrument=Instrument.parse(instrument), **fields | given).normalised()


@pytest.mark.parametrize(
    ("broker", "instrument", "given", "field"),
    [
        ("kotak", "NSE:TCS", {"order_type": OrderType.SL_M, "trigger_price": Decimal(1)}, "order_type"),
        ("kotak", "CDS:USDINR26NOVFUT", {}, "instrument"),
        ("kotak", "MCX:GOLD26DECFUT", {"validity": Validity.IOC}, "validity"),
        ("zerodha", "MCX:GOLD26DECFUT", {"validity": Validity.IOC}, "validity"),
        ("zerodha", "NFO:NIFTY26NOVFUT", {"product": Product.CNC}, "product"),
        ("zerodha", "NSE:TCS", {"product": Product.NRML}, "product"),
        ("zerodha", "NSE:XYZ-BE", {"product": Product.MIS}, "product"),
        ("virtual", "NSE:XYZ-BZ", {"product": Product.MIS}, "product"),
    ],
)
def test_what_a_broker_does_not_take_is_refused_by_name(
    broker: str, instrument: str, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(NotOffered) as refused:
        CAPABILITIES[broker].check(request(instrument, **given), TODAY)

    assert refused.value.details["field"] == field
    assert refused.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize("broker", ["virtual", "zerodha", "kotak"])
@pytest.mark.parametrize(
    "instrument", ["NSE:TCS", "BSE:TCS", "NSE:XYZ-BE", "NFO:NIFTY26NOVFUT", "MCX:GOLD26DECFUT"]
)
def test_plain_orders_are_taken_everywhere(broker: str, instrument: str) -> None:
    CAPABILITIES[broker].check(request(instrument), TODAY)


def test_rules_hold_from_their_day_on() -> None:
    ioc = request("MCX:GOLD26DECFUT", validity=Validity.IOC)

    CAPABILITIES["zerodha"].check(ioc, date(2026, 3, 31))
    with pytest.raises(NotOffered):
        CAPABILITIES["zerodha"].check(ioc, date(2026, 4, 1))


def test_a_day_before_the_first_table_takes_nothing() -> None:
    with pytest.raises(NotOffered):
        CAPABILITIES["kotak"].offer(Exchange.NSE, date(2026, 3, 31))


def test_which_series_are_delivery_only_can_be_set() -> None:
    mis = request("NSE:XYZ-BE", product=Product.MIS)

    CAPABILITIES["zerodha"].check(mis, TODAY, delivery_only_series=frozenset())


@pytest.mark.parametrize(
    ("instrument", "series"),
    [
        ("NSE:XYZ-BE", "BE"),
        ("NSE:RELIANCE", ""),
        ("NSE:BAJAJ-AUTO", ""),
        ("NSE:NAM-INDIA", ""),
        ("NFO:X-BE", ""),
    ],
)
def test_series(instrument: str, series: str) -> None:
    assert cash_series(Instrument.parse(instrument)) == series
