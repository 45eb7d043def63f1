"""Instruments, quotes and candles over REST."""

import asyncio
import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pulse_adapters.simulator.catalog import COLUMNS, Listing
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kite.errors import bad_input
from pulse_adapters.simulator.kite.wire import (
    Candles,
    Depth,
    DepthLevel,
    FullQuote,
    LtpQuote,
    Number,
    Ohlc,
    OhlcQuote,
    TriggerRange,
    number,
    stamp,
)
from pulse_adapters.simulator.prices import Level, Market
from pulse_domain.units import INDIA

QUOTES_MAX, SHORT_QUOTES_MAX = 500, 1000
_DEPTH = 5
_CIRCUIT = Decimal("0.1")
_COVER_RANGE = Decimal("0.03")

# Minutes, the longest span of a request in days, and how many looks at the feed make a candle.
_INTERVALS: dict[str, tuple[int, int, int]] = {
    "minute": (1, 60, 2),
    "3minute": (3, 100, 3),
    "5minute": (5, 100, 3),
    "10minute": (10, 100, 4),
    "15minute": (15, 200, 4),
    "30minute": (30, 200, 4),
    "60minute": (60, 400, 4),
    "day": (1440, 2000, 8),
}


class MarketPages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._dumps: dict[str, bytes] = {}

    def instruments(self, exchange: str | None = None) -> bytes:
        """The instrument file, gzipped; made once."""
        key = exchange or ""
        if key not in self._dumps:
            self._dumps[key] = self._dump(exchange)
        return self._dumps[key]

    def _dump(self, exchange: str | None) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for listing in self._desk.catalog:
            if exchange is None or listing.instrument.exchange == exchange:
                writer.writerow(_csv_row(listing))
        return gzip.compress(out.getvalue().encode(), mtime=0)

    async def quotes(self, names: Sequence[str]) -> dict[str, FullQuote]:
        """Quotes by the names asked for; what is not known is absent.

        Raises:
            KiteError: no names, or too many.
        """
        found = await self._found(names, QUOTES_MAX)
        return {name: _full(listing, market) for name, (listing, market) in found.items()}

    async def ohlc(self, names: Sequence[str]) -> dict[str, OhlcQuote]:
        """Like `quotes`."""
        found = await self._found(names, SHORT_QUOTES_MAX)
        return {
            name: OhlcQuote(listing.token, number(market.last_price), _ohlc(market))
            for name, (listing, market) in found.items()
        }

    async def ltp(self, names: Sequence[str]) -> dict[str, LtpQuote]:
        """Like `quotes`."""
        found = await self._found(names, SHORT_QUOTES_MAX)
        return {
            name: LtpQuote(listing.token, number(market.last_price))
            for name, (listing, market) in found.items()
        }

    async def trigger_range(self, names: Sequence[str]) -> dict[str, TriggerRange]:
        """Where the second leg of a cover order may stop."""
        found = await self._found(names, SHORT_QUOTES_MAX)
        ranges = {}
        for name, (listing, market) in found.items():
            distance = market.last_price * _COVER_RANGE
            lower, upper = market.last_price - distance, market.last_price + distance
            ranges[name] = TriggerRange(listing.token, number(lower), number(upper))
        return ranges

    async def candles(self, token: str, interval: str, query: Mapping[str, str]) -> Candles:
        """Raises KiteError for an unknown token or interval, or too long a span."""
        listing = self._desk.catalog.by_token(int(token)) if token.isdigit() else None
        if listing is None:
            raise bad_input("invalid token")
        if interval not in _INTERVALS:
            raise bad_input("invalid interval")
        minutes, days_max, looks = _INTERVALS[interval]
        start, end = _instant(query, "from"), _instant(query, "to")
        if end < start:
            raise bad_input("invalid from date: it is after the to date")
        if end - start > timedelta(days=days_max):
            raise bad_input(f"interval exceeds max limit: {days_max} days")
        bars = await asyncio.to_thread(
            self._desk.prices.candles, listing.instrument, start, end, minutes, looks
        )
        with_oi = query.get("oi") == "1"
        rows: list[list[str | Number]] = []
        for bar in bars:
            start = bar.start.astimezone(INDIA)
            if interval == "day":
                start = start.replace(hour=0, minute=0)
            row: list[str | Number] = [
                start.strftime("%Y-%m-%dT%H:%M:%S%z"),
                number(bar.open), number(bar.high), number(bar.low), number(bar.close), bar.volume,
            ]  # fmt: skip
            rows.append([*row, bar.oi] if with_oi else row)
        return Candles(rows)

    async def _found(self, names: Sequence[str], most: int) -> dict[str, tuple[Listing, Market]]:
        if not names:
            raise bad_input("Missing or empty field `i`")
        if len(names) > most:
            raise bad_input(f"Maximum {most} instruments are allowed.")
        found = {}
        for name in names:
            listing = self._desk.catalog.by_name(name)
            market = None if listing is None else await self._desk.prices.look(listing.instrument)
            if listing is not None and market is not None:
                found[name] = (listing, market)
        return found


def _csv_row(listing: Listing) -> tuple[object, ...]:
    return (
        listing.token, listing.exchange_token, listing.instrument.symbol, listing.name, 0,
        "" if listing.expiry is None else listing.expiry.isoformat(), listing.strike, listing.tick_size,
        listing.lot_size, listing.kind, listing.segment, listing.instrument.exchange.value,
    )  # fmt: skip


def _full(listing: Listing, market: Market) -> FullQuote:
    low, high = market.close * (1 - _CIRCUIT), market.close * (1 + _CIRCUIT)
    tick = listing.tick_size
    return FullQuote(
        instrument_token=listing.token, timestamp=stamp(market.at), last_trade_time=stamp(market.traded_at),
        last_price=number(market.last_price), last_quantity=market.last_quantity,
        buy_quantity=market.buy_quantity, sell_quantity=market.sell_quantity, volume=market.volume,
        average_price=number(round(market.average_price, 2)), oi=market.oi, oi_day_high=market.oi_day_high,
        oi_day_low=market.oi_day_low, net_change=number(market.last_price - market.close),
        lower_circuit_limit=number(low // tick * tick), upper_circuit_limit=number(high // tick * tick),
        ohlc=_ohlc(market), depth=Depth(_levels(market.buys), _levels(market.sells)),
    )  # fmt: skip


def _ohlc(market: Market) -> Ohlc:
    return Ohlc(number(market.open), number(market.high), number(market.low), number(market.close))


def _levels(levels: Sequence[Level]) -> list[DepthLevel]:
    rows = [DepthLevel(number(level.price), level.quantity, level.orders) for level in levels]
    return rows + [DepthLevel()] * (_DEPTH - len(rows))


def _instant(query: Mapping[str, str], name: str) -> datetime:
    text = query.get(name, "")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=INDIA)
    except ValueError:
        raise bad_input(f"invalid {name} date") from None
