"""Kotak's scrip master, its traps one by one."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from pulse_adapters.instruments import Dump, DumpError, parse, read_file
from pulse_domain.instruments import Listing, ListingKind
from pulse_domain.market import largest_order
from tests.unit.instruments.made_up import (
    EXPIRY_1980,
    KOTAK_HEADER,
    kotak_contract,
    kotak_dump,
    kotak_row,
)

REAL = Path(__file__).parents[4] / "shared/data/instruments"
UNIX_EXPIRY = int(datetime(2026, 9, 24, 18, 0, tzinfo=UTC).timestamp())


def read(*rows: str, header: str = KOTAK_HEADER) -> Dump:
    return parse("kotak", "".join(kotak_dump(*rows, header=header)).encode())


def only(dump: Dump) -> Listing:
    assert dump.bad == ()
    [listing] = dump.listings
    return listing


def test_a_share_is_written_as_kite_writes_it() -> None:
    listing = only(read(kotak_row(2885, "RELIANCE", freeze="40592")))

    assert str(listing.instrument) == "NSE:RELIANCE"
    assert (listing.token, listing.broker_symbol) == ("nse_cm|2885", "RELIANCE-EQ")
    assert (listing.tick_size, listing.lot_size, listing.freeze_quantity) == (Decimal("0.05"), 1, 40592)


def test_a_company_has_many_cash_rows_and_one_is_the_share() -> None:
    dump = read(kotak_row(1, "ALPHA", "BL"), kotak_row(2, "ALPHA", "EQ"), kotak_row(3, "ALPHA", "BE"))

    assert [str(each.instrument) for each in dump.listings] == ["NSE:ALPHA-BL", "NSE:ALPHA", "NSE:ALPHA-BE"]


def test_a_share_at_bse_is_its_name_without_the_group() -> None:
    listing = only(read(kotak_row(500325, "RELIANCE", "A", segment="bse_cm")))

    assert str(listing.instrument) == "BSE:RELIANCE"
    assert (listing.token, listing.broker_symbol) == ("bse_cm|500325", "RELIANCE-A")


def test_prices_are_in_paise_and_strikes_in_exponent_form() -> None:
    listing = only(read(kotak_contract(56526, "NIFTY2692221000PE")))

    assert listing.tick_size == Decimal("0.05")
    assert listing.strike == Decimal(21000)
    assert str(listing.strike) == "21000"
    assert (listing.kind, listing.lot_size) == (ListingKind.PUT, 65)


def test_a_tick_of_one_is_a_paisa() -> None:
    assert only(read(kotak_row(tick="1"))).tick_size == Decimal("0.01")


def test_prices_have_the_precision_of_their_row() -> None:
    row = kotak_contract(
        1, "USDINR26SEPFUT", "USDINR", segment="cde_fo", precision="4", tick="25", lot="1000", strike="-1"
    )

    assert only(read(row)).tick_size == Decimal("0.0025")


def test_expiries_count_from_1980_in_nse_files() -> None:
    assert only(read(kotak_contract(1, "NIFTY2692221000PE"))).expiry == date(2026, 9, 22)


@pytest.mark.parametrize("segment", ["bse_fo", "mcx_fo"])
def test_expiries_are_unix_time_in_other_files(segment: str) -> None:
    row = kotak_contract(1, "GOLD26SEPFUT", "GOLD", segment=segment, expiry=UNIX_EXPIRY, strike="-1")

    assert only(read(row)).expiry == date(2026, 9, 24)


def test_an_expiry_read_with_the_wrong_epoch_is_seen() -> None:
    dump = read(kotak_contract(1, "NIFTY2692221000PE", expiry=EXPIRY_1980 + 315_513_000))

    assert "not that of the symbol" in dump.bad[0].reason


def test_half_an_hour_between_the_two_expiry_columns_does_not_matter() -> None:
    assert only(read(kotak_contract(1, "NIFTY2692221000PE", expiry=EXPIRY_1980 - 1800))).expiry == date(
        2026, 9, 22
    )


@pytest.mark.parametrize(
    ("printed", "stored"), [("99999999", None), ("0", None), ("-1", None), ("1801", 1801), ("1801.00", 1801)]
)
def test_freeze_quantities(printed: str, stored: int | None) -> None:
    assert only(read(kotak_contract(1, "NIFTY2692221000PE", freeze=printed))).freeze_quantity == stored


def test_index_rows_and_test_symbols_are_counted() -> None:
    dump = read(
        kotak_row(26000, "NIFTY", "", symbol="NIFTY", tick="-1", freeze="0"),
        kotak_row(1, "011NSETEST"),
        kotak_row(2, "COTTON", "XX", segment="nse_com", symbol="COTTON26SEPFUT"),
        kotak_row(3),
    )

    assert len(dump.listings) == 1
    assert (sum(dump.skipped.values()), len(dump.skipped), dump.bad) == (3, 3, ())


def test_underlyings_among_the_contracts_and_rows_without_an_isin_are_counted() -> None:
    header = KOTAK_HEADER + ",pISIN"
    spot = kotak_contract(1, "GOLD", "GOLD", segment="mcx_fo", option="") + ","
    index = kotak_row(2, "SENSEX", "X", segment="bse_cm") + ","
    share = kotak_row(3, "ALPHA") + ",INE000A01001"

    dump = read(spot, index, share, header=header)

    assert (len(dump.listings), sum(dump.skipped.values()), dump.bad) == (1, 2, ())


def test_header_names_may_have_other_blanks() -> None:
    header = KOTAK_HEADER.replace("dTickSize ", " dTickSize;").replace("dStrikePrice;", "dStrikePrice ")

    assert only(read(kotak_row(), header=header)).tick_size == Decimal("0.05")


@pytest.mark.parametrize(("text", "known"), [("true", True), ("false", False), ("", None)])
def test_newer_files_say_who_takes_part_in_the_closing_auction(text: str, known: bool | None) -> None:
    listing = only(read(kotak_row(more=f",{text}"), header=KOTAK_HEADER + ",CASEligible"))

    assert listing.closing_auction is known
    assert only(read(kotak_row())).closing_auction is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (kotak_row(tick="-1"), "tick size"),
        (kotak_row(tick="0"), "tick size"),
        (kotak_row(lot="-1"), "lot size"),
        (kotak_row(precision="-1"), "lPrecision"),
        (kotak_contract(1, "NIFTY2692221000PE", freeze="64"), "below one lot"),
        (kotak_contract(1, "NIFTY2692221000PE", strike="-1"), "strike"),
        (kotak_contract(1, "NIFTY2692221000PE", expiry=-1), "without an expiry"),
        (kotak_contract(1, "NIFTY26SEPFUT", option="ZZ"), "unknown option type"),
        (kotak_contract(1, "NIFTY2692321000PE"), "not that of the symbol"),
        ("1,2", "2 columns"),
    ],
)
def test_a_bad_row_is_left_out_and_named_with_its_line(row: str, reason: str) -> None:
    dump = read(kotak_row(1, "BEFORE"), row, kotak_row(2, "AFTER"))

    assert [each.instrument.symbol for each in dump.listings] == ["BEFORE", "AFTER"]
    [bad] = dump.bad
    assert bad.line == 3
    assert reason in bad.reason


def test_kites_file_is_refused() -> None:
    with pytest.raises(DumpError, match="pSymbol"):
        parse("kotak", b"instrument_token,exchange_token\n1,2\n")


# --- the real files


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_the_real_cash_file() -> None:
    dump = read_file("kotak", REAL / "kotak_nse_cm_sample.csv")

    assert (dump.rows, len(dump.listings), dump.bad) == (2427, 2405, ())
    found = {str(each.instrument): each for each in dump.listings}
    assert found["NSE:RELIANCE"].broker_symbol == "RELIANCE-EQ"
    assert found["NSE:RELIANCE"].freeze_quantity == 40592
    assert "NSE:RELIANCE-BL" in found


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_the_real_option_prints_the_quantity_that_trips_the_freeze() -> None:
    listing = only(read_file("kotak", REAL / "kotak_nse_fo_rows.csv"))

    assert (listing.strike, listing.expiry) == (Decimal(21000), date(2026, 9, 22))
    assert listing.freeze_quantity == 1801
    assert largest_order(1801, listing.lot_size) == 27 * 65


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_both_vendors_write_the_same_symbols() -> None:
    kite = {each.instrument for each in read_file("zerodha", REAL / "kite_nse.csv").listings}
    shares = [
        each.instrument
        for each in read_file("kotak", REAL / "kotak_nse_cm_sample.csv").listings
        if each.broker_symbol.endswith("-EQ")
    ]

    # The Kotak file's rows were last changed in April 2023, as its own column says; the Kite file is of
    # September 2025. Many companies were renamed, moved to another series or delisted in between.
    assert sum(share in kite for share in shares) > 0.8 * len(shares)
