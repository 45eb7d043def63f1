"""What the end of a call means: was the order placed?

The broker says no in many ways: HTTP 200 with `Not_Ok` inside, a sentence where the status belongs, `errMsg`
here and `emsg` there; and its SDK returns errors as values and loses the HTTP status. So the verdict is made
of what came over the wire, in `judge`, and nowhere else. An empty book is an error of the broker's too, and
none of ours.

For PLACE, CANCEL and MODIFY a wrong "certainly not" could place an order twice, so whatever is not known by
name is `BrokerOutcomeUnknown`.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pulse_adapters.real_broker.calls import (
    INVALID_INPUT,
    ORDER_NOT_FOUND,
    ORDER_NOT_OPEN,
    RATE_LIMITED,
    REJECTED,
    SESSION_ELSEWHERE,
    SESSION_EXPIRED,
    TIMED_OUT_AT_BROKER,
    UNREADABLE_ANSWER,
    NotSent,
    Operation,
    Unanswered,
    Verdict,
    error_of,
)
from pulse_domain.errors import BrokerError


class Refused(Struct, frozen=True):
    """The SDK did not like the values: nothing was sent, and nothing else would be the next time."""

    message: str


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer. body: the JSON object, or None where it is anything else. items: a JSON list."""

    status: int
    body: Mapping[str, Any] | None
    items: list[Any] | None = None

    def __repr__(self) -> str:
        return f"Answer(status={self.status})"  # a login's has tokens


Ending = NotSent | Refused | Unanswered | Answer

_NO_DATA = 5203
# By the broker's own number, which says more than the texts beside it. Of the ones not listed only `Not_Ok`
# counts.
_UNAVAILABLE_CODES = {
    429: RATE_LIMITED,
    1037: SESSION_ELSEWHERE,
    900901: SESSION_EXPIRED,
}
_REJECTED_CODES = {
    1006: ORDER_NOT_OPEN,  # "executed, cancelled or not found"
    1009: INVALID_INPUT,
    1021: ORDER_NOT_OPEN,
    1041: "NO_PRICE",
    _NO_DATA: ORDER_NOT_FOUND,
    100008: "NOT_PERMITTED",
}
_UNAVAILABLE_STATUSES = {401: SESSION_EXPIRED, 403: SESSION_EXPIRED, 429: RATE_LIMITED}
# The documents name only the first; the second is of the login, and means the same everywhere.
_REFUSAL_STATUSES = frozenset({400, 422})


def _text(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_SPEAKS_OF_TIME_OUT = _text(r"tim(?:ed|e|ing)[ -]?out|check .{0,20}order ?book")
# What a refusal is called, by its text, where its number does not say. The first match counts.
_TEXT_CODES = (
    (_text(r"insufficient.{0,20}holding|holdings? .{0,20}(?:not|insufficient)"), "INSUFFICIENT_HOLDINGS"),
    (_text(r"insufficient|margin (?:exceeds|shortfall)|rms.{0,20}margin"), "INSUFFICIENT_FUNDS"),
    (_text(r"order.{0,40}do(?:es not|esn.t) exist|order.{0,20}not found"), ORDER_NOT_FOUND),
    (_text(r"freeze|maximum allowed quantity"), "FREEZE_QUANTITY"),
    (_text(r"tick size"), "TICK_SIZE"),
    (_text(r"circuit|price band|price range|daily price"), "PRICE_BAND"),
    (_text(r"\blot(?: ?size)?\b"), "LOT_SIZE"),
    (_text(r"market order.{0,40}not allowed"), "MARKET_PROTECTION"),
)


def text_code(text: str, default: str) -> str:
    """Name the reason that a refusal's text gives."""
    return next((code for pattern, code in _TEXT_CODES if pattern.search(text)), default)


def judge(operation: Operation, ending: Ending) -> BrokerError | None:
    """Give the verdict on a call; None where it did what was asked, or read what there is."""
    if isinstance(ending, Answer) and _succeeded(operation, ending):
        return None
    verdict, reason_code, message, ended = _verdict(ending)
    return error_of(operation, verdict, reason_code, message, call_ended=ended)


def rows_of(ending: Ending) -> list[Any] | None:
    """The rows of quotes, positions or holdings; None where it is no such answer.

    Unlike the order book, quotes are a bare list, and holdings have no `stat`.
    """
    if not isinstance(ending, Answer):
        return None
    body = ending.body or {}
    if code_of(body) == _NO_DATA:
        return []
    if not 200 <= ending.status < 300:
        return None
    if ending.items is not None:
        return ending.items
    rows = body.get("data")
    return rows if isinstance(rows, list) and _stat(body) in (None, "ok") else None


def candles_of(ending: Ending) -> list[Any] | None:
    """The rows of a history, which has words of its own for success and failure; None where it is none."""
    if not isinstance(ending, Answer) or ending.body is None:
        return None
    if code_of(ending.body) == _NO_DATA:
        return []
    data = ending.body.get("data")
    rows = data.get("candles") if isinstance(data, Mapping) else None
    succeeded = 200 <= ending.status < 300 and ending.body.get("status") == "success"
    return rows if succeeded and isinstance(rows, list) else None


def _succeeded(operation: Operation, answer: Answer) -> bool:
    body = answer.body
    if body is None or not 200 <= answer.status < 300:
        # An empty book has come with other statuses: it says clearly enough what it is.
        return operation is Operation.READ and body is not None and code_of(body) == _NO_DATA
    match operation:
        case Operation.READ:
            return code_of(body) == _NO_DATA or (_stat(body) == "ok" and isinstance(body.get("data"), list))
        case Operation.PLACE:
            return _stat(body) == "ok" and order_number(body) is not None
    return _stat(body) == "ok"


def _verdict(ending: Ending) -> tuple[Verdict, str, str, bool]:
    match ending:
        case NotSent(reason_code, message):
            return Verdict.UNAVAILABLE, reason_code, message, True
        case Refused(message):
            return Verdict.REJECTED, INVALID_INPUT, message, True
        case Unanswered(reason_code=reason_code, ended=ended):
            return Verdict.UNKNOWN, reason_code, "", ended
    body = ending.body
    if body is None:
        text = f"HTTP {ending.status} in another shape"
        return Verdict.UNKNOWN, UNREADABLE_ANSWER, text, True
    verdict, reason_code = _verdict_on(ending.status, body)
    return verdict, reason_code, message_of(body), True


def _verdict_on(status: int, body: Mapping[str, Any]) -> tuple[Verdict, str]:
    code, text = code_of(body), message_of(body)
    if _stat(body) == "ok" or order_number(body) is not None:
        return Verdict.UNKNOWN, UNREADABLE_ANSWER  # it says two things at once
    if status >= 500 or status == 408:
        return Verdict.UNKNOWN, f"HTTP_{status}"
    # Before the texts: that a session timed out says nothing about an order.
    unavailable = _UNAVAILABLE_CODES.get(code or 0) or _UNAVAILABLE_STATUSES.get(status)
    if unavailable is not None:
        return Verdict.UNAVAILABLE, unavailable
    if _SPEAKS_OF_TIME_OUT.search(text):
        return Verdict.UNKNOWN, TIMED_OUT_AT_BROKER
    if code in _REJECTED_CODES:
        return Verdict.REJECTED, _REJECTED_CODES[code]
    if code is not None and 500 <= code <= 599:
        # Nobody has seen whether such orders are placed all the same.
        return Verdict.UNKNOWN, f"CODE_{code}"
    if _stat(body) == "not_ok" and status < 500:
        return Verdict.REJECTED, text_code(text, REJECTED)
    if status in _REFUSAL_STATUSES:
        return Verdict.REJECTED, text_code(text, INVALID_INPUT)
    return Verdict.UNKNOWN, UNREADABLE_ANSWER if status < 300 else f"HTTP_{status}"


def _stat(body: Mapping[str, Any]) -> str | None:
    stat = body.get("stat")
    return stat.strip().lower() if isinstance(stat, str) else None


def code_of(body: Mapping[str, Any]) -> int | None:
    """The broker's number for what happened, wherever it is."""
    for name in ("stCode", "errorCode", "code"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            return int(value)
    return None


def message_of(body: Mapping[str, Any]) -> str:
    """The broker's words for what went wrong, cut to what a log line can bear."""
    words = [body.get(name) for name in ("errMsg", "emsg", "message", "desc")]
    errors = body.get("error")
    if isinstance(errors, list):
        words += [each.get("message") for each in errors if isinstance(each, Mapping)]
    if _stat(body) not in ("ok", "not_ok"):
        words.append(body.get("stat"))
    return next((word for word in words if isinstance(word, str) and word), "")[:500]


def order_number(body: Mapping[str, Any]) -> str | None:
    """The number of the order that was taken."""
    number = body.get("nOrdNo")
    if isinstance(number, str) and re.fullmatch(r"[A-Za-z0-9]{1,64}", number):
        return number
    return None
