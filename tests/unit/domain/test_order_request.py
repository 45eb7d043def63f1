"""What an order request must look like, and how it is known again."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.errors import (
    InvalidInstrument,
    InvalidOrder,
    InvalidPrice,
    InvalidQuantity,
    InvalidSplitConfig,
    OffLot,
    OffTick,
)
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.orders.model import (
    PRICE_MAX,
    QUANTITY_MAX,
    OrderRequest,
    OrderType,
    Product,
    Side,
    SplitConfig,
    Validity,
    window,
)
from tests.unit.domain import factories as make

RELIANCE = Instrument(Exchange.NSE, "RELIANCE")
NIFTY_FUTURE = Instrument(Exchange.NFO, "NIFTY26JANFUT")
PRICES_OF = {
    OrderType.MARKET: {},
    OrderType.LIMIT: {"limit_price": Decimal(1500)},
    OrderType.SL: {"limit_price": Decimal(1500), "trigger_price": Decimal(1490)},
    OrderType.SL_M: {"trigger_price": Decimal(1490)},
}
REFUSED_PRICES = [
    "0",
    "-0",
    "-1500",
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "1E+999999",
    "1E-999999",
    "100000000.05",
    "1500.00001",
    "100.0000000000000000000000000000001",
]

instruments = st.builds(
    Instrument, st.sampled_from(Exchange), st.from_regex(r"[A-Z0-9&-]{1,12}", fullmatch=True)
)
prices = (
    st.none() | st.decimals("0.05", "100000", places=2) | st.sampled_from([Decimal(1500), Decimal("1.5E+3")])
)
offsets = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-5))])
instants = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=offsets)
fields: dict[str, st.SearchStrategy[Any]] = {
    "instrument": instruments,
    "side": st.sampled_from(Side),
    "total_quantity": st.integers(1, QUANTITY_MAX),
    "split_config": st.none()
    | st.builds(
        SplitConfig,
        num_splits=st.integers(2, 100),
        duration_minutes=st.integers(1, 1440),
        randomize=st.booleans(),
    ),
    "start_at": st.none() | instants,
    "order_type": st.sampled_from(OrderType),
    "limit_price": prices,
    "trigger_price": prices,
    "product": st.none() | st.sampled_from(Product),
    "validity": st.sampled_from(Validity),
    "strategy_tag": st.none() | st.text(max_size=8),
}
requests = st.builds(OrderRequest, **fields)


def fingerprint(**changes: Any) -> str:
    return make.request(**changes).normalised().fingerprint()


def priced(order_type: OrderType, **prices: str) -> OrderRequest:
    given_prices = {field: Decimal(text) for field, text in prices.items()}
    return make.request(order_type=order_type, **{**PRICES_OF[order_type], **given_prices})


# --- shape -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order_type", OrderType)
@pytest.mark.parametrize("validity", Validity)
def test_every_order_type_with_its_prices_is_taken(order_type: OrderType, validity: Validity) -> None:
    replace(priced(order_type), validity=validity).check_shape()


@pytest.mark.parametrize("quantity", [1, QUANTITY_MAX])
def test_quantities_up_to_the_limits_are_taken(quantity: int) -> None:
    make.request(total_quantity=quantity).check_shape()


@pytest.mark.parametrize("quantity", [0, -1, QUANTITY_MAX + 1, 10**30])
def test_a_quantity_out_of_range_is_refused_by_name(quantity: int) -> None:
    with pytest.raises(InvalidQuantity) as refused:
        make.request(total_quantity=quantity).check_shape()

    assert refused.value.code == "INVALID_QUANTITY"
    assert refused.value.details == {"field": "total_quantity", "min": 1, "max": QUANTITY_MAX}


@pytest.mark.parametrize("price", ["0.0001", "0.05", "1500", "1500.0", "1.5E+3", "1E+8", "100000000.0000"])
def test_prices_up_to_the_limits_are_taken(price: str) -> None:
    priced(OrderType.LIMIT, limit_price=price).check_shape()


@pytest.mark.parametrize("field", ["limit_price", "trigger_price"])
@pytest.mark.parametrize("price", REFUSED_PRICES)
def test_a_price_that_is_no_price_is_refused_by_name(field: str, price: str) -> None:
    with pytest.raises(InvalidPrice) as refused:
        priced(OrderType.SL, **{field: price}).check_shape()

    assert refused.value.code == "INVALID_PRICE"
    assert refused.value.details["field"] == field


@pytest.mark.parametrize("price", REFUSED_PRICES)
def test_a_price_that_is_no_price_can_be_normalised_and_is_refused_all_the_same(price: str) -> None:
    normalised = priced(OrderType.LIMIT, limit_price=price).normalised()

    with pytest.raises(InvalidPrice):
        normalised.check_shape()


@pytest.mark.parametrize(
    ("order_type", "field"),
    [
        (OrderType.LIMIT, "limit_price"),
        (OrderType.SL, "limit_price"),
        (OrderType.SL, "trigger_price"),
        (OrderType.SL_M, "trigger_price"),
    ],
)
def test_a_missing_price_is_refused_by_name(order_type: OrderType, field: str) -> None:
    with pytest.raises(InvalidPrice) as refused:
        replace(priced(order_type), **{field: None}).check_shape()

    assert refused.value.details["field"] == field


@pytest.mark.parametrize(
    ("order_type", "field"),
    [
        (OrderType.MARKET, "limit_price"),
        (OrderType.MARKET, "trigger_price"),
        (OrderType.LIMIT, "trigger_price"),
        (OrderType.SL_M, "limit_price"),
    ],
)
def test_a_price_that_does_not_go_with_the_order_type_is_refused_by_name(
    order_type: OrderType, field: str
) -> None:
    with pytest.raises(InvalidPrice) as refused:
        priced(order_type, **{field: "1500"}).check_shape()

    assert refused.value.details["field"] == field


def test_a_start_without_an_offset_is_refused_by_name() -> None:
    with pytest.raises(InvalidOrder) as refused:
        make.request(start_at=datetime(2026, 1, 20, 9, 15)).check_shape()

    assert refused.value.code == "INVALID_REQUEST"
    assert refused.value.details["field"] == "start_at"


@pytest.mark.parametrize(
    ("instrument", "product"), [(RELIANCE, Product.NRML), (NIFTY_FUTURE, Product.CNC)], ids=str
)
def test_a_product_of_another_segment_is_refused_by_name(instrument: Instrument, product: Product) -> None:
    with pytest.raises(InvalidOrder) as refused:
        make.request(instrument=instrument, product=product).check_shape()

    assert refused.value.code == "INVALID_REQUEST"
    assert refused.value.details["field"] == "product"


@pytest.mark.parametrize("instrument", [RELIANCE, NIFTY_FUTURE], ids=str)
def test_intraday_goes_with_every_segment(instrument: Instrument) -> None:
    make.request(instrument=instrument, product=Product.MIS).check_shape()


@pytest.mark.parametrize(("num_splits", "duration_minutes"), [(2, 1), (100, 1440)])
def test_splits_up_to_the_limits_are_taken(num_splits: int, duration_minutes: int) -> None:
    split = SplitConfig(num_splits=num_splits, duration_minutes=duration_minutes)

    make.request(split_config=split).check_shape()


@pytest.mark.parametrize(
    ("num_splits", "duration_minutes", "details"),
    [
        (1, 60, {"field": "split_config.num_splits", "min": 2, "max": 100}),
        (101, 60, {"field": "split_config.num_splits", "min": 2, "max": 100}),
        (-5, 60, {"field": "split_config.num_splits", "min": 2, "max": 100}),
        (10, 0, {"field": "split_config.duration_minutes", "min": 1, "max": 1440}),
        (10, 1441, {"field": "split_config.duration_minutes", "min": 1, "max": 1440}),
    ],
)
def test_a_split_out_of_range_is_refused_by_name(
    num_splits: int, duration_minutes: int, details: dict[str, Any]
) -> None:
    split = SplitConfig(num_splits=num_splits, duration_minutes=duration_minutes)

    with pytest.raises(InvalidSplitConfig) as refused:
        make.request(split_config=split).check_shape()

    assert refused.value.code == "INVALID_SPLIT_CONFIG"
    assert refused.value.details == details


@pytest.mark.parametrize("order_type", [OrderType.SL, OrderType.SL_M])
def test_a_stop_order_cannot_be_split(order_type: OrderType) -> None:
    split = SplitConfig(num_splits=2, duration_minutes=60)

    with pytest.raises(InvalidSplitConfig) as refused:
        replace(priced(order_type), split_config=split).check_shape()

    assert refused.value.details["field"] == "split_config"


def test_a_split_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="duration_seconds"):
        msgspec.json.decode(b'{"num_splits":2,"duration_minutes":1,"duration_seconds":1}', type=SplitConfig)


# --- terms of the instrument -------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [1, 74, 76])
def test_a_quantity_off_the_lot_is_refused_by_name(quantity: int) -> None:
    with pytest.raises(OffLot) as refused:
        make.request(total_quantity=quantity).check_terms(InstrumentTerms(lot_size=75))

    assert refused.value.code == "INVALID_QUANTITY"
    assert refused.value.details == {"field": "total_quantity", "lot_size": 75}


@pytest.mark.parametrize("quantity", [75, 750])
def test_whole_lots_are_taken(quantity: int) -> None:
    make.request(total_quantity=quantity).check_terms(InstrumentTerms(lot_size=75))


@pytest.mark.parametrize("field", ["limit_price", "trigger_price"])
def test_a_price_off_the_tick_is_refused_by_name_with_the_nearest_prices(field: str) -> None:
    with pytest.raises(OffTick) as refused:
        priced(OrderType.SL, **{field: "1490.07"}).check_terms(InstrumentTerms())

    assert refused.value.code == "INVALID_PRICE"
    assert refused.value.details == {"field": field, "tick_size": "0.05", "nearest": ["1490.05", "1490.10"]}


def test_a_price_below_the_first_tick_is_told_of_no_price_of_zero() -> None:
    with pytest.raises(OffTick) as refused:
        priced(OrderType.LIMIT, limit_price="0.03").check_terms(InstrumentTerms())

    assert refused.value.details["nearest"] == ["0.05"]


@pytest.mark.parametrize("tick", ["0.0025", "0.01", "0.05", "0.10", "1", "5"])
def test_prices_on_the_tick_are_taken_however_they_are_written(tick: str) -> None:
    terms = InstrumentTerms(tick_size=Decimal(tick))

    priced(OrderType.LIMIT, limit_price="1500.0000").check_terms(terms)
    priced(OrderType.LIMIT, limit_price="1.5E+3").check_terms(terms)


@given(st.integers(1, 10**9), st.sampled_from(["0.0025", "0.01", "0.05", "1"]))
def test_the_nearest_prices_are_themselves_taken(ten_thousandths: int, tick: str) -> None:
    terms = InstrumentTerms(tick_size=Decimal(tick))
    price = Decimal(ten_thousandths) / 10_000
    assume(price > terms.tick_size)

    try:
        make.request(order_type=OrderType.LIMIT, limit_price=price).check_terms(terms)
    except OffTick as refused:
        below, above = [Decimal(text) for text in refused.details["nearest"]]
        assert below < price < above
        for nearest in (below, above):
            make.request(order_type=OrderType.LIMIT, limit_price=nearest).check_terms(terms)


# --- defaults and fingerprints -----------------------------------------------------------------


@pytest.mark.parametrize("exchange", Exchange)
def test_the_product_follows_from_the_segment(exchange: Exchange) -> None:
    asked = make.request(instrument=Instrument(exchange, "X"))

    cash = exchange in (Exchange.NSE, Exchange.BSE)
    assert asked.normalised().product is (Product.CNC if cash else Product.NRML)


def test_a_given_product_is_kept() -> None:
    assert make.request(product=Product.MIS).normalised().product is Product.MIS


@given(requests)
def test_normalising_twice_is_normalising_once(asked: OrderRequest) -> None:
    once = asked.normalised()

    assert msgspec.json.encode(once.normalised()) == msgspec.json.encode(once)


@given(st.decimals("0.0001", PRICE_MAX, places=4), st.integers(0, 6))
@example(Decimal("1.5E+3"), 0)
@example(Decimal("1E+8"), 2)
def test_a_normalised_price_is_the_same_price_written_plainly(price: Decimal, zeros: int) -> None:
    padded = Decimal(f"{price:f}{'' if '.' in f'{price:f}' else '.'}{'0' * zeros}")

    plain = make.request(limit_price=price).normalised().limit_price
    plain_of_padded = make.request(limit_price=padded).normalised().limit_price

    assert plain == price
    assert str(plain) == str(plain_of_padded)
    assert "E" not in str(plain)
    assert not (("." in str(plain)) and str(plain).endswith("0"))


@pytest.mark.parametrize("price", ["1500.0", "1500.0000", "1.5E+3", "15E2", "001500"])
def test_equal_prices_have_one_fingerprint(price: str) -> None:
    assert fingerprint(limit_price=Decimal(price)) == fingerprint(limit_price=Decimal(1500))


def test_the_default_product_and_the_same_product_given_have_one_fingerprint() -> None:
    assert fingerprint() == fingerprint(product=Product.CNC)


def test_one_instant_in_two_offsets_has_one_fingerprint() -> None:
    mumbai = timezone(timedelta(hours=5, minutes=30))

    assert fingerprint(start_at=make.MARKET_OPEN) == fingerprint(start_at=make.MARKET_OPEN.astimezone(mumbai))


@given(instants)
@example(datetime(2026, 1, 20, 3, 45, tzinfo=UTC))
def test_starts_a_microsecond_apart_have_two_fingerprints(start_at: datetime) -> None:
    later = start_at + timedelta(microseconds=1)

    assert fingerprint(start_at=start_at) != fingerprint(start_at=later)


def test_a_fingerprint_is_the_same_as_it_was_when_this_was_written() -> None:
    # A stored order is found again by it: change FINGERPRINT_VERSION with it.
    assert fingerprint() == "3ab1275293b0a0a525e3fedf4155864fcc18c2790667b8fca8e70b90b0a5f025"


@given(requests, st.sampled_from(sorted(fields)), st.data())
def test_requests_that_differ_in_a_field_have_different_fingerprints(
    asked: OrderRequest, field: str, data: st.DataObject
) -> None:
    other = replace(asked, **{field: data.draw(fields[field])})

    same = asked.normalised() == other.normalised()

    assert (asked.normalised().fingerprint() == other.normalised().fingerprint()) is same


def test_the_window_starts_at_the_start_or_at_the_acceptance() -> None:
    split = SplitConfig(num_splits=2, duration_minutes=60)

    assert window(make.request(), make.at(5)) == (make.at(5), make.at(5))
    assert window(make.request(split_config=split), make.at(5)) == (make.at(5), make.at(3605))
    assert window(make.request(split_config=split, start_at=make.at(60)), make.at(5)) == (
        make.at(60),
        make.at(3660),
    )


# --- instruments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "exchange", "symbol"),
    [
        ("NSE:RELIANCE", Exchange.NSE, "RELIANCE"),
        ("NSE:M&M", Exchange.NSE, "M&M"),
        ("NSE:BAJAJ-AUTO", Exchange.NSE, "BAJAJ-AUTO"),
        ("NSE:3MINDIA", Exchange.NSE, "3MINDIA"),
        ("BSE:SENSEX", Exchange.BSE, "SENSEX"),
        ("NFO:NIFTY2612025000CE", Exchange.NFO, "NIFTY2612025000CE"),
        ("CDS:USDINR26JAN85.25CE", Exchange.CDS, "USDINR26JAN85.25CE"),
        ("MCX:GOLDM26FEBFUT", Exchange.MCX, "GOLDM26FEBFUT"),
        ("BFO:" + "A" * 64, Exchange.BFO, "A" * 64),
    ],
)
def test_an_instrument_is_read_and_written_alike(text: str, exchange: Exchange, symbol: str) -> None:
    instrument = Instrument.parse(text)

    assert instrument == Instrument(exchange, symbol)
    assert str(instrument) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "RELIANCE",
        "NSE",
        "NSE:",
        ":RELIANCE",
        "NSE:RELIANCE:EQ",
        "NSE:reliance",
        "nse:RELIANCE",
        "NSE: RELIANCE",
        "NSE:RELIANCE\n",
        "NSE:RELIANCE EQ",
        "NSE:-RELIANCE",
        "NSE:RELIANCÉ",
        "NSE:１２３",
        "NSE:" + "A" * 65,
        "NYSE:IBM",
        "__class__:IBM",
    ],
)
def test_what_is_no_instrument_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInstrument) as refused:
        Instrument.parse(text)

    assert refused.value.code == "INVALID_INSTRUMENT"
    assert refused.value.details["field"] == "instrument"


def test_an_unknown_exchange_is_told_which_there_are() -> None:
    with pytest.raises(InvalidInstrument) as refused:
        Instrument.parse("NYSE:IBM")

    assert refused.value.details["allowed"] == ["NSE", "BSE", "NFO", "BFO", "MCX", "CDS"]


@given(instruments)
def test_every_instrument_survives_being_written_and_read(instrument: Instrument) -> None:
    assume(instrument.symbol[0] not in "&-")

    assert Instrument.parse(str(instrument)) == instrument


@given(st.text(max_size=20))
def test_any_text_is_an_instrument_or_is_refused(text: str) -> None:
    try:
        instrument = Instrument.parse(text)
    except InvalidInstrument:
        return

    assert str(instrument) == text
