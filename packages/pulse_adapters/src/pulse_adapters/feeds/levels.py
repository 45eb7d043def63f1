"""Where made-up prices start and on which tick grid they lie.

The figures are examples for a demo, dated below: a broker's instrument file has the true ones.
"""

import hashlib
import re
from decimal import Decimal

from pulse_domain.instruments import Exchange, Instrument

# Round figures near the levels of 2026, so that familiar names look familiar.
_LEVELS = {
    "NIFTY": 25_000, "BANKNIFTY": 55_000, "FINNIFTY": 26_000, "MIDCPNIFTY": 13_000, "NIFTYNXT50": 68_000,
    "SENSEX": 82_000, "BANKEX": 62_000, "RELIANCE": 1_400, "TCS": 3_200, "INFY": 1_500, "HDFCBANK": 1_000,
    "ICICIBANK": 1_400, "SBIN": 900, "ITC": 400, "GOLD": 120_000, "SILVER": 150_000, "CRUDEOIL": 5_500,
    "USDINR": 88,
}  # fmt: skip
_INDICES = {"NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY", "NIFTYNXT50", "SENSEX", "BANKEX"}

# NSE and BSE cash since 2025-04-15: (below this price, the tick is).
_CASH_TICKS = (
    (250, Decimal("0.01")), (1_000, Decimal("0.05")), (5_000, Decimal("0.10")), (10_000, Decimal("0.50")),
    (20_000, Decimal("1.00")), (float("inf"), Decimal("5.00")),
)  # fmt: skip
_INDEX_FUTURE_TICKS = (
    (15_000, Decimal("0.05")), (30_000, Decimal("0.10")), (float("inf"), Decimal("0.20")),
)  # fmt: skip
_INDEX_TICK = Decimal("0.05")
_OPTION_TICK = Decimal("0.05")
_CURRENCY_TICK = Decimal("0.0025")
_COMMODITY_TICK = Decimal("1.00")

_CONTRACT = re.compile(r"(?P<root>.+?)\d{2}(?:[A-Z]{3}|\d).*?(?P<kind>FUT|CE|PE)")


def level_of(instrument: Instrument, seed: int) -> float:
    """The price around which an instrument is made to trade."""
    root, kind = _root_and_kind(instrument)
    if kind in ("CE", "PE"):
        return 20 + 280 * _share(seed, str(instrument))
    level = _LEVELS.get(root) or 60 + 2_900 * _share(seed, root) ** 2
    return level * 1.004 if kind == "FUT" else level


def tick_of(instrument: Instrument, price: float) -> Decimal:
    """The tick size of an instrument that trades around a price."""
    root, kind = _root_and_kind(instrument)
    if kind in ("CE", "PE"):
        return _OPTION_TICK
    if instrument.exchange is Exchange.CDS:
        return _CURRENCY_TICK
    if instrument.exchange is Exchange.MCX:
        return _COMMODITY_TICK
    if root in _INDICES and kind != "FUT":
        return _INDEX_TICK
    bands = _INDEX_FUTURE_TICKS if root in _INDICES else _CASH_TICKS
    return next(tick for below, tick in bands if price < below)


def _root_and_kind(instrument: Instrument) -> tuple[str, str]:
    if not instrument.exchange.is_cash and (contract := _CONTRACT.fullmatch(instrument.symbol)):
        return contract["root"], contract["kind"]
    return instrument.symbol, ""


def _share(seed: int, text: str) -> float:
    digest = hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
