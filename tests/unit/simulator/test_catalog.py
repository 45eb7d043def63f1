"""Instruments of the day, made up or read, and prices around them."""

import gzip
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from pulse_adapters.simulator.catalog import COLUMNS, Catalog, CatalogError, load_catalog, made_catalog
from pulse_adapters.simulator.kite import protection
from pulse_adapters.simulator.pace import draw_pace
from pulse_adapters.simulator.protection import worst_price
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.model import Side
from tests.unit.simulator.make import FixedMarket

TODAY = date(2026, 11, 20)


async def made(today: date = TODAY, *more: Instrument) -> Catalog:
    return await made_catalog(today, FixedMarket(), None, more)


async def test_familiar_names_have_their_tokens() -> None:
    catalog = await made()
    infy = catalog.by_name("NSE:INFY")

    assert infy is not None
    assert (infy.token, catalog.by_token(408065)) == (408065, infy)
    assert catalog.by_name("408065") is infy
    assert catalog.by_name("NSE:NOSUCH") is None
    assert catalog.by_name("nonsense") is None


async def test_tokens_are_unique_and_carry_the_segment() -> None:
    listings = list(await made())

    assert len({listing.token for listing in listings}) == len(listings)
    assert all(listing.token >> 8 == listing.exchange_token for listing in listings)
    assert {listing.token & 0xFF for listing in listings if listing.is_index} == {9}
    assert max(listing.token for listing in listings) < 1 << 32


async def test_tokens_stay_the_same_from_day_to_day() -> None:
    today, tomorrow = await made(), await made(date(2026, 11, 21))

    assert {c.instrument: c.token for c in today} == {c.instrument: c.token for c in tomorrow}


async def test_expired_contracts_are_gone() -> None:
    expiries = {listing.expiry for listing in await made(date(2026, 11, 25)) if listing.expiry}

    assert min(expiries) == date(2026, 12, 29)


async def test_what_a_feed_has_is_listed_too() -> None:
    zomato, future = Instrument(Exchange.NSE, "ETERNAL"), Instrument(Exchange.NFO, "ETERNAL26NOVFUT")
    catalog = await made(TODAY, zomato, future, Instrument(Exchange.NSE, "INFY"))
    found = [catalog.find(zomato), catalog.find(future)]

    assert [listing and listing.kind for listing in found] == ["EQ", "FUT"]


@pytest.fixture
def rows() -> list[str]:
    return [
        ",".join(COLUMNS),
        "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE",
        "10189826,39804,NIFTY26NOV25000CE,NIFTY,12.3,2026-11-24,25000,0.05,65,CE,NFO-OPT,NFO",
        "100,1,GSEC,GSEC,0,,0,0.01,1,EQ,NCO,NCO",
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_the_brokers_file_is_read(tmp_path: Path, rows: list[str], packed: bool) -> None:
    text = "\n".join(rows).encode()
    (tmp_path / "instruments").write_bytes(gzip.compress(text) if packed else text)
    catalog = load_catalog(tmp_path / "instruments")
    option = catalog.by_name("NFO:NIFTY26NOV25000CE")

    assert len(catalog) == 2
    assert option is not None
    assert (option.lot_size, option.freeze_quantity, option.strike) == (65, 1800, Decimal(25000))
    assert option.expiry == date(2026, 11, 24)


def test_a_broken_file_names_its_line(tmp_path: Path, rows: list[str]) -> None:
    path = tmp_path / "instruments.csv"
    path.write_text("\n".join([*rows, "x,1,A,A,0,,0,0.05,1,EQ,NSE,NSE"]))
    with pytest.raises(CatalogError, match="line 5"):
        load_catalog(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CatalogError, match="lacks the columns"):
        load_catalog(path)
    with pytest.raises(CatalogError, match="cannot read"):
        load_catalog(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("price", "is_option", "percent"),
    [("99", False, "2"), ("100", False, "1"), ("500", False, "0.5"),
     ("9", True, "5"), ("99", True, "3"), ("499", True, "2"), ("500", True, "1")],
)  # fmt: skip
def test_the_automatic_band_follows_the_price(price: str, is_option: bool, percent: str) -> None:
    assert protection.band(Decimal(-1), Decimal(price), is_option=is_option) == Decimal(percent)


def test_a_protected_price_stays_within_the_band_and_on_the_grid() -> None:
    tick = Decimal("0.05")

    assert worst_price(Decimal("100.10"), Side.BUY, Decimal("1.001"), tick) == Decimal("101.10")
    assert worst_price(Decimal("100.10"), Side.SELL, Decimal("1.001"), tick) == Decimal("99.10")
    assert worst_price(tick, Side.SELL, tick, tick) == tick


def test_a_seed_makes_a_pace_of_its_own() -> None:
    paces = [draw_pace(Random(seed)) for seed in range(20)]

    assert paces[3] == draw_pace(Random(3))
    assert len({pace.clock_offset_s for pace in paces}) == 20
    assert all(abs(pace.clock_offset_s) <= 0.8 for pace in paces)
