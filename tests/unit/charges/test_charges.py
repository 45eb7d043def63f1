"""Charges against figures worked out elsewhere, and at the edges of the tables."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.charges import (
    NO_CHARGES,
    ZERODHA,
    Brokerage,
    ChargesBreakdown,
    ChargesSchedule,
    Rates,
    RateTable,
    Segment,
    charges_of,
    contract_note,
    segment_of,
)
from pulse_domain.errors import ChargesUnknown, InvalidInstrument
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.matching import Filled
from pulse_domain.orders.model import Product, Side

DAY = date(2026, 11, 2)
SEGMENTS = [
    ("NSE:INFY", Segment.DELIVERY),
    ("NSE:INFY", Segment.INTRADAY),
    ("NFO:NIFTY26NOVFUT", Segment.FUTURES),
    ("NFO:NIFTY26NOV26000CE", Segment.OPTIONS),
    ("BSE:INFY", Segment.DELIVERY),
    ("BSE:INFY", Segment.INTRADAY),
    ("BFO:SENSEX26NOVFUT", Segment.FUTURES),
    ("BFO:SENSEX26NOV85000PE", Segment.OPTIONS),
]


def fill(quantity: int, price: str) -> Filled:
    return Filled(
        order_id="1", quantity=quantity, price=Decimal(price), at=datetime(2026, 11, 2, 5, tzinfo=UTC)
    )


def charged(*fills: Filled, side: Side = Side.BUY, instrument: str = "NSE:INFY", **changes: Any):
    values: dict[str, Any] = {"segment": Segment.INTRADAY, "trade_date": DAY, "schedule": ZERODHA}
    return charges_of(fills, instrument=Instrument.parse(instrument), side=side, **(values | changes))


def test_the_reference_round_trip_costs_82_72():
    bought = charged(fill(100, "1000.00"))
    sold = charged(fill(100, "1010.00"), side=Side.SELL)

    note = contract_note([bought, sold])

    assert note.brokerage == 40
    assert note.stt == 25
    assert note.exchange_fee + note.investor_protection == Decimal("6.17")
    assert note.sebi_fee == Decimal("0.20")
    assert note.stamp_duty == Decimal("3.00")
    assert note.gst == Decimal("8.35")
    assert note.total == Decimal("82.72")


def test_transaction_tax_is_to_the_paisa_on_an_order_and_to_the_rupee_on_the_note():
    slices = [charged(fill(1, "1600"), side=Side.SELL) for _ in range(12)]

    assert [each.stt for each in slices] == [Decimal("0.40")] * 12
    assert contract_note(slices).stt == 5


@pytest.mark.parametrize(
    ("instrument", "segment", "side", "expected"),
    [
        # Turnover of 100,000 rupees: brokerage, tax, exchange fee, fund, SEBI, stamp duty.
        ("NSE:INFY", Segment.DELIVERY, Side.BUY, "0 100 2.97 0.10 0.10 15.00"),
        ("NSE:INFY", Segment.DELIVERY, Side.SELL, "0 100 2.97 0.10 0.10 0"),
        ("NSE:INFY", Segment.INTRADAY, Side.BUY, "20 0 2.97 0.10 0.10 3.00"),
        ("NSE:INFY", Segment.INTRADAY, Side.SELL, "20 25 2.97 0.10 0.10 0"),
        ("NFO:NIFTY26NOVFUT", Segment.FUTURES, Side.BUY, "20 0 1.73 0.10 0.10 2.00"),
        ("NFO:NIFTY26NOVFUT", Segment.FUTURES, Side.SELL, "20 50 1.73 0.10 0.10 0"),
        ("NFO:NIFTY26NOV26000CE", Segment.OPTIONS, Side.BUY, "20 0 35.03 0.50 0.10 3.00"),
        ("NFO:NIFTY26NOV26000CE", Segment.OPTIONS, Side.SELL, "20 150 35.03 0.50 0.10 0"),
        ("BSE:INFY", Segment.DELIVERY, Side.BUY, "0 100 3.75 0 0.10 15.00"),
        ("BSE:INFY", Segment.INTRADAY, Side.SELL, "20 25 3.75 0 0.10 0"),
        ("BFO:SENSEX26NOVFUT", Segment.FUTURES, Side.SELL, "20 50 0 0 0.10 0"),
        ("BFO:SENSEX26NOV85000PE", Segment.OPTIONS, Side.BUY, "20 0 32.50 0 0.10 3.00"),
        ("BFO:BANKEX26NOV60000PE", Segment.OPTIONS, Side.BUY, "20 0 32.50 0 0.10 3.00"),
        ("BFO:SENSEX5026NOV26000CE", Segment.OPTIONS, Side.BUY, "20 0 5.00 0 0.10 3.00"),
        ("BFO:RELIANCE26NOV1500CE", Segment.OPTIONS, Side.BUY, "20 0 5.00 0 0.10 3.00"),
    ],
)
def test_each_segment_has_its_rates(instrument, segment, side, expected):
    items = charged(fill(1000, "100"), side=side, instrument=instrument, segment=segment)

    assert [
        items.brokerage, items.stt, items.exchange_fee, items.investor_protection, items.sebi_fee,
        items.stamp_duty,
    ] == [Decimal(amount) for amount in expected.split()]  # fmt: skip


@pytest.mark.parametrize(
    ("price", "brokerage"), [("100.00", "3.00"), ("666.60", "20.00"), ("666.70", "20"), ("5000", "20")]
)
def test_brokerage_is_the_lower_of_rate_and_cap(price, brokerage):
    assert charged(fill(100, price)).brokerage == Decimal(brokerage)


def test_brokerage_is_of_the_order_and_not_of_each_fill():
    fills = [fill(100, "1000"), fill(100, "1000.10"), fill(100, "999.90")]

    assert charged(*fills).brokerage == 20
    assert sum(charged(each).brokerage for each in fills) == 60
    assert charged(*fills) == charged(fill(300, "1000"))


def test_an_order_without_fills_costs_nothing():
    assert charged() == ChargesBreakdown()


def test_the_contract_multiplier_counts_in_the_turnover():
    assert charged(fill(2, "100"), multiplier=50) == charged(fill(100, "100"))


def test_the_depository_is_paid_once_for_a_delivery_sale():
    sale: dict[str, Any] = {"side": Side.SELL, "segment": Segment.DELIVERY}

    assert charged(fill(1, "100"), **sale, first_delivery_sale=True).depository_fee == Decimal("15.34")
    assert charged(fill(1, "100"), **sale).depository_fee == 0
    assert charged(fill(1, "100"), segment=Segment.DELIVERY, first_delivery_sale=True).depository_fee == 0
    assert charged(fill(1, "100"), side=Side.SELL, first_delivery_sale=True).depository_fee == 0


@pytest.mark.parametrize(
    ("instrument", "segment", "day", "tax"),
    [
        ("NFO:NIFTY26APRFUT", Segment.FUTURES, date(2024, 10, 1), "20"),
        ("NFO:NIFTY26APRFUT", Segment.FUTURES, date(2026, 3, 31), "20"),
        ("NFO:NIFTY26APRFUT", Segment.FUTURES, date(2026, 4, 1), "50"),
        ("NFO:NIFTY26APR26000PE", Segment.OPTIONS, date(2026, 3, 31), "100"),
        ("NFO:NIFTY26APR26000PE", Segment.OPTIONS, date(2026, 4, 1), "150"),
    ],
)
def test_the_table_of_the_trade_date_applies(instrument, segment, day, tax):
    items = charged(fill(1000, "100"), side=Side.SELL, instrument=instrument, segment=segment, trade_date=day)

    assert items.stt == Decimal(tax)


def test_a_day_before_the_first_table_is_an_error():
    with pytest.raises(ChargesUnknown, match="begin on 2024-10-01") as caught:
        charged(fill(1, "100"), trade_date=date(2024, 9, 30))

    assert caught.value.details == {"schedule": "zerodha", "trade_date": "2024-09-30"}


def test_a_segment_without_rates_is_an_error():
    with pytest.raises(ChargesUnknown, match="no rates for FUTURES at MCX"):
        charged(fill(1, "100"), instrument="MCX:GOLD26DECFUT", segment=Segment.FUTURES)


def test_no_charges_are_none_on_any_day_for_anything():
    items = charged(
        fill(1, "100"), instrument="MCX:GOLD26DECFUT", schedule=NO_CHARGES, trade_date=date(1999, 1, 4)
    )

    assert items == ChargesBreakdown()


def test_another_broker_is_the_same_schedule_with_another_brokerage():
    zero = ZERODHA.with_brokerage("api-free", {segment: Brokerage() for segment in Segment})

    ours, theirs = charged(fill(100, "1000"), schedule=zero), charged(fill(100, "1000"))

    assert ours.brokerage == 0
    assert theirs.gst - ours.gst == Decimal("3.60")
    assert replace(ours, gst=theirs.gst, brokerage=theirs.brokerage) == theirs


def test_a_schedule_of_ones_own_is_a_plain_value():
    rates = Rates(brokerage=Brokerage(flat=Decimal(5), rate=Decimal("0.01")), sebi_fee=Decimal("0.001"))
    schedule = ChargesSchedule(
        name="own",
        tables=(
            RateTable(
                effective_from=date(2020, 1, 1),
                gst=Decimal("0.10"),
                rates={(Exchange.NSE, Segment.INTRADAY): rates},
            ),
        ),
    )

    assert charged(fill(1, "1000"), schedule=schedule) == ChargesBreakdown(
        brokerage=Decimal(15), sebi_fee=Decimal(1), gst=Decimal("1.60")
    )


@pytest.mark.parametrize(
    ("instrument", "product", "segment"),
    [
        ("NSE:INFY", Product.CNC, Segment.DELIVERY),
        ("NSE:INFY", Product.MIS, Segment.INTRADAY),
        ("NSE:PRINCEPIPE", Product.CNC, Segment.DELIVERY),
        ("NFO:NIFTY26NOVFUT", Product.NRML, Segment.FUTURES),
        ("NFO:NIFTY26NOVFUT", Product.MIS, Segment.FUTURES),
        ("NFO:RELIANCE26NOV1500CE", Product.NRML, Segment.OPTIONS),
        ("BFO:SENSEX26NOV85000PE", Product.MIS, Segment.OPTIONS),
    ],
)
def test_the_segment_is_read_from_exchange_product_and_symbol(instrument, product, segment):
    assert segment_of(Instrument.parse(instrument), product) is segment


def test_a_derivative_that_does_not_say_what_it_is_is_an_error():
    with pytest.raises(InvalidInstrument, match="say its segment"):
        segment_of(Instrument.parse("NFO:NIFTY1!"), Product.NRML)


# What a broker's virtual contract note of July 2023 says of three orders, at the rates then in force:
# exchange fees from before October 2024, the protection fund beside them and not taxed, no rounding.
_SEBI = Decimal("0.000001")
NOTE_OF_2023 = ChargesSchedule(
    name="2023",
    quantum=None,
    tables=(
        RateTable(
            effective_from=date(2023, 4, 1),
            gst=Decimal("0.18"),
            gst_on_investor_protection=False,
            rates={
                (Exchange.NSE, Segment.DELIVERY): Rates(
                    stt_buy=Decimal("0.001"),
                    stt_sell=Decimal("0.001"),
                    exchange_fee=Decimal("0.0000325"),
                    investor_protection=Decimal("0.000001"),
                    sebi_fee=_SEBI,
                ),
                (Exchange.NFO, Segment.OPTIONS): Rates(
                    brokerage=Brokerage(flat=Decimal(20)),
                    stt_sell=Decimal("0.000625"),
                    exchange_fee=Decimal("0.0005"),
                    investor_protection=Decimal("0.000005"),
                    sebi_fee=_SEBI,
                ),
                (Exchange.MCX, Segment.FUTURES): Rates(
                    brokerage=Brokerage(rate=Decimal("0.0003"), cap=Decimal(20)),
                    stt_sell=Decimal("0.0001"),
                    exchange_fee=Decimal("0.000026"),
                    sebi_fee=_SEBI,
                ),
            },
        ),
    ),
)


@pytest.mark.parametrize(
    ("instrument", "segment", "side", "traded", "tax", "exchange", "gst", "total"),
    [
        ("NSE:SBIN", Segment.DELIVERY, Side.BUY, fill(1, "560"), "0.56", "0.01876", "0.0033768", "0.5826968"),
        (
            "MCX:GOLDPETAL23JULFUT", Segment.FUTURES, Side.SELL, fill(1, "5862"),
            "0.5862", "0.152412", "0.34503732", "2.84811132",
        ),
        (
            "NFO:NIFTY2371317900PE", Segment.OPTIONS, Side.BUY, fill(100, "1.5"),
            "0", "0.07575", "3.613527", "23.689427",
        ),
    ],
)  # fmt: skip
def test_a_virtual_contract_note_is_reproduced_with_the_rates_of_its_day(
    instrument, segment, side, traded, tax, exchange, gst, total
):
    items = charged(
        traded, instrument=instrument, segment=segment, side=side, schedule=NOTE_OF_2023,
        trade_date=date(2023, 7, 10),
    )  # fmt: skip

    assert items.stt == Decimal(tax)
    assert items.exchange_fee + items.investor_protection == Decimal(exchange)
    assert items.gst == Decimal(gst)
    assert items.total == Decimal(total)


@given(
    st.sampled_from(SEGMENTS),
    st.sampled_from(Side),
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 10**6)), min_size=1, max_size=6),
)
def test_charges_are_whole_paise_never_negative_and_grow_with_the_turnover(market, side, traded):
    instrument, segment = market
    fills = [fill(quantity, str(Decimal(paise) / 100)) for quantity, paise in traded]

    first = charged(*fills[:1], side=side, instrument=instrument, segment=segment)
    all_of_them = charged(*fills, side=side, instrument=instrument, segment=segment)

    assert all_of_them.total == all_of_them.total.quantize(Decimal("0.01"))
    assert 0 <= first.total <= all_of_them.total
