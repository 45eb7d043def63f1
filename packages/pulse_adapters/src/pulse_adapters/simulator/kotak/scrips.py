"""The scrip master: one CSV for each segment, in a folder of the day, with the traps of the real files.

Header names end in blanks or a semicolon, differently by file; ticks and strikes are in paise, strikes in
exponent form; -1 is none; expiries count from 1980 in the files of NSE and are Unix time in the others; a
company has cash rows beside that of its share; indices, underlyings and test symbols are among the rows; a
freeze quantity is that which trips in nse_fo, and the limit elsewhere.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from decimal import Decimal

from pulse_adapters.simulator.catalog import Listing
from pulse_adapters.simulator.kotak.names import SEGMENTS, plain_name, segment, series, token, trading_symbol
from pulse_adapters.simulator.kotak.wire import precision
from pulse_domain.units import INDIA

_HEADER = (
    "pSymbol,pGroup,pExchSeg,pInstType,pSymbolName,pTrdSymbol,pOptionType,pScripRefKey,pISIN,pAssetCode,"
    "pSubGroup,pCombinedSymbol,pDesc,pAmcCode,pContractId,dTickSize ,lLotSize,lExpiryDate ,lMultiplier ,"
    "lPrecision,dStrikePrice;,pExchange,pInstName,pExpiryDate,pIssueDate,pMaturityDate,pListingDate,"
    "pNoDelStartDate,pNoDelEndDate,pBookClsStartDate,pBookClsEndDate,pRecordDate,pCreditRating,pReAdminDate,"
    "pExpulsionDate,pLocalUpdateTime,pDeliveryUnits,pPriceUnits,pLastTradingDate,pTenderPeridEndDate,"
    "pTenderPeridStartDate,pSellVarMargin,pBuyVarMargin,pInstrumentInfo,pRemarksText,pSegment,pNav,pNavDate,"
    "pMfAmt,pSipSecurity,pFaceValue,pTrdUnits,pExerciseStartDate,pExerciseEndDate,pElmMargin,pVarMargin,"
    "pTotProposedLimitValue,pScripBasePrice,pSettlementType,pCurrectionTime,iPermittedToTrade,iBoardLotQty ,"
    "iMaxOrderSize ,iLotSize,dOpenInterest ,dHighPriceRange ,dLowPriceRange ,dPriceNum   ,dGenDen,dGenNum,"
    "dPriceQuatation ,dIssuerate ,dPriceDen,dWarningQty ,dIssueCapital ,dExposureMargin ,dMinRedemptionQty ,"
    "lFreezeQty"
)
_COLUMNS = tuple(_HEADER.split(","))
_CLOSING_AUCTION = "CASEligible"  # newer files of NSE have it
# The blanks and the semicolon are not in every file.
_PLAIN_HEADERS = frozenset({"bse_cm", "mcx_fo"})
_CASH = frozenset({"nse_cm", "bse_cm"})
_NSE = frozenset({"nse_cm", "nse_fo", "cde_fo"})
# Commodities of NSE: a name that is easily taken for the cash segment's. Nothing of it is traded here.
_NSE_COMMODITIES = "nse_com"
FILES = (*SEGMENTS.values(), _NSE_COMMODITIES)

_FROM_1980 = frozenset({"nse_fo", "cde_fo"})
_SECONDS_TO_UNIX = 315_513_000
_EXPIRES_AT = time(14, 30)
_NO_FREEZE = 99_999_999
_BLOCK_DEALS = "BL"
_OTHER_SERIES_TOKENS = 30_000_000  # from here on, for rows that nothing else names


def file_paths(base: str, today: date) -> dict[str, object]:
    """What the list of files answers. base: where they are served."""
    folder = f"{base}{folder_of(today)}"
    files = [f"{folder}/{_subfolder(name)}" for name in FILES]
    return {"data": {"baseFolder": folder, "filesPaths": files}}


def folder_of(today: date) -> str:
    return f"/wso2-scripmaster/v1/prod/{today.isoformat()}"


def _subfolder(name: str) -> str:
    return f"transformed-v1/{name}-v1.csv" if name in _CASH else f"transformed/{name}.csv"


def paths(today: date) -> dict[str, str]:
    """The files by their path on the host."""
    return {f"{folder_of(today)}/{_subfolder(name)}": name for name in FILES}


def scrip_file(name: str, listings: Iterable[Listing]) -> bytes:
    """One file. listings: of all segments."""
    columns = (*_COLUMNS, _CLOSING_AUCTION) if name in _NSE else _COLUMNS
    header = [column.strip(" ;") for column in columns] if name in _PLAIN_HEADERS else list(columns)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    mine = [listing for listing in listings if segment(listing) == name]
    for row in _rows(name, mine):
        writer.writerow([row.get(column.strip(" ;"), "") for column in columns])
    return out.getvalue().encode()


def _rows(name: str, listings: list[Listing]) -> Iterator[dict[str, object]]:
    with_futures = {listing.name for listing in listings if listing.kind == "FUT"}
    if name not in _CASH:
        for number, underlying in enumerate(sorted(with_futures), start=26_000):
            yield _underlying(name, number, underlying)
    symbols = {trading_symbol(listing) for listing in listings}
    for number, listing in enumerate(listings, start=_OTHER_SERIES_TOKENS):
        yield _row(name, listing)
        other = f"{plain_name(listing)}-{_BLOCK_DEALS}"
        if name == "nse_cm" and series(listing) == "EQ" and other not in symbols:
            share = _row(name, listing)
            yield {**share, "pSymbol": number, "pGroup": _BLOCK_DEALS, "pTrdSymbol": other}
    if name == "nse_cm":
        yield _test_symbol()


def _row(name: str, listing: Listing) -> dict[str, object]:
    places, is_cash = precision(listing), name in _CASH
    expiry = -1 if listing.expiry is None else _seconds(name, listing.expiry)
    kind = "" if is_cash else ("XX" if listing.kind == "FUT" else listing.kind)
    row: dict[str, object] = {
        **_base(name, listing.lot_size),
        "pSymbol": token(listing),
        "pGroup": series(listing),
        "pSymbolName": plain_name(listing),
        "pTrdSymbol": trading_symbol(listing),
        "pOptionType": kind,
        "pScripRefKey": trading_symbol(listing) if kind else plain_name(listing),
        "pISIN": f"INE{listing.exchange_token % 1_000_000:06d}010" if is_cash and not listing.is_index else "",
        "pDesc": listing.name,
        "dTickSize": -1 if listing.is_index else _scaled(listing.tick_size, places),
        "lExpiryDate": expiry,
        "pExpiryDate": "" if listing.expiry is None else expiry,
        "lPrecision": places,
        "dStrikePrice": _exponent(listing.strike.scaleb(places)) if listing.strike else "-1",
        "lFreezeQty": _freeze(name, listing),
    }
    if kind:
        row["pInstType"] = row["pInstName"] = _instrument_type(listing, kind)
    return row


def _base(name: str, lot: int) -> dict[str, object]:
    """What is much the same in every row."""
    return {
        "pExchSeg": name, "dTickSize": -1, "lLotSize": lot, "lExpiryDate": -1, "lMultiplier": -1,
        "lPrecision": 2, "dStrikePrice": "-1", "pExchange": name.partition("_")[0].upper(),
        "pSegment": "CASH" if name in _CASH else "FO", "pSettlementType": "T+1" if name in _CASH else "",
        "iPermittedToTrade": 1, "iBoardLotQty": lot, "iMaxOrderSize": -1, "iLotSize": lot,
        "dOpenInterest": 0, "dPriceNum": 1, "dGenDen": 1, "dGenNum": 1, "dPriceQuatation": 0,
        "dIssuerate": 0, "dPriceDen": 1, "dWarningQty": 0, "dExposureMargin": 0, "dMinRedemptionQty": 0,
        "lFreezeQty": 0, _CLOSING_AUCTION: "false",
    }  # fmt: skip


def _underlying(name: str, number: int, underlying: str) -> dict[str, object]:
    """Listed among the contracts, and nothing that can be traded."""
    return {
        **_base(name, 1),
        "pSymbol": number,
        "pSymbolName": underlying,
        "pTrdSymbol": underlying,
        "pScripRefKey": underlying,
    }


def _test_symbol() -> dict[str, object]:
    return {
        **_base("nse_cm", 1), "pSymbol": 14747, "pGroup": "EQ", "pSymbolName": "011NSETEST",
        "pTrdSymbol": "011NSETEST-EQ", "pScripRefKey": "011NSETEST", "pISIN": "DUMMYSAN005",
        "pDesc": "011NSETEST", "dTickSize": 5, "lFreezeQty": 500_000,
    }  # fmt: skip


def _instrument_type(listing: Listing, kind: str) -> str:
    what = "FUT" if kind == "XX" else "OPT"
    if segment(listing) == "mcx_fo":
        return f"{what}COM"
    if segment(listing) == "cde_fo":
        return f"{what}CUR"
    return f"{what}IDX" if listing.name.endswith(("NIFTY", "SENSEX", "BANKEX")) else f"{what}STK"


def _seconds(name: str, expiry: date) -> int:
    unix = int(datetime.combine(expiry, _EXPIRES_AT, INDIA).timestamp())
    return unix - _SECONDS_TO_UNIX if name in _FROM_1980 else unix


def _scaled(price: Decimal, places: int) -> str:
    return format(price.scaleb(places).normalize(), "f")


def _exponent(number: Decimal) -> str:
    """2.1e+06, as long as its six digits say it all."""
    short = f"{float(number):g}"
    return short if Decimal(short) == number else format(number, "f")


def _freeze(name: str, listing: Listing) -> int:
    if listing.is_index:
        return 0
    if listing.freeze_quantity is None:
        return _NO_FREEZE
    return listing.freeze_quantity + (name == "nse_fo")
