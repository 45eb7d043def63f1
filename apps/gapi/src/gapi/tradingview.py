"""TradingView alerts, read leniently, and the order requests they stand for.

An alert is a text that its author wrote once, with placeholders. Numbers come as strings, names differ between
the bridges that authors moved from, and nobody is there to read an error. So spellings are forgiven, but
nothing that could mean another order than the one that is made is left out silently: it is refused by name.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from gapi.errors import code_of_field
from gapi.orders import OrderRequest, SplitConfig, check
from service_kit import ServiceError
from service_kit.litestar_kit import InvalidBody, decode

# What an alert may say, and the field it means. `secret` and `position_size` are not part of an order.
_FIELDS = {
    "apikey": "secret",
    "secret": "secret",
    "passphrase": "secret",
    "instrument": "instrument",
    "symbol": "symbol",
    "ticker": "symbol",
    "exchange": "exchange",
    "side": "side",
    "action": "side",
    "total_quantity": "total_quantity",
    "quantity": "total_quantity",
    "order_type": "order_type",
    "pricetype": "order_type",
    "limit_price": "limit_price",
    "price": "limit_price",
    "trigger_price": "trigger_price",
    "product": "product",
    "validity": "validity",
    "start_at": "start_at",
    "strategy_tag": "strategy_tag",
    "strategy": "strategy_tag",
    "order_unique_key": "order_unique_key",
    "split_config": "split_config",
    "position_size": "position_size",
}
_TEXTS = ("start_at", "order_unique_key")
_UPPER_CASE_TEXTS = ("side", "order_type", "product", "validity")
# An instrument is one field or these two.
_SAID_TOGETHER = {"instrument": ("symbol", "exchange"), "symbol": ("instrument",), "exchange": ("instrument",)}
# Delayed data has a name of its own, and is no other exchange.
_EXCHANGES = {"NSE_DLY": "NSE", "NSE_DL": "NSE"}
_BOOLEANS = {"true": True, "false": False}
_DIGITS_MAX = 20
_NAME_CHARS_MAX = 64  # of a field that is repeated in an error

_matches_number = re.compile(rf"[+-]?[0-9]{{1,{_DIGITS_MAX}}}(\.[0-9]{{1,{_DIGITS_MAX}}})?").fullmatch
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


class _Given(NamedTuple):
    """A value, and the name under which the alert gave it."""

    name: str
    value: Any


def read(body: bytes) -> Alert:
    """Read an alert and its secrets, whatever media type it came with.

    Raises:
        ServiceError: it is not one JSON object.
    """
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ArithmeticError):
        raise ServiceError(
            "INVALID_REQUEST",
            "the alert is not JSON; make its message one JSON object, and look for placeholders in it that "
            "TradingView left empty or did not know",
        ) from None
    if not isinstance(found, dict):
        raise ServiceError("INVALID_REQUEST", "the alert must be one JSON object: one alert is one order")
    fields = {name: value for name, value in found.items() if not _is_empty(value)}
    secrets = [
        # Something else than a string is no secret of ours, and "" matches none.
        value if isinstance(value, str) else ""
        for name, value in fields.items()
        if _FIELDS.get(name) == "secret"
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
    if request.split_config is None and default_split is not None:
        wanted["split_config"] = _fitting(default_split, request)
    return OrderOfAlert(_encode(wanted), request.order_unique_key is not None)


def _by_field(fields: Mapping[str, Any]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    # Of several faults this is the one that shows what the author expected, so it is told first.
    for name, value in fields.items():
        if isinstance(value, list):
            raise _refused(name, "is a list; one alert is one order")
    for name, value in fields.items():
        field = _FIELDS.get(name)
        if field is None:
            raise _refused(name, "is not known")
        if isinstance(value, str) and "{{" in value:
            raise _refused(name, "holds a placeholder that TradingView did not fill in")
        for rival in (field, *_SAID_TOGETHER.get(field, ())):
            if rival in given:
                raise _refused(name, f"and {given[rival].name} say the same; send one of them")
        given[field] = _Given(name, value)
    return given


def _order_fields(given: Mapping[str, _Given]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if instrument := _instrument(given):
        wanted["instrument"] = instrument
    for field in _TEXTS:
        if field in given:
            wanted[field] = _text(given[field])
    for field in _UPPER_CASE_TEXTS:
        if field in given:
            wanted[field] = _text(given[field]).upper()
    if "total_quantity" in given:
        wanted["total_quantity"] = _whole(given["total_quantity"])
    for field in ("limit_price", "trigger_price"):
        if field in given:
            wanted[field] = format(_number(given[field]), "f")
    if "limit_price" in given and not _is_limit(given["limit_price"], wanted):
        del wanted["limit_price"]
    if "strategy_tag" in given:
        wanted["strategy_tag"] = _not_for_tags.sub("_", _text(given["strategy_tag"]))
    if "split_config" in given:
        wanted["split_config"] = _split_fields(given["split_config"])
    return wanted


def _is_limit(given: _Given, wanted: Mapping[str, Any]) -> bool:
    # `price` is there in many alerts to tell the bar's close. Who writes `limit_price` means a limit, and with
    # another order type that has to be refused.
    return given.name != "price" or wanted.get("order_type") in ("LIMIT", "SL")


def _instrument(given: Mapping[str, _Given]) -> str | None:
    whole = given.get("instrument") or given.get("symbol")
    if whole is None:
        return None
    exchange, colon, symbol = _text(whole).upper().rpartition(":")
    exchange = _EXCHANGES.get(exchange, exchange)
    if "exchange" in given:
        named = _text(given["exchange"]).upper()
        named = _EXCHANGES.get(named, named)
        if colon and named != exchange:
            raise _refused(given["exchange"].name, f"is another one than that of {whole.name}")
        exchange = named
    elif not colon and whole.name != "instrument":
        exchange = "NSE"
    return f"{exchange}:{symbol}"


def _split_fields(given: _Given) -> dict[str, Any]:
    if not isinstance(given.value, dict):
        raise _refused(given.name, "must be an object")
    split: dict[str, Any] = {}
    for name, value in given.value.items():
        field = _Given(f"{given.name}.{name}", value)
        if _is_empty(value):
            continue
        if name in ("num_splits", "duration_minutes"):
            split[name] = _whole(field)
        elif name == "randomize":
            split[name] = _boolean(field)
        else:
            raise _refused(field.name, "is not known")
    return split


def _fitting(split: SplitConfig, order: OrderRequest) -> SplitConfig | None:
    """Fit the hook's default to an order whose author did not ask for a split.

    Nobody reads the answer to an alert, so a small order must not be lost because the default has more slices
    than it has units: it gets fewer, or is sent whole. What an alert asks for itself is left as it is.
    """
    slices = min(split.num_splits, order.total_quantity)
    if slices < 2 or order.order_type in ("SL", "SL-M"):
        return None
    return msgspec.structs.replace(split, num_splits=slices)


def _check_position(given: _Given, order: OrderRequest) -> None:
    after = order.total_quantity if order.side == "BUY" else -order.total_quantity
    if _number(given) != after:
        raise _refused(
            given.name, f"would have to be {after}: positions are not kept here, only orders are taken"
        )


def _text(given: _Given) -> str:
    if isinstance(given.value, int) and not isinstance(given.value, bool):
        return str(given.value)
    if not isinstance(given.value, str):
        raise _refused(given.name, "must be a string")
    return given.value.strip()


def _number(given: _Given) -> Decimal:
    value = given.value
    if isinstance(value, str) and _matches_number(value.strip()):
        return Decimal(value.strip())
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        number = Decimal(value)
        # Writing out 1E+999999 would be a million digits.
        if number == 0 or abs(number.adjusted()) < _DIGITS_MAX:
            return number
    raise _refused(given.name, "must be a number")


def _whole(given: _Given) -> int:
    number = _number(given)
    if number != number.to_integral_value():
        raise _refused(given.name, "must be a whole number")
    return int(number)


def _boolean(given: _Given) -> bool:
    value = given.value
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower())
    if not isinstance(value, bool):
        raise _refused(given.name, "must be true or false")
    return value


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _refused(name: str, problem: str) -> ServiceError:
    name = name[:_NAME_CHARS_MAX]
    field = _FIELDS.get(name.partition(".")[0], "")
    code = code_of_field("instrument" if field in _SAID_TOGETHER else field)
    return ServiceError(code, f"{name} {problem}", {"field": name})


def _as_written(error: ServiceError, given: Mapping[str, _Given]) -> ServiceError:
    """Name the field as the alert did."""
    path = str(error.details.get("field", ""))
    field, dot, rest = path.partition(".")
    source = given.get(field) or given.get({"instrument": "symbol"}.get(field, ""))
    name = (source.name if source else field) + dot + rest
    code = code_of_field(path) if isinstance(error, InvalidBody) else error.code
    return ServiceError(code, error.message, {"field": name} if name else {})
