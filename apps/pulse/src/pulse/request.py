"""The order request of the contract, from what was typed. What needs no market data is checked here."""

import re
import secrets
from datetime import datetime
from enum import StrEnum

from pulse.errors import BadInput
from pulse.views import Json

QUANTITY_MAX = 1_000_000_000
SPLITS_MIN, SPLITS_MAX = 2, 100
MINUTES_MAX = 1440

_matches_instrument = re.compile(r"(NSE|BSE|NFO|BFO|MCX|CDS):[A-Z0-9][A-Z0-9&_.!-]{0,63}").fullmatch
_matches_price = re.compile(r"[0-9]{1,12}(\.[0-9]{1,8})?").fullmatch
_matches_key = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch
_matches_tag = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch
_matches_order_id = re.compile(r"ord_[A-Za-z0-9]{1,64}").fullmatch


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"
    SL_M = "SL-M"


class Product(StrEnum):
    CNC = "CNC"
    MIS = "MIS"
    NRML = "NRML"


class Validity(StrEnum):
    DAY = "DAY"
    IOC = "IOC"


def new_key() -> str:
    return f"cli-{secrets.token_hex(12)}"


def order_request(
    *,
    key: str,
    instrument: str,
    side: Side,
    quantity: int,
    splits: int | None = None,
    minutes: int | None = None,
    randomize: bool | None = None,
    order_type: OrderType | None = None,
    limit: str | None = None,
    trigger: str | None = None,
    product: Product | None = None,
    validity: Validity | None = None,
    start_at: str | None = None,
    tag: str | None = None,
) -> Json:
    """Put a request together; what was not given is left to the service.

    Raises:
        BadInput: something is malformed, or does not go together.
    """
    if _matches_instrument(instrument) is None:
        raise BadInput(
            f"{instrument!r} is not an instrument: write EXCHANGE:SYMBOL in capitals, such as NSE:TCS; "
            "the exchange is NSE, BSE, NFO, BFO, MCX or CDS"
        )
    if _matches_key(key) is None:
        raise BadInput("--key must be 1 to 128 of letters, digits and _.:-")
    if tag is not None and _matches_tag(tag) is None:
        raise BadInput("--tag must be 1 to 64 of letters, digits and _.:-")
    kind = order_type or OrderType.MARKET
    fields = {
        "order_unique_key": key,
        "instrument": instrument,
        "side": side.value,
        "total_quantity": quantity,
        "split_config": _split(kind, splits, minutes, randomize),
        "start_at": _instant(start_at),
        "order_type": order_type,
        "limit_price": _price("--limit", limit, kind in (OrderType.LIMIT, OrderType.SL), kind),
        "trigger_price": _price("--trigger", trigger, kind in (OrderType.SL, OrderType.SL_M), kind),
        "product": product,
        "validity": validity,
        "strategy_tag": tag,
    }
    return {name: value for name, value in fields.items() if value is not None}


def check_order_id(text: str) -> str:
    """Raises: BadInput: it does not look like an order's id."""
    if _matches_order_id(text) is None:
        raise BadInput(f"{text!r} is not an order id: those begin with ord_")
    return text


def _split(kind: OrderType, splits: int | None, minutes: int | None, randomize: bool | None) -> Json | None:
    if splits is None and minutes is None:
        if randomize is not None:
            raise BadInput("--randomize and --no-randomize go with --splits and --minutes")
        return None
    if splits is None or minutes is None:
        raise BadInput("--splits and --minutes go together")
    if kind in (OrderType.SL, OrderType.SL_M):
        raise BadInput(f"an order of type {kind} cannot be split")
    return {
        "num_splits": splits,
        "duration_minutes": minutes,
        "randomize": True if randomize is None else randomize,
    }


def _price(option: str, text: str | None, wanted: bool, kind: OrderType) -> str | None:
    if text is None:
        if wanted:
            raise BadInput(f"an order of type {kind} needs {option}")
        return None
    if not wanted:
        raise BadInput(f"an order of type {kind} takes no {option}")
    if _matches_price(text) is None or float(text) == 0:
        raise BadInput(f"{option} must be a price above 0, such as 3700.5")
    return text


def _instant(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput("--start-at must be an ISO 8601 instant, such as 2026-01-05T09:15:00+05:30") from None
    if instant.utcoffset() is None:
        raise BadInput("--start-at needs an offset from UTC at its end, such as +05:30")
    return instant.isoformat()
