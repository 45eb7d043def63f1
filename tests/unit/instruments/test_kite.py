"""Kite's instrument file, its traps one by one."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from pulse_adapters.instruments import Dump, DumpError, parse, read_file
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms, Listing, ListingKind
from tests.unit.instruments.made_up import kite_dump, kite_future, kite_option, kite_row

REAL = Path(__file__).parents[4] / "shared/data/instruments"


def read(*rows: str) -> Dump:
    return parse("zerodha", "".join(kite_dump(*rows)).encode())


def only(dump: Dump) -> Listing:
    assert dump.bad == ()
    [listing] = dump.listings
    return listing


def test_a_share() -> None:
    listing = only(read(kite_row(2885, "RELIANCE", "RELIANCE INDUSTRIES", tick="0.1")))

    assert listing.instrument == Instrument.parse("NSE:RELIANCE")
    assert (listing.token, listing.broker_symbol) == (str(2885 * 256 + 1), "RELIANCE")
    assert (listing.tick_size, listing.lot_size, listing.kind) == (Decimal("0.1"), 1, ListingKind.SHARE)
    assert (listing.freeze_quantity, listing.closing_auction, listing.expiry) == (None, None, None)


def test_tokens_use_all_of_their_32_bits() -> None:
    assert only(read(kite_row(0xFFFFFF, token=2**32 - 1))).token == "4294967295"


def test_an_index_cannot_be_traded_and_is_no_error() -> None:
    dump = read(
        kite_row(1001, "NIFTY 50", "NIFTY 50", tick="0.0", lot="0", segment="INDICES"), kite_row(1, "ALPHA")
    )

    assert [str(each.instrument) for each in dump.listings] == ["NSE:ALPHA"]
    assert (dump.bad, sum(dump.skipped.values()), dump.rows) == ((), 1, 2)


@pytest.mark.parametrize("tick", ["0.01", "0.05", "0.1", "0.2", "0.5", "1.0", "5.0"])
def test_each_row_has_its_own_tick(tick: str) -> None:
    listing = only(read(kite_row(tick=tick)))

    assert listing.tick_size == Decimal(tick)
    assert InstrumentTerms(tick_size=listing.tick_size).tick_size > 0


def test_a_weekly_option() -> None:
    listing = only(read(kite_option(500, "NIFTY2651224000CE", "NIFTY", "2026-05-12", "24000.0")))

    assert (listing.kind, listing.expiry) == (ListingKind.CALL, date(2026, 5, 12))
    assert (listing.strike, listing.lot_size) == (Decimal(24000), 65)


@pytest.mark.parametrize(
    ("symbol", "expiry"),
    [
        ("NIFTY26O0624000PE", "2026-10-06"),
        ("NIFTY26N0324000PE", "2026-11-03"),
        ("NIFTY26D0124000PE", "2026-12-01"),
        ("NIFTY26MAY24000PE", "2026-05-26"),
        ("NIFTY2690124000PE", "2026-09-01"),
    ],
)
def test_weekly_and_monthly_symbols_agree_with_their_dates(symbol: str, expiry: str) -> None:
    assert only(read(kite_option(500, symbol, "NIFTY", expiry, "24000"))).expiry == date.fromisoformat(expiry)


def test_commodities_count_lots_at_the_broker() -> None:
    row = kite_row(
        700, "CRUDEOIL26NOVFUT", "CRUDEOIL",
        expiry="2026-11-18", lot="100", tick="1", kind="FUT", segment="MCX-FUT", exchange="MCX",
    )  # fmt: skip

    listing = only(read(row))

    assert (listing.lot_size, listing.units_per_broker_quantity) == (100, 100)
    assert only(read(kite_future(1, "NIFTY26MAYFUT", "NIFTY", "2026-05-26"))).units_per_broker_quantity == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (kite_row(tick="0.0"), "tick size 0"),
        (kite_row(tick="-0.05"), "tick size -0.05"),
        (kite_row(lot="0"), "lot size 0"),
        (kite_row(lot="1.5"), "not a whole number"),
        (kite_row(lot="99999999999"), "not a whole number"),
        (kite_row(tick="NaN"), "out of range"),
        (kite_row(tick="1e999999"), "out of range"),
        (kite_row(tick="five"), "not a number"),
        (kite_row(symbol="al pha"), "EXCHANGE:SYMBOL"),
        (kite_row(symbol=""), "EXCHANGE:SYMBOL"),
        (kite_row(kind="SWAP"), "unknown instrument type"),
        (kite_row(100, token=1), "does not go with exchange token"),
        (kite_row(100, token=2**32), "token is not a whole number"),
        (kite_future(1, "NIFTY26MAYFUT", "NIFTY", ""), "expiry is not a date"),
        (kite_future(1, "NIFTY26MAYFUT", "NIFTY", "2026-06-30"), "not that of the symbol"),
        (kite_option(1, "NIFTY2651224000CE", "NIFTY", "2026-05-19", "24000"), "not that of the symbol"),
        (kite_option(1, "NIFTY2651224000CE", "NIFTY", "2026-05-12", "0"), "strike 0"),
        (kite_row() + ",more", "13 columns instead of 12"),
        ("1,2,3", "3 columns instead of 12"),
    ],
)
def test_a_bad_row_is_left_out_and_named_with_its_line(row: str, reason: str) -> None:
    dump = read(kite_row(1, "BEFORE"), row, kite_row(2, "AFTER"))

    assert [each.instrument.symbol for each in dump.listings] == ["BEFORE", "AFTER"]
    [bad] = dump.bad
    assert bad.line == 3
    assert reason in bad.reason


def test_the_second_row_of_a_token_or_symbol_is_bad() -> None:
    dump = read(kite_row(1, "ALPHA"), kite_row(1, "BETA"), kite_row(2, "ALPHA"))

    assert [(bad.line, bad.reason.partition(" is also")[0]) for bad in dump.bad] == [
        (3, "token 257"),
        (4, "the symbol"),
    ]


def test_exchanges_that_are_not_ours_are_counted() -> None:
    dump = read(kite_row(exchange="NSEIX", segment="NSEIX-FUT"), kite_row(2))

    assert dump.skipped == {"exchange NSEIX is not traded here": 1}
    assert dump.exchanges == {Exchange.NSE}


def test_columns_are_found_by_name() -> None:
    swapped = (
        "exchange,segment,instrument_type,lot_size,tick_size,strike,expiry,last_price,name,tradingsymbol,",
        "exchange_token,instrument_token\n",
        "NSE,NSE,EQ,1,0.05,0,,0,ALPHA WORKS,ALPHA,1,257\n",
    )

    assert only(parse("zerodha", "".join(swapped).encode())).broker_symbol == "ALPHA"


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b"a,b,c\n1,2,3\n", b"\xff\xfe\x00", b"\x1f\x8bnot"]
)
def test_what_is_no_instrument_file_is_refused(body: bytes) -> None:
    with pytest.raises(DumpError):
        parse("zerodha", body)


def test_names_with_commas_are_quoted() -> None:
    assert only(read(kite_row(name='"ALPHA, BETA AND SONS"'))).name == "ALPHA, BETA AND SONS"


# --- the real files


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_the_real_cash_file() -> None:
    dump = read_file("zerodha", REAL / "kite_nse.csv")

    assert (dump.rows, len(dump.listings), dump.bad) == (8361, 8244, ())
    assert sum(dump.skipped.values()) == 117
    found = {str(each.instrument): each for each in dump.listings}
    assert found["NSE:RELIANCE"].tick_size == Decimal("0.1")
    assert found["NSE:M&M"].lot_size == 1
    assert len({each.tick_size for each in dump.listings}) > 4


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_the_real_derivatives_file() -> None:
    dump = read_file("zerodha", REAL / "kite_nfo_sample.csv")

    assert (dump.rows, len(dump.listings), dump.bad) == (2829, 2829, ())
    nifty = [each for each in dump.listings if each.name == "NIFTY"]
    assert {each.lot_size for each in nifty} == {65}
    assert {each.tick_size for each in nifty if each.kind is ListingKind.FUTURE} == {Decimal("0.1")}
    assert all(each.expiry is not None for each in dump.listings)
    assert all(each.strike for each in dump.listings if each.kind.is_option)
