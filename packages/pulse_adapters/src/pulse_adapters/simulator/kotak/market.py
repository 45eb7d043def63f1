"""Scrip master, quotes, chains and candles: what needs the application's token alone."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pulse_adapters.simulator.catalog import Listing
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kotak.errors import NeoError, invalid, no
from pulse_adapters.simulator.kotak.names import Scrips, neo_symbol, segment, token, trading_symbol
from pulse_adapters.simulator.kotak.scrips import file_paths, paths, scrip_file
from pulse_adapters.simulator.prices import Bar, Level, Market
from pulse_domain.units import INDIA

QUOTES_MAX = 50
_INVALID_INSTRUMENT = 1009
_CIRCUIT = Decimal("0.1")
_YEAR = Decimal("0.3")
_DEPTH = 5
_STRIKES = 40
_STRIKES_STEP = 10

# Besides what names the instrument.
_QUOTE_FIELDS: dict[str, tuple[str, ...]] = {
    "ltp": ("ltp",),
    "ohlc": ("ohlc",),
    "market_depth": ("depth",),
    "depth": ("depth",),
    "oi": ("open_int",),
    "52w": ("year_high", "year_low"),
    "circuit_limits": ("low_price_range", "high_price_range"),
    "scrip_details": ("ltp", "last_volume", "change", "per_change"),
    "all": (
        "ltp", "last_traded_quantity", "total_buy", "total_sell", "last_volume", "avg_cost", "open_int",
        "change", "per_change", "low_price_range", "high_price_range", "year_high", "year_low", "ohlc", "depth",
    ),
}  # fmt: skip
# Minutes, the longest span of a request in days, and how many looks at the feed make a candle.
_INTERVALS: dict[str, tuple[int, int, int]] = {
    "1min": (1, 30, 2),
    "3min": (3, 30, 3),
    "5min": (5, 30, 3),
    "10min": (10, 60, 4),
    "15min": (15, 60, 4),
    "30min": (30, 90, 4),
    "60min": (60, 90, 4),
    "D": (1440, 180, 8),
    "W": (1440, 180, 8),
}
_WITH_CANDLES = frozenset({"nse_cm", "nse_fo", "bse_cm", "bse_fo"})
_WITH_CHAINS = frozenset({"nse_fo", "bse_fo", "mcx_fo"})


class MarketPages:
    def __init__(self, desk: Desk, scrips: Scrips) -> None:
        self._desk = desk
        self._scrips = scrips
        self._files: dict[str, bytes] = {}

    # --- scrip master

    def file_paths(self, base: str) -> dict[str, object]:
        return file_paths(base, self._today())

    def file(self, path: str) -> bytes | None:
        """A file of today, made once; None where there is no such file."""
        name = paths(self._today()).get(path)
        if name is None:
            return None
        if name not in self._files:
            self._files[name] = scrip_file(name, self._desk.catalog)
        return self._files[name]

    def _today(self) -> date:
        return self._desk.clock.now().astimezone(INDIA).date()

    # --- quotes

    async def quotes(self, symbols: str, kind: str) -> list[dict[str, Any]]:
        """Raises NeoError for an unknown instrument or kind, and for too many."""
        names = symbols.split(",")
        if len(names) > QUOTES_MAX:
            raise no(_INVALID_INSTRUMENT, f"Maximum {QUOTES_MAX} instruments are allowed")
        if kind not in _QUOTE_FIELDS:
            raise invalid("quote type")
        found = [self._scrips.by_neosymbol(name) for name in names]
        quotes = []
        for listing in found:
            market = None if listing is None else await self._desk.prices.look(listing.instrument)
            if listing is None or market is None:
                raise no(_INVALID_INSTRUMENT, "Invalid neosymbol values")
            quotes.append(_quote(listing, market, _QUOTE_FIELDS[kind]))
        return quotes

    # --- chains

    def expiries(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Raises NeoError where there are no contracts."""
        contracts = self._contracts(query)
        return {
            "exchange": query["exchange"],
            "underlying": query["underlying"],
            "expiries": sorted({_expiry(each) for each in contracts}),
        }

    async def option_chain(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Raises NeoError where there are no contracts, or for a count that is none."""
        contracts, expiry = self._contracts(query), query.get("expiry")
        is_futures = query.get("instrument_type") == "fut"
        if not is_futures:
            expiry = expiry or _expiry(contracts[0])
        contracts = [each for each in contracts if expiry is None or _expiry(each) == expiry]
        if not contracts:
            raise _invalid_code()
        common = {
            "mktLot": str(contracts[0].lot_size),
            "multiplier": str(self._desk.catalog.contracts.multiplier(contracts[0].instrument)),
            "unlSymbol": query["underlying"],
            "exSeg": query["exchange"],
            "expiryDt": expiry,
        }
        if is_futures:
            futures = [row for each in contracts if (row := await self._future(each)) is not None]
            return {"data": {"common_data": common, "call": [], "put": [], "fut": futures}}
        level = await self._level(query["underlying"], contracts)
        sides: dict[str, list[Any]] = {}
        for kind in ("CE", "PE"):
            nearest = sorted(
                (each for each in contracts if each.kind == kind), key=lambda each: abs(each.strike - level)
            )
            chosen = sorted(nearest[: _count(query)], key=lambda each: each.strike)
            at_the_money = nearest[0].strike if nearest else level
            rows = [await self._option(each, level, at_the_money) for each in chosen]
            sides[kind] = [row for row in rows if row is not None]
        return {"data": {"common_data": common, "call": sides["CE"], "put": sides["PE"]}}

    def _contracts(self, query: Mapping[str, str]) -> list[Listing]:
        if query.get("exchange") not in _WITH_CHAINS or not query.get("underlying"):
            raise _invalid_code()
        kind = query.get("instrument_type", "option")
        if kind not in ("option", "fut"):
            raise _invalid_code()
        found = [
            each
            for each in self._scrips.of_underlying(query["exchange"], query["underlying"])
            if (each.kind == "FUT") == (kind == "fut")
        ]
        if not found:
            raise _invalid_code()
        return found

    async def _level(self, underlying: str, contracts: Sequence[Listing]) -> Decimal:
        """Where the underlying stands, by its nearest future; else in the middle of the strikes."""
        futures = [
            each for each in self._scrips.of_underlying(segment(contracts[0]), underlying) if each.kind == "FUT"
        ]
        price = await self._desk.prices.last_price(futures[0].instrument) if futures else Decimal(0)
        return price or contracts[len(contracts) // 2].strike

    async def _option(self, listing: Listing, level: Decimal, at_the_money: Decimal) -> dict[str, Any] | None:
        market = await self._desk.prices.look(listing.instrument)
        if market is None:
            return None
        above = listing.strike > level
        moneyness = "OTM" if above == (listing.kind == "CE") else "ITM"
        return {
            "instrument": {
                "neoSymbol": neo_symbol(listing),
                "symbol": trading_symbol(listing),
                "optionType": listing.kind,
                "strikePrice": format(listing.strike.normalize(), "f"),
                "moneyness": "ATM" if listing.strike == at_the_money else moneyness,
            },
            "quote": {
                "ltp": _four(market.last_price),
                "open": _four(market.open),
                "high": _four(market.high),
                "low": _four(market.low),
                "prevClose": _four(market.close),
                "close": None,
                "volume": market.volume,
            },
            "openInterest": {"current": market.oi, "previous": market.oi, "change": 0, "changePct": 0.0},
        }

    async def _future(self, listing: Listing) -> dict[str, Any] | None:
        """Under shorter names than those of options."""
        market = await self._desk.prices.look(listing.instrument)
        if market is None or listing.expiry is None:
            return None
        return {
            "inst": {
                "neoSymbol": neo_symbol(listing),
                "symbol": trading_symbol(listing),
                "expiryDt": listing.expiry.strftime("%d-%b-%Y").upper(),
            },
            "quote": {
                "ltp": _two(market.last_price), "o": _two(market.open), "h": _two(market.high),
                "l": _two(market.low), "c": _two(market.last_price), "pc": _two(market.close),
                "vol": str(market.volume),
            },
            "oi": {"cur": str(market.oi), "prev": str(market.oi), "chg": "0", "chgPct": "0.00"},
        }  # fmt: skip

    # --- candles

    async def candles(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Raises NeoError for an unknown instrument or interval, or too long a span."""
        name, interval = query.get("neosymbol", ""), query.get("interval", "")
        listing = self._scrips.by_neosymbol(name)
        if interval not in _INTERVALS:
            raise _fault("Invalid interval value")
        if listing is None or segment(listing) not in _WITH_CANDLES:
            raise _fault("Invalid neosymbol values")
        minutes, days_max, looks = _INTERVALS[interval]
        start, end = _day(query, "fromdate"), _day(query, "todate")
        if end < start or end - start > timedelta(days=days_max):
            raise _fault(f"Invalid date range: at most {days_max} days")
        bars = await asyncio.to_thread(
            self._desk.prices.candles, listing.instrument, start, end + timedelta(days=1), minutes, looks
        )
        if interval == "W":
            bars = _weekly(bars)
        is_intraday = minutes < 1440
        rows = []
        for bar in bars:
            at = bar.start.astimezone(INDIA)
            at = at if is_intraday else at.replace(hour=0, minute=0)
            rows.append(
                [at.strftime("%Y-%m-%dT%H:%M:%S%z"), float(bar.open), float(bar.high), float(bar.low),
                 float(bar.close), bar.volume, bar.oi]
            )  # fmt: skip
        return {"status": "success", "interval": interval, "data": {"candles": rows}}


def _quote(listing: Listing, market: Market, fields: Sequence[str]) -> dict[str, Any]:
    tick, change = listing.tick_size, market.last_price - market.close
    percent = change * 100 / market.close if market.close else Decimal(0)
    low, high = (market.close * factor // tick * tick for factor in (1 - _CIRCUIT, 1 + _CIRCUIT))
    every: dict[str, Any] = {
        "ltp": _four(market.last_price),
        "last_traded_quantity": str(market.last_quantity),
        "total_buy": str(market.buy_quantity),
        "total_sell": str(market.sell_quantity),
        "last_volume": str(market.volume),
        "avg_cost": _four(market.average_price),
        "open_int": str(market.oi),
        "change": _four(change),
        "per_change": _four(percent),
        "low_price_range": _four(low),
        "high_price_range": _four(high),
        "year_high": _two(market.high * (1 + _YEAR)),
        "year_low": _two(market.low * (1 - _YEAR)),
        "ohlc": {
            "open": _four(market.open), "high": _four(market.high), "low": _four(market.low),
            "close": _four(market.close),
        },
        "depth": {"buy": _levels(market.buys), "sell": _levels(market.sells)},
    }  # fmt: skip
    return {
        "exchange_token": token(listing),
        "display_symbol": trading_symbol(listing),
        "exchange": segment(listing),
        "lstup_time": str(int(market.at.timestamp())),
        **{name: every[name] for name in fields},
    }


def _levels(levels: Sequence[Level]) -> list[dict[str, str]]:
    rows = [
        {"price": _four(level.price), "quantity": str(level.quantity), "orders": str(level.orders)}
        for level in levels[:_DEPTH]
    ]
    return rows + [{"price": "0.0000", "quantity": "0", "orders": "0"}] * (_DEPTH - len(rows))


def _weekly(days: Sequence[Bar]) -> list[Bar]:
    weeks: dict[tuple[int, int], list[Bar]] = {}
    for bar in days:
        year, week, _ = bar.start.astimezone(INDIA).isocalendar()
        weeks.setdefault((year, week), []).append(bar)
    return [
        Bar(
            start=bars[0].start, open=bars[0].open, high=max(bar.high for bar in bars),
            low=min(bar.low for bar in bars), close=bars[-1].close, volume=sum(bar.volume for bar in bars),
        )
        for bars in weeks.values()
    ]  # fmt: skip


def _count(query: Mapping[str, str]) -> int:
    text = query.get("count", str(_STRIKES))
    if not text.isascii() or not text.isdigit() or not int(text) or int(text) % _STRIKES_STEP:
        raise _invalid_code()
    return int(text)


def _day(query: Mapping[str, str], name: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(query.get(name, "")), datetime.min.time(), INDIA)
    except ValueError:
        raise _fault(f"Invalid {name}") from None


def _expiry(listing: Listing) -> str:
    return "" if listing.expiry is None else listing.expiry.isoformat()


def _invalid_code() -> NeoError:
    return NeoError({"stat": "Not_Ok", "emsg": "Invalid instrument/code", "stCode": _INVALID_INSTRUMENT})


def _fault(message: str) -> NeoError:
    """Candles have errors in a shape of their own."""
    return NeoError({"status": "ERROR", "fault": {"code": 400, "message": message}}, 400)


def _four(price: Decimal) -> str:
    return f"{price:.4f}"


def _two(price: Decimal) -> str:
    return f"{price:.2f}"
