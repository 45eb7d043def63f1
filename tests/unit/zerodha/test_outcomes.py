"""Was it placed? Every way in which a call can end, by the table of the broker's documents and reports."""

import pytest

from pulse_adapters.real_broker.calls import NotSent, Operation, Unanswered
from pulse_adapters.zerodha.outcomes import Answer, Ending, judge, text_code
from pulse_domain.errors import BrokerError, BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable

NO, NEVER, DOUBT = BrokerRejected, BrokerUnavailable, BrokerOutcomeUnknown

TYPES = (
    "TokenException",
    "PermissionException",
    "UserException",
    "InputException",
    "OrderException",
    "MarginException",
    "HoldingException",
    "NetworkException",
    "DataException",
    "GeneralException",
    "SomethingNewException",
    None,
)
REFUSALS = (400, 403, 404, 405, 410)
OTHER_CLIENT_ERRORS = (401, 409, 422)
SERVER_ERRORS = (500, 501, 502, 503, 504, 520)
STRANGE = (200, 201, 302, 408, 418, 600)
DEFINITE = ("PermissionException", "UserException", "InputException", "MarginException", "HoldingException")


def answer(status: int, error_type: str | None, message: str = "no") -> Answer:
    return Answer(status=status, enveloped=True, error_type=error_type, message=message)


def expected(status: int, error_type: str | None) -> type[BrokerError]:
    """The table in prose, written down a second time."""
    if 400 <= status < 500 and status != 408:
        if error_type == "TokenException" or status == 429:
            return NEVER
        if error_type in DEFINITE:
            return NO
        if status in REFUSALS and error_type not in ("NetworkException", "DataException"):
            return NO
    return DOUBT


@pytest.mark.parametrize("error_type", TYPES)
@pytest.mark.parametrize("status", [*REFUSALS, *OTHER_CLIENT_ERRORS, 429, *SERVER_ERRORS, *STRANGE])
def test_every_status_with_every_type(status: int, error_type: str | None) -> None:
    error = judge(Operation.PLACE, answer(status, error_type))

    assert type(error) is expected(status, error_type)


# --- the rows of the reference, one by one

ROWS: list[tuple[Ending, type[BrokerError], str]] = [
    (answer(400, "InputException"), NO, "INVALID_INPUT"),
    (answer(400, "MarginException"), NO, "INSUFFICIENT_FUNDS"),
    (answer(400, "HoldingException"), NO, "INSUFFICIENT_HOLDINGS"),
    (answer(400, "UserException"), NO, "USER_NOT_ALLOWED"),
    (answer(400, "GeneralException"), NO, "REJECTED"),
    (answer(403, "PermissionException"), NO, "NOT_PERMITTED"),
    (answer(403, "TokenException"), NEVER, "SESSION_EXPIRED"),
    (answer(404, None), NO, "REJECTED"),
    (answer(405, "GeneralException"), NO, "REJECTED"),
    (answer(410, "GeneralException"), NO, "REJECTED"),
    (answer(400, "InputException", "The request timed out."), DOUBT, "TIMED_OUT_AT_BROKER"),
    (answer(400, "GeneralException", "Please check the order book"), DOUBT, "TIMED_OUT_AT_BROKER"),
    (answer(400, "NetworkException", "request <id> timed out"), DOUBT, "TIMED_OUT_AT_BROKER"),
    (answer(429, "NetworkException", "Too many requests"), NEVER, "RATE_LIMITED"),
    (NotSent("UNREACHABLE"), NEVER, "UNREACHABLE"),
    (NotSent("CONNECT_TIMEOUT"), NEVER, "CONNECT_TIMEOUT"),
    (Unanswered(reason_code="TIMEOUT", ended=True), DOUBT, "TIMEOUT"),
    (Unanswered(reason_code="CONNECTION_LOST", ended=True), DOUBT, "CONNECTION_LOST"),
    (answer(503, "NetworkException", "Request failed (kitetrade-oms)"), DOUBT, "NETWORK_AT_BROKER"),
    (answer(502, "DataException"), DOUBT, "BAD_DATA_AT_BROKER"),
    (answer(500, "GeneralException"), DOUBT, "HTTP_500"),
    (answer(500, "OrderException"), DOUBT, "HTTP_500"),
    (Answer(status=504, enveloped=False), DOUBT, "UNREADABLE_ANSWER"),
    (Answer(status=200, enveloped=False), DOUBT, "UNREADABLE_ANSWER"),
    (Answer(status=400, enveloped=False), DOUBT, "UNREADABLE_ANSWER"),
    (Answer(status=429, enveloped=False), DOUBT, "UNREADABLE_ANSWER"),
    (answer(400, "OrderException"), NO, "REJECTED"),
]


@pytest.mark.parametrize(("end", "kind", "reason_code"), ROWS)
@pytest.mark.parametrize("operation", [Operation.PLACE, Operation.CANCEL, Operation.MODIFY])
def test_rows(operation: Operation, end: Ending, kind: type[BrokerError], reason_code: str) -> None:
    error = judge(operation, end)

    assert (type(error), error.reason_code) == (kind, reason_code)


@pytest.mark.parametrize(("end", "kind", "reason_code"), ROWS)
def test_a_read_is_never_in_doubt(end: Ending, kind: type[BrokerError], reason_code: str) -> None:
    read, looked_up = judge(Operation.READ, end), judge(Operation.LOOK_UP, end)

    assert (type(read), read.reason_code) == (BrokerUnavailable, reason_code)
    assert type(looked_up) is (BrokerRejected if kind is BrokerRejected else BrokerUnavailable)


@pytest.mark.parametrize("ended", [True, False])
def test_only_a_closed_connection_has_ended(ended: bool) -> None:
    error = judge(Operation.PLACE, Unanswered(reason_code="TIMEOUT", ended=ended))

    assert isinstance(error, BrokerOutcomeUnknown)
    assert error.call_ended is ended


@pytest.mark.parametrize("status", [*REFUSALS, *SERVER_ERRORS, 200])
def test_an_answer_ends_its_call(status: int) -> None:
    error = judge(Operation.PLACE, Answer(status=status, enveloped=False))

    assert isinstance(error, BrokerOutcomeUnknown)
    assert error.call_ended


# --- texts

DOUBTFUL = (
    "Request timed out",
    "The order request timed out. Please check the orderbook before placing again.",
    "Timeout while placing the order",
    "OMS time-out",
)


@pytest.mark.parametrize("error_type", TYPES)
@pytest.mark.parametrize("text", DOUBTFUL)
@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_text_of_doubt_beats_every_type_but_a_dead_session(
    status: int, text: str, error_type: str | None
) -> None:
    error = judge(Operation.PLACE, answer(status, error_type, text))

    if error_type == "TokenException" and status < 500:
        assert isinstance(error, BrokerUnavailable)
    else:
        assert isinstance(error, BrokerOutcomeUnknown)


def test_the_brokers_usual_lack_of_funds_is_no_doubt() -> None:
    # This very text is in the broker's own sample, and it names the order book.
    text = (
        "Insufficient funds. Required margin is 95417.84 but available margin is 74251.80. "
        "Check the orderbook for open orders."
    )

    error = judge(Operation.PLACE, answer(400, "MarginException", text))

    assert (type(error), error.reason_code) == (BrokerRejected, "INSUFFICIENT_FUNDS")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Order cannot be modified as it is being processed. Try later.", "ORDER_IN_PROCESS"),
        ("Maximum allowed order modifications exceeded.", "MODIFICATIONS_SPENT"),
        ("The order 1234 does not exist", "ORDER_NOT_FOUND"),
        ("Couldn't find that `order_id`.", "ORDER_NOT_FOUND"),
        ("RMS:Margin Exceeds,Required:95417.84", "INSUFFICIENT_FUNDS"),
        ("Insufficient stock holding", "INSUFFICIENT_HOLDINGS"),
        ("Market orders without market protection are not allowed via API.", "MARKET_PROTECTION"),
        ("Quantity is higher than the maximum allowed by the exchange", "FREEZE_QUANTITY"),
        ("Quantity exceeds the freeze limit of 1800", "FREEZE_QUANTITY"),
        ("Price is not a multiple of tick size", "TICK_SIZE"),
        ("Price is outside the circuit limits", "PRICE_BAND"),
        ("Quantity should be a multiple of lot size", "LOT_SIZE"),
        ("the broker had a bad day", "INVALID_INPUT"),
    ],
)
def test_reasons_are_named_by_their_texts(text: str, code: str) -> None:
    error = judge(Operation.MODIFY, answer(400, "InputException", text))

    assert isinstance(error, BrokerRejected)
    assert (error.reason_code, error.message) == (code, text)


def test_a_text_without_a_name_keeps_the_default() -> None:
    assert text_code("no", "REJECTED") == "REJECTED"
    assert text_code("", "REJECTED") == "REJECTED"
