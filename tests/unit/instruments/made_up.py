"""Small instrument files of our own, in the vendors' formats."""

KITE_HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange"
)


def kite_row(
    exchange_token: int = 100,
    symbol: str = "ALPHA",
    name: str = "ALPHA WORKS",
    *,
    token: int | None = None,
    expiry: str = "",
    strike: str = "0.0",
    tick: str = "0.05",
    lot: str = "1",
    kind: str = "EQ",
    segment: str = "NSE",
    exchange: str = "NSE",
) -> str:
    number = exchange_token * 256 + (2 if exchange == "NFO" else 1) if token is None else token
    values = (number, exchange_token, symbol, name, 0.0, expiry, strike, tick, lot, kind, segment, exchange)
    return ",".join(map(str, values))


def kite_future(exchange_token: int, symbol: str, name: str, expiry: str, lot: str = "65") -> str:
    return kite_row(
        exchange_token,
        symbol,
        name,
        expiry=expiry,
        lot=lot,
        tick="0.1",
        kind="FUT",
        segment="NFO-FUT",
        exchange="NFO",
    )


def kite_option(exchange_token: int, symbol: str, name: str, expiry: str, strike: str, lot: str = "65") -> str:
    return kite_row(
        exchange_token, symbol, name,
        expiry=expiry, strike=strike, lot=lot, kind=symbol[-2:], segment="NFO-OPT", exchange="NFO",
    )  # fmt: skip


def kite_dump(*rows: str) -> list[str]:
    return [line + "\n" for line in (KITE_HEADER, *rows)]


# The blanks and the semicolon are the vendor's own.
KOTAK_HEADER = (
    "pSymbol,pGroup,pExchSeg,pInstType,pSymbolName,pTrdSymbol,pOptionType,dTickSize ,lLotSize,lExpiryDate ,"
    "lPrecision,dStrikePrice;,iLotSize,lFreezeQty"
)
# 2026-09-22 14:30 IST, counted from 1980-01-01 00:00 IST.
EXPIRY_1980 = 1474554600


def kotak_row(
    token: int = 100,
    name: str = "ALPHA",
    group: str = "EQ",
    *,
    segment: str = "nse_cm",
    symbol: str | None = None,
    option: str = "",
    tick: str = "5",
    lot: str = "1",
    expiry: str = "-1",
    precision: str = "2",
    strike: str = "-1",
    freeze: str = "99999999",
    more: str = "",
) -> str:
    trading_symbol = f"{name}-{group}" if symbol is None else symbol
    return (
        f"{token},{group},{segment},,{name},{trading_symbol},{option},{tick},{lot},{expiry},{precision},{strike},"
        f"{lot},{freeze}{more}"
    )


def kotak_contract(
    token: int,
    symbol: str,
    name: str = "NIFTY",
    *,
    segment: str = "nse_fo",
    expiry: int = EXPIRY_1980,
    lot: str = "65",
    strike: str = "2.1e+06",
    freeze: str = "1801",
    option: str | None = None,
    precision: str = "2",
    tick: str = "5",
) -> str:
    kind = symbol[-2:] if symbol[-2:] in ("CE", "PE") else "XX"
    return kotak_row(
        token, name, "XX",
        segment=segment, symbol=symbol, option=kind if option is None else option, tick=tick, lot=lot,
        expiry=str(expiry), precision=precision, strike=strike, freeze=freeze,
    )  # fmt: skip


def kotak_dump(*rows: str, header: str = KOTAK_HEADER) -> list[str]:
    return [line + "\n" for line in (header, *rows)]
