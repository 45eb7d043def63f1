"""TradingView alerts, read leniently, and the order requests they stand for.

An alert is a text that its author wrote once, with placeholders. Numbers come as strings, names differ between
the bridges that authors moved from, and nobody is there to read an error. So spellings are forgiven, but
nothing that could mean another order than the one that is made is left out silently: it is refused by name.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from gapi.alert_values import FIELDS, Given, is_empty, number, refused, text, truth, whole
from gapi.errors import code_of_field
from gapi.orders import EXCHANGES, OrderRequest, SplitConfig, check
from service_kit import ServiceError
from service_kit.litestar_kit import InvalidBody, decode

_TEXTS = ("start_at", "order_unique_key")
_UPPER_CASE_TEXTS = ("side", "order_type", "product", "validity")
# An instrument is one field or these two.
_SAID_TOGETHER = {"instrument": ("symbol", "exchange"), "symbol": ("instrument",), "exchange": ("instrument",)}
# Delayed data has a name of its own, and is no other exchange.
_DELAYED = {"NSE_DLY": "NSE", "NSE_DL": "NSE"}

_not_for_tags = re.compile(r"[^A-Za-z0-9_.:-]")
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder().encode


class Alert(NamedTuple):
    """fields: without those that are empty."""

    fields: dict[str, Any]
    secrets: list[str]


class OrderOfAlert(NamedTuple):
    """body: the request for Pulse. has_key: the alert has a key of its own; else its bytes identify it."""

    body: bytes
    has_key: bool


def read(body: bytes) -> Alert:
    """Read an alert and its secrets, whatever media type it came with.

    Raises:
        ServiceError: it is not one JSON object, or names a field twice.
    """
    try:
        found = _decode(body)
        twice = _named_twice(body)
    except (msgspec.MsgspecError, ValueError, RecursionError, ArithmeticError):
        raise ServiceError(
            "INVALID_REQUEST",
            "the alert is not JSON; make its message one JSON object, and look for placeholders in it that "
            "TradingView left empty or did not know",
        ) from None
    if not isinstance(found, dict):
        raise ServiceError("INVALID_REQUEST", "the alert must be one JSON object: one alert is one order")
    if twice is not None:
        raise refused(twice, "is there twice")
    fields = {name: value for name, value in found.items() if not is_empty(value)}
    secrets = [
        # Something else than a string is no secret of ours, and "" matches none.
        value if isinstance(value, str) else ""
        for name, value in fields.items()
        if FIELDS.get(name) == "secret"
    ]
    return Alert(fields, secrets)


def order(alert: Alert, default_split: SplitConfig | None) -> OrderOfAlert:
    """Make the order request that an alert stands for.

    Raises:
        ServiceError: a field is unknown, doubled, unreadable or out of range; `details.field` names it as the
            alert did.
    """
    given = _by_field(alert.fields)
    wanted = _order_fields(given)
    try:
        request: OrderRequest = decode(_encode(wanted), OrderRequest)
        check(request)
    except ServiceError as error:
        raise _as_written(error, given) from None
    if "position_size" in given:
        _check_position(given["position_size"], request)
    split = default_split and _fitting(default_split, request)
    if split is not None:
        wanted["split_config"] = split
    return OrderOfAlert(_encode(wanted), request.order_unique_key is not None)


def _named_twice(body: bytes) -> str | None:
    # msgspec just takes the last one.
    doubled: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        for name, times in Counter(name for name, _ in pairs).items():
            if times > 1:
                doubled.append(name)

    json.loads(body, object_pairs_hook=look)
    return doubled[0] if doubled else None


def _by_field(fields: Mapping[str, Any]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    # Of several faults this is the one that shows what the author expected, so it is told first.
    for name, value in fields.items():
        if isinstance(value, list):
            raise refused(name, "is a list; one alert is one order")
    for name, value in fields.items():
        field = FIELDS.get(name)
        if field is None:
            raise refused(name, "is not known")
        if isinstance(value, str) and "{{" in value:
            raise refused(name, "holds a placeholder that TradingView did not fill in")
        for rival in (field, *_SAID_TOGETHER.get(field, ())):
            if rival in given:
                raise refused(name, f"and {given[rival].name} say the same; send one of them")
        given[field] = Given(name, value)
    return given


def _order_fields(given: Mapping[str, Given]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if instrument := _instrument(given):
        wanted["instrument"] = instrument
    for field in _TEXTS:
        if field in given:
            wanted[field] = text(given[field])
    for field in _UPPER_CASE_TEXTS:
        if field in given:
            wanted[field] = text(given[field]).upper()
    if "total_quantity" in given:
        wanted["total_quantity"] = whole(given["total_quantity"])
    for field in ("limit_price", "trigger_price"):
        if field in given and _is_meant(given[field], wanted):
            wanted[field] = format(number(given[field]), "f")
    if "strategy_tag" in given:
        wanted["strategy_tag"] = _not_for_tags.sub("_", text(given["strategy_tag"]))
    if "split_config" in given:
        wanted["split_config"] = _split_fields(given["split_config"])
    return wanted


def _is_meant(price: Given, wanted: Mapping[str, Any]) -> bool:
    # `price` is there in many alerts to tell the bar's close. Who writes `limit_price` means a limit, and with
    # an order type that has none it must be refused.
    return price.name != "price" or wanted.get("order_type") in ("LIMIT", "SL")


def _instrument(given: Mapping[str, Given]) -> str | None:
    named = given.get("instrument") or given.get("symbol")
    if named is None:
        return None
    prefix, colon, symbol = text(named).upper().rpartition(":")
    exchange = _DELAYED.get(prefix, prefix)
    if "exchange" in given:
        apart = text(given["exchange"]).upper()
        apart = _DELAYED.get(apart, apart)
        if apart not in EXCHANGES:
            raise refused(given["exchange"].name, f"must be one of {', '.join(EXCHANGES)}")
        if colon and apart != exchange:
            raise refused(given["exchange"].name, f"is another one than that of {named.name}")
        exchange = apart
    elif not colon and "symbol" in given:
        exchange = "NSE"
    return f"{exchange}:{symbol}"


def _split_fields(given: Given) -> dict[str, Any]:
    if not isinstance(given.value, dict):
        raise refused(given.name, "must be an object")
    split: dict[str, Any] = {}
    for name, value in given.value.items():
        field = Given(f"{given.name}.{name}", value)
        if is_empty(value):
            continue
        if name in ("num_splits", "duration_minutes"):
            split[name] = whole(field)
        elif name == "randomize":
            split[name] = truth(field)
        else:
            raise refused(field.name, "is not known")
    return split


def _fitting(split: SplitConfig, order: OrderRequest) -> SplitConfig | None:
    """Fit the hook's default to an order whose author did not ask for a split.

    Nobody reads the answer to an alert, so a small order must not be lost because the default has more slices
    than it has units: it gets fewer, or is sent whole. What an alert asks for itself is left as it is.
    """
    slices = min(split.num_splits, order.total_quantity)
    if order.split_config is not None or order.order_type in ("SL", "SL-M") or slices < 2:
        return None
    return msgspec.structs.replace(split, num_splits=slices)


def _check_position(given: Given, order: OrderRequest) -> None:
    after = order.total_quantity if order.side == "BUY" else -order.total_quantity
    if number(given) != after:
        raise refused(
            given.name, f"would have to be {after}: positions are not kept here, only orders are taken"
        )


def _as_written(error: ServiceError, given: Mapping[str, Given]) -> ServiceError:
    """Name the field as the alert did."""
    path = str(error.details.get("field", ""))
    field, dot, rest = path.partition(".")
    source = given.get(field) or (given.get("symbol") if field == "instrument" else None)
    name = (source.name if source else field) + dot + rest
    code = code_of_field(path) if isinstance(error, InvalidBody) else error.code
    return ServiceError(code, error.message, {"field": name})
