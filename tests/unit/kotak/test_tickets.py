"""Our orders in the broker's parameters."""

from decimal import Decimal
from typing import Any

import pytest

from pulse_adapters.kotak.protection import stop_limit
from pulse_adapters.kotak.tickets import check_ticket, order_fields, price_text
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from tests.unit.kotak.make import CRUDE, ticket


def test_all_values_are_text() -> None:
    assert order_fields(ticket(), "RELIANCE-EQ") == {
        "exchange_segment": "nse_cm",
        "product": "CNC",
        "price": "500.05",
        "order_type": "L",
        "quantity": "10",
        "validity": "DAY",
        "trading_symbol": "RELIANCE-EQ",
        "transaction_type": "B",
        "trigger_price": "0",
        "tag": "PU00000000000000TAG1",
    }


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"order_type": OrderType.MARKET, "limit_price": None}, ("MKT", "0", "0")),
        ({"order_type": OrderType.SL, "trigger_price": Decimal("1E+2")}, ("SL", "500.05", "100")),
        (
            {"order_type": OrderType.SL_M, "limit_price": None, "trigger_price": Decimal(200)},
            ("SL", "202", "200"),
        ),
        (
            {
                "order_type": OrderType.SL_M,
                "limit_price": None,
                "trigger_price": Decimal(200),
                "side": Side.SELL,
            },
            ("SL", "198", "200"),
        ),
    ],
)
def test_order_types(changes: dict[str, Any], sent: tuple[str, str, str]) -> None:
    fields = order_fields(ticket(**changes), "RELIANCE-EQ")

    assert (fields["order_type"], fields["price"], fields["trigger_price"]) == sent


def test_lots_on_mcx_are_as_the_terms_say() -> None:
    terms = InstrumentTerms(lot_size=100, tick_size=Decimal(1), units_per_broker_quantity=100)
    crude = ticket(instrument=CRUDE, product=Product.NRML, quantity=300, limit_price=Decimal(6000), terms=terms)

    check_ticket(crude)
    assert order_fields(crude, CRUDE.symbol)["quantity"] == "3"


@pytest.mark.parametrize(
    ("changes", "reason_code"),
    [
        ({"tag": "PU-NOT-ALPHANUMERIC"}, "TAG"),
        ({"tag": "A" * 21}, "TAG"),
        ({"tag": ""}, "TAG"),
        ({"instrument": Instrument.parse("CDS:USDINR26DECFUT"), "product": Product.NRML}, "EXCHANGE"),
        ({"product": Product.NRML}, "EXCHANGE_PRODUCT"),
        ({"instrument": CRUDE}, "EXCHANGE_PRODUCT"),
        ({"instrument": CRUDE, "product": Product.NRML, "validity": Validity.IOC}, "IOC_NOT_ON_MCX"),
        ({"terms": InstrumentTerms(lot_size=3)}, "LOT_SIZE"),
        (
            {
                "instrument": CRUDE,
                "product": Product.NRML,
                "terms": InstrumentTerms(units_per_broker_quantity=100),
            },
            "LOT_SIZE",
        ),
        ({"terms": InstrumentTerms(freeze_quantity=9)}, "FREEZE_QUANTITY"),
        ({"limit_price": Decimal("500.01")}, "TICK_SIZE"),
        ({"order_type": OrderType.SL, "trigger_price": Decimal("499.99")}, "TICK_SIZE"),
        ({"limit_price": Decimal(0)}, "PRICE_MISSING"),
        ({"limit_price": None}, "PRICE_MISSING"),
        ({"order_type": OrderType.SL_M, "limit_price": None}, "PRICE_MISSING"),
    ],
)
def test_what_the_broker_does_not_take(changes: dict[str, Any], reason_code: str) -> None:
    with pytest.raises(BrokerRejected) as refused:
        check_ticket(ticket(**changes))

    assert refused.value.reason_code == reason_code


@pytest.mark.parametrize(
    ("name", "trigger", "limit"),
    [
        ("NSE:SBIN", "99.95", "101.95"),
        ("NSE:SBIN", "100", "101"),
        ("NSE:SBIN", "500", "505"),
        ("NSE:SBIN", "812.35", "816.45"),
        ("NFO:NIFTY26DECFUT", "25000", "25125"),
        ("NFO:NIFTY26DEC25000CE", "0.50", "0.60"),
        ("NFO:NIFTY26DEC25000CE", "1", "1.10"),
        ("NFO:NIFTY26DEC25000CE", "5", "5.25"),
        ("NFO:NIFTY26DEC25000CE", "10", "10.30"),
        ("NFO:NIFTY26DEC25000CE", "50", "51.50"),
        ("NFO:NIFTY26DEC25000CE", "500", "510"),
        ("NFO:NIFTY26DEC25000PE", "600", "606"),
    ],
)
def test_stops_get_a_limit_beyond_their_trigger(name: str, trigger: str, limit: str) -> None:
    found = stop_limit(Instrument.parse(name), Side.BUY, Decimal(trigger), Decimal("0.05"))

    assert found == Decimal(limit)


def test_a_sale_is_never_offered_for_nothing() -> None:
    option = Instrument.parse("NFO:NIFTY26DEC25000CE")

    assert stop_limit(option, Side.SELL, Decimal("0.05"), Decimal("0.05")) == Decimal("0.05")


@pytest.mark.parametrize(
    ("price", "text"), [("1E+2", "100"), ("0.0", "0"), ("500.50", "500.5"), ("0.0025", "0.0025")]
)
def test_prices_are_plain(price: str, text: str) -> None:
    assert price_text(Decimal(price)) == text
    assert price_text(None) == "0"
