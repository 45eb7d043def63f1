"""The values of an alert: numbers and truths may come as strings, and nothing else is guessed."""

import re
from decimal import Decimal
from typing import Any, NamedTuple

from gapi.errors import code_of_field
from service_kit import ServiceError

# What an alert may say, and the field it means. `secret` and `position_size` are not part of an order.
FIELDS = {
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
_OF_INSTRUMENT = ("symbol", "exchange")
_TRUTHS = {"true": True, "false": False}
_DIGITS_MAX = 20
_NAME_CHARS_MAX = 64  # of a field that is repeated in an error

_matches_number = re.compile(rf"[+-]?[0-9]{{1,{_DIGITS_MAX}}}(\.[0-9]{{1,{_DIGITS_MAX}}})?").fullmatch


class Given(NamedTuple):
    """A value, and the name under which the alert gave it."""

    name: str
    value: Any


def refused(name: str, problem: str) -> ServiceError:
    name = name[:_NAME_CHARS_MAX]
    field = FIELDS.get(name.partition(".")[0], "")
    code = code_of_field("instrument" if field in _OF_INSTRUMENT else field)
    return ServiceError(code, f"{name} {problem}", {"field": name})


def is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def text(given: Given) -> str:
    if isinstance(given.value, int) and not isinstance(given.value, bool):
        return str(given.value)
    if not isinstance(given.value, str):
        raise refused(given.name, "must be a string")
    return given.value.strip()


def number(given: Given) -> Decimal:
    value = given.value
    if isinstance(value, str) and _matches_number(value.strip()):
        return Decimal(value.strip())
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        found = Decimal(value)
        # Writing out 1E+999999 would be a million digits.
        if found == 0 or abs(found.adjusted()) < _DIGITS_MAX:
            return found
    raise refused(given.name, "must be a number")


def whole(given: Given) -> int:
    found = number(given)
    if found != found.to_integral_value():
        raise refused(given.name, "must be a whole number")
    return int(found)


def truth(given: Given) -> bool:
    value = given.value
    if isinstance(value, str):
        value = _TRUTHS.get(value.strip().lower())
    if not isinstance(value, bool):
        raise refused(given.name, "must be true or false")
    return value
