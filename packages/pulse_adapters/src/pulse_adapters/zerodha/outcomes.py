"""What the end of a call means: was the order placed?

A call ends in one of three ways: nothing of it was sent; it was sent, and no whole answer came; or there
is an answer that is not a plain success. `judge` gives the verdict on each as the domain's error. It is
the one place that decides, and it decides on what was answered, not on the SDK's exception: the SDK
forgets the type of some errors and the HTTP status of others, and takes a 500 with a good body for success.

For PLACE, CANCEL and MODIFY a wrong "certainly not" could place an order twice, so whatever the tables do
not know by name is `BrokerOutcomeUnknown`.
"""

import re

from msgspec import Struct

from pulse_adapters.real_broker.calls import (
    INVALID_INPUT,
    ORDER_IN_PROCESS,
    ORDER_NOT_FOUND,
    RATE_LIMITED,
    REJECTED,
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


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer.

    enveloped: it is JSON in the shape of the broker's errors; then it may carry `error_type` and `message`.
    """

    status: int
    enveloped: bool
    error_type: str | None = None
    message: str = ""


Ending = NotSent | Unanswered | Answer

_CLIENT_ERRORS = frozenset(range(400, 500)) - {408}
# The statuses of which the broker says that the request went no further, whatever the error is called.
_REFUSALS = frozenset({400, 403, 404, 405, 410})


class _Rule(Struct, frozen=True, kw_only=True):
    """Matches where all that it names does; None matches anything."""

    verdict: Verdict
    reason_code: str
    types: frozenset[str] | None = None
    statuses: frozenset[int] | None = None
    text: re.Pattern[str] | None = None

    def matches(self, answer: Answer) -> bool:
        return (
            (self.types is None or answer.error_type in self.types)
            and (self.statuses is None or answer.status in self.statuses)
            and (self.text is None or self.text.search(answer.message) is not None)
        )


def _types(*names: str) -> frozenset[str]:
    return frozenset(names)


def _text(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# Of an answer in the broker's envelope. The first match counts.
_RULES = (
    # Before the texts: that a session timed out says nothing about an order.
    _Rule(
        verdict=Verdict.UNAVAILABLE, reason_code=SESSION_EXPIRED,
        types=_types("TokenException"), statuses=_CLIENT_ERRORS,
    ),
    # Orders have appeared seconds after a 400 that said so.
    _Rule(
        verdict=Verdict.UNKNOWN, reason_code=TIMED_OUT_AT_BROKER,
        text=_text(r"tim(?:ed|e|ing)[ -]?out"),
    ),
    _Rule(verdict=Verdict.UNAVAILABLE, reason_code=RATE_LIMITED, statuses=frozenset({429})),
    # Before the next: a plain lack of funds ends with "Check the orderbook for open orders".
    _Rule(
        verdict=Verdict.REJECTED, reason_code="INSUFFICIENT_FUNDS",
        types=_types("MarginException"), statuses=_CLIENT_ERRORS,
    ),
    _Rule(
        verdict=Verdict.REJECTED, reason_code="INSUFFICIENT_HOLDINGS",
        types=_types("HoldingException"), statuses=_CLIENT_ERRORS,
    ),
    _Rule(
        verdict=Verdict.UNKNOWN, reason_code=TIMED_OUT_AT_BROKER,
        text=_text(r"check .{0,20}order ?book"),
    ),
    _Rule(
        verdict=Verdict.REJECTED, reason_code=INVALID_INPUT,
        types=_types("InputException"), statuses=_CLIENT_ERRORS,
    ),
    _Rule(
        verdict=Verdict.REJECTED, reason_code="USER_NOT_ALLOWED",
        types=_types("UserException"), statuses=_CLIENT_ERRORS,
    ),
    _Rule(
        verdict=Verdict.REJECTED, reason_code="NOT_PERMITTED",
        types=_types("PermissionException"), statuses=_CLIENT_ERRORS,
    ),
    # What failed behind the API is not known to have failed, even under a status that sounds like a no.
    _Rule(
        verdict=Verdict.UNKNOWN, reason_code="NETWORK_AT_BROKER",
        types=_types("NetworkException"),
    ),
    _Rule(verdict=Verdict.UNKNOWN, reason_code="BAD_DATA_AT_BROKER", types=_types("DataException")),
    # Unverified by anybody, but of a 400 the broker's staff say that nothing need be looked up.
    _Rule(
        verdict=Verdict.REJECTED, reason_code=REJECTED,
        types=_types("OrderException"), statuses=_REFUSALS,
    ),
    # GeneralException, and types that are new to us.
    _Rule(verdict=Verdict.REJECTED, reason_code=REJECTED, statuses=_REFUSALS),
)  # fmt: skip

# What a refusal is called, by its text, where its type does not say. The first match counts.
_TEXT_CODES = (
    (_text(r"being processed"), ORDER_IN_PROCESS),
    (_text(r"maximum allowed order modifications"), "MODIFICATIONS_SPENT"),
    (_text(r"order.{0,40}do(?:es not|esn.t) exist|could ?n(?:o|.)t find.{0,20}order"), ORDER_NOT_FOUND),
    (_text(r"insufficient funds|margin exceeds"), "INSUFFICIENT_FUNDS"),
    (_text(r"insufficient.{0,20}holding"), "INSUFFICIENT_HOLDINGS"),
    (_text(r"market protection"), "MARKET_PROTECTION"),
    (_text(r"freeze|maximum allowed (?:quantity|by the exchange)|higher than the maximum"), "FREEZE_QUANTITY"),
    (_text(r"tick size"), "TICK_SIZE"),
    (_text(r"circuit|price band|price range|daily price"), "PRICE_BAND"),
    (_text(r"\blot(?: ?size)?\b"), "LOT_SIZE"),
)  # fmt: skip
_GENERAL_CODES = (REJECTED, INVALID_INPUT)


def text_code(text: str, default: str) -> str:
    """Name the reason that a refusal's text gives."""
    return next((code for pattern, code in _TEXT_CODES if pattern.search(text)), default)


def judge(operation: Operation, ending: Ending) -> BrokerError:
    """Give the verdict on a call that did not plainly succeed."""
    verdict, reason_code, message, ended = _verdict(ending)
    return error_of(operation, verdict, reason_code, message, call_ended=ended)


def _verdict(ending: Ending) -> tuple[Verdict, str, str, bool]:
    if isinstance(ending, NotSent):
        return Verdict.UNAVAILABLE, ending.reason_code, ending.message, True
    if isinstance(ending, Unanswered):
        return Verdict.UNKNOWN, ending.reason_code, "", ending.ended
    if not ending.enveloped:
        return Verdict.UNKNOWN, UNREADABLE_ANSWER, f"HTTP {ending.status} in another shape", True
    rule = next((rule for rule in _RULES if rule.matches(ending)), None)
    if rule is None:
        return Verdict.UNKNOWN, f"HTTP_{ending.status}", ending.message, True
    code = rule.reason_code
    if code in _GENERAL_CODES:
        code = text_code(ending.message, code)
    return rule.verdict, code, ending.message, True
