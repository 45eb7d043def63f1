"""Scrip master, quotes, chains and candles of the simulated Kotak."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from pulse.simulate import DEFAULT_ACCESS_TOKEN
from pulse_adapters.instruments import Dump, Source, fetch
from pulse_domain.instruments import Exchange, Instrument, Listing
from tests.integration.simulator.neo import KotakProcess

HEADERS = {"Authorization": DEFAULT_ACCESS_TOKEN}


def get(process: KotakProcess, path: str, **query: str) -> httpx.Response:
    return httpx.get(process.url + path, params=query, headers=HEADERS)


@pytest.fixture(scope="module")
def dump(shared_kotak: KotakProcess) -> Dump:
    source = Source(broker="kotak", url=shared_kotak.url, access_token=DEFAULT_ACCESS_TOKEN)
    return fetch(source, frozenset())


def listed(dump: Dump, name: str) -> Listing:
    return next(each for each in dump.listings if each.instrument == Instrument.parse(name))


def test_the_scrip_master_is_read_without_a_bad_row(dump: Dump) -> None:
    assert dump.bad == ()
    assert dump.exchanges == set(Exchange)
    assert set(dump.skipped) == {
        "index: has a value, cannot be traded",
        "underlying: listed among the contracts, cannot be traded",
        "test symbol of the exchange",
    }


def test_a_share_is_found_among_the_rows_of_its_company(dump: Dump) -> None:
    share, bse = listed(dump, "NSE:RELIANCE"), listed(dump, "BSE:RELIANCE")

    assert (share.token, share.broker_symbol, share.lot_size) == ("nse_cm|2885", "RELIANCE-EQ", 1)
    assert (bse.broker_symbol, bse.name) == ("RELIANCE-A", "RELIANCE")
    assert listed(dump, "NSE:RELIANCE-BL").token != share.token
    assert share.closing_auction is False


@pytest.mark.parametrize("exchange", [Exchange.NFO, Exchange.BFO, Exchange.MCX, Exchange.CDS])
def test_expiries_are_right_by_either_epoch(dump: Dump, exchange: Exchange) -> None:
    contracts = [each for each in dump.listings if each.instrument.exchange is exchange]

    assert contracts
    for each in contracts:
        assert each.expiry is not None
        assert f"{each.expiry:%y%b}".upper() in each.instrument.symbol


def test_strikes_ticks_and_freeze_quantities_are_right(dump: Dump) -> None:
    options = [each for each in dump.listings if each.name == "NIFTY" and each.kind.is_option]
    rupee = next(each for each in dump.listings if each.name == "USDINR")

    for each in options:
        assert each.instrument.symbol.endswith(f"{each.strike}{each.kind.value}")
        assert (each.lot_size, each.freeze_quantity) == (65, 1801)
    assert rupee.tick_size > Decimal(0)


def test_files_of_another_day_are_gone(shared_kotak: KotakProcess) -> None:
    paths = get(shared_kotak, "/script-details/1.0/masterscrip/file-paths").json()["data"]
    today = paths["baseFolder"].rpartition("/")[2]
    files = paths["filesPaths"]

    assert any(each.endswith("/transformed-v1/nse_cm-v1.csv") for each in files)
    assert any(each.endswith("/transformed/nse_com.csv") for each in files)
    assert httpx.get(files[0]).status_code == 200
    assert httpx.get(files[0].replace(today, "2020-01-01")).status_code == 404


def test_headers_differ_by_file(shared_kotak: KotakProcess) -> None:
    files = get(shared_kotak, "/script-details/1.0/masterscrip/file-paths").json()["data"]["filesPaths"]
    headers = {each.rpartition("/")[2]: httpx.get(each).text.partition("\n")[0] for each in files}

    assert "dTickSize ,lLotSize,lExpiryDate ,lMultiplier ,lPrecision,dStrikePrice;," in headers["nse_fo.csv"]
    assert "dTickSize,lLotSize,lExpiryDate,lMultiplier,lPrecision,dStrikePrice," in headers["mcx_fo.csv"]
    assert headers["nse_fo.csv"].endswith("lFreezeQty,CASEligible")
    assert headers["bse_cm-v1.csv"].endswith("lFreezeQty")


def test_quotes_are_all_text(kotak_process: KotakProcess, neo: Any) -> None:
    names = [("nse_cm", "1594"), ("nse_cm", "Nifty 50")]
    tokens = [{"exchange_segment": segment, "instrument_token": token} for segment, token in names]
    infy, nifty = neo.quotes(instrument_tokens=tokens, quote_type="all")
    (depth,) = neo.quotes(instrument_tokens=tokens[:1], quote_type="market_depth")

    assert (infy["ltp"], infy["display_symbol"], infy["exchange_token"]) == ("1500.0000", "INFY-EQ", "1594")
    assert infy["depth"]["buy"][0]["price"] == "1499.9000"
    assert [len(infy["depth"][side]) for side in ("buy", "sell")] == [5, 5]
    assert float(nifty["ltp"]) > 0
    assert "ltp" not in depth
    assert len(depth["depth"]["sell"]) == 5


@pytest.mark.parametrize("symbols", ["nse_cm|0", "NSE|1594", "nonsense", ",".join(["nse_cm|1594"] * 51)])
def test_a_quote_of_nothing_is_1009(kotak_process: KotakProcess, symbols: str) -> None:
    answer = get(kotak_process, f"/script-details/1.0/quotes/neosymbol/{symbols}/ltp").json()

    assert (answer["stat"], answer["stCode"]) == ("Not_Ok", 1009)


def test_chains_of_options_and_futures(kotak_process: KotakProcess, neo: Any) -> None:
    expiries = neo.expiries(exchange="nse_fo", underlying="NIFTY")["expiries"]
    chain = neo.option_chain(exchange="nse_fo", underlying="NIFTY", count="10")["data"]
    futures = neo.option_chain(exchange="nse_fo", underlying="NIFTY", instrument_type="fut")["data"]
    unknown = neo.expiries(exchange="nse_fo", underlying="NOTHING")

    assert (chain["common_data"]["expiryDt"], chain["common_data"]["mktLot"]) == (expiries[0], "65")
    assert [len(chain[side]) for side in ("call", "put")] == [10, 10]
    assert sum(each["instrument"]["moneyness"] == "ATM" for each in chain["call"]) == 1
    assert len(futures["fut"]) == 3
    assert futures["common_data"]["expiryDt"] is None
    assert (unknown["emsg"], unknown["stCode"]) == ("Invalid instrument/code", 1009)


def test_candles_of_the_past(kotak_process: KotakProcess) -> None:
    last = datetime.now(UTC).date() - timedelta(days=1)
    query = {"neosymbol": "nse_cm|1333", "fromdate": f"{last - timedelta(days=7)}", "todate": f"{last}"}
    path = "/market-data/1.0/historical/details"
    by_quarter = get(kotak_process, path, interval="15min", **query).json()
    weekly = get(kotak_process, path, interval="W", **query).json()

    assert (by_quarter["status"], by_quarter["interval"]) == ("success", "15min")
    rows = by_quarter["data"]["candles"]
    assert len(rows) % 25 == 0
    assert rows[0][0].endswith("T09:15:00+0530")
    assert all(low <= opened <= high for _, opened, high, low, *_ in rows)
    assert 1 <= len(weekly["data"]["candles"]) <= 3


@pytest.mark.parametrize(
    "changes",
    [{"interval": "2min"}, {"neosymbol": "mcx_fo|1"}, {"fromdate": "2020-01-01"}, {"todate": "soon"}],
)
def test_candles_of_nothing_have_an_error_of_their_own(
    kotak_process: KotakProcess, changes: dict[str, str]
) -> None:
    query = {"neosymbol": "nse_cm|1333", "interval": "1min", "fromdate": "2026-10-01", "todate": "2026-10-02"}
    answer = get(kotak_process, "/market-data/1.0/historical/details", **{**query, **changes}).json()

    assert (answer["status"], answer["fault"]["code"]) == ("ERROR", 400)
