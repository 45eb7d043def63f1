"""What a client sends about orders. Shapes are checked here; instruments, lots and limits are Pulse's to judge.

Pulse reads the same bytes again, so nothing here rewrites a request, save for a key that came as a header.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gapi.errors import code_of_field
from service_kit import ServiceError

EXCHANGES = ("NSE", "BSE", "NFO", "BFO", "MCX", "CDS")
PRICE_MAX = Decimal(100_000_000)
_PRICE_STEP = Decimal("0.0001")

# `$` alone would let a line break through at the end. JavaScript, in which JSON Schema writes its patterns,
# reads this the same way.
END = r"(?!\n)$"
INSTRUMENT = rf"^({'|'.join(EXCHANGES)}):[A-Z0-9][A-Z0-9&_.!-]{{0,63}}" + END
_KEY = r"^[A-Za-z0-9_.:-]{1,128}" + END

# Not Decimal: that would also take "1_0", "1e9" and "NaN". Nothing calculates with these here.
Price = (
    Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,20})?" + END, examples=["3787.05"])]
    | Annotated[int, Meta(gt=0, le=100_000_000)]
    | Annotated[float, Meta(gt=0, le=100_000_000)]
)


class SplitConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an order is spread over time."""

    num_splits: Annotated[int, Meta(ge=2, le=100, description="The number of slices.", examples=[12])]
    duration_minutes: Annotated[
        int,
        Meta(ge=1, le=1440, description="First slice at the start, last at the end of this.", examples=[60]),
    ]
    randomize: Annotated[bool, Meta(description="Vary the quantities and the inner times.")] = True


class PreviewRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order request without its key."""

    instrument: Annotated[
        str,
        Meta(
            pattern=INSTRUMENT,
            description="EXCHANGE:SYMBOL, the symbol as the broker writes it.",
            examples=["NSE:RELIANCE"],
        ),
    ]
    side: Literal["BUY", "SELL"]
    total_quantity: Annotated[
        int,
        Meta(ge=1, le=1_000_000_000, description="In units, a multiple of the lot size.", examples=[10_000]),
    ]
    split_config: Annotated[
        SplitConfig | None, Meta(description="Without it the order is one slice, due at the start.")
    ] = None
    start_at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="Default now; at most 60 s in the past and 7 days ahead."),
    ] = None
    order_type: Annotated[
        Literal["MARKET", "LIMIT", "SL", "SL-M"], Meta(description="SL and SL-M cannot be split.")
    ] = "MARKET"
    limit_price: Annotated[
        Price | None, Meta(description="On the tick grid. Required with LIMIT and SL, refused otherwise.")
    ] = None
    trigger_price: Annotated[
        Price | None, Meta(description="On the tick grid. Required with SL and SL-M, refused otherwise.")
    ] = None
    product: Annotated[
        Literal["CNC", "MIS", "NRML"] | None, Meta(description="Default CNC on NSE and BSE, else NRML.")
    ] = None
    validity: Annotated[
        Literal["DAY", "IOC"], Meta(description="What IOC leaves unfilled is not carried over.")
    ] = "DAY"
    strategy_tag: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}" + END)] | None,
        Meta(description="Kept with every execution."),
    ] = None


class OrderRequest(PreviewRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order."""

    order_unique_key: Annotated[
        Annotated[str, Meta(pattern=_KEY)] | None,
        Meta(
            description="Your own key, unique for ever. The header Idempotency-Key may stand in for it.",
            examples=["alpha-2026-01-05-001"],
        ),
    ] = None


class TradingCommand(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, description="Kept in the audit trail.")]


_matches_key = re.compile(_KEY).search
_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def invalid(field: str, problem: str) -> ServiceError:
    return ServiceError(code_of_field(field), f"{field} {problem}", {"field": field})


def check(order: PreviewRequest) -> None:
    """Check what one field's type cannot say: the prices, and whether they go with the order type.

    Raises:
        ServiceError: INVALID_PRICE or INVALID_SPLIT_CONFIG.
    """
    kind = order.order_type
    _check_price("limit_price", order.limit_price, kind, wanted=kind in ("LIMIT", "SL"))
    _check_price("trigger_price", order.trigger_price, kind, wanted=kind in ("SL", "SL-M"))
    if order.split_config is not None and kind in ("SL", "SL-M"):
        raise invalid("split_config", f"does not go with {kind}; leave it out")


def _check_price(field: str, given: str | float | None, kind: str, *, wanted: bool) -> None:
    if given is None:
        if wanted:
            raise invalid(field, f"is required for {kind}")
        return
    if not wanted:
        raise invalid(field, f"does not go with {kind}; leave it out")
    price = Decimal(str(given))
    if not 0 < price <= PRICE_MAX:
        raise invalid(field, f"must be above 0 and at most {PRICE_MAX}")
    if price != price.quantize(_PRICE_STEP):
        raise invalid(field, "has more than 4 decimals")


def keyed_body(order: OrderRequest, body: bytes, idempotency_key: str | None) -> bytes:
    """Give the body as Pulse must see it: the bytes that came, with the key in them where it was a header.

    Raises:
        ServiceError: there is no key, it is malformed, or there are two different ones.
    """
    key = order.order_unique_key
    if idempotency_key is None:
        if key is None:
            raise invalid("order_unique_key", "is missing; send it, or the header Idempotency-Key")
        return body
    if _matches_key(idempotency_key) is None:
        raise invalid("Idempotency-Key", "must be 1 to 128 of A-Z a-z 0-9 _ . : -")
    if key == idempotency_key:
        return body
    if key is not None:
        raise invalid("Idempotency-Key", "and order_unique_key differ; send one of them")
    # The other fields stay as they were written, digit for digit.
    fields: dict[str, Any] = _fields.decode(body)
    fields["order_unique_key"] = idempotency_key
    return _encode(fields)
