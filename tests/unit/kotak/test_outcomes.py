"""Every way in which a call can end, and what it is taken for."""

from typing import Any

import pytest

from pulse_adapters.kotak.outcomes import (
    Answer,
    Ending,
    Refused,
    judge,
    message_of,
    text_code,
)
from pulse_adapters.real_broker.calls import NotSent, Operation, Unanswered
from pulse_domain.errors import BrokerError, BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable

WRITES = (Operation.PLACE, Operation.CANCEL, Operation.MODIFY)
UNKNOWN, REJECTED, UNAVAILABLE = BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable


def answer(body: Any = None, status: int = 200) -> Answer:
    return Answer(status=status, body=body)


def no(code: int | None = None, text: str = "no", **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"stat": "Not_Ok", "errMsg": text, **fields}
    return body if code is None else {**body, "stCode": code}


OK = {"stat": "Ok", "nOrdNo": "250720000007242", "stCode": 200}
NO_DATA = {"stCode": 5203, "errMsg": "No Data", "desc": "data not found", "stat": "Not_Ok"}

WRITTEN: list[tuple[Ending, type[BrokerError], str]] = [
    (NotSent("UNREACHABLE"), UNAVAILABLE, "UNREACHABLE"),
    (NotSent("DEADLINE_PASSED"), UNAVAILABLE, "DEADLINE_PASSED"),
    (Refused("not a segment"), REJECTED, "INVALID_INPUT"),
    (Unanswered(reason_code="TIMEOUT", ended=False), UNKNOWN, "TIMEOUT"),
    (Unanswered(reason_code="CONNECTION_LOST", ended=True), UNKNOWN, "CONNECTION_LOST"),
    # Of any status, what is no JSON object says nothing.
    *((answer(None, status), UNKNOWN, "UNREADABLE_ANSWER") for status in (200, 204, 302, 400, 403, 429, 502)),
    # The documented samples.
    (
        answer({"stat": "Not_Ok", "emsg": "Insufficient balance.", "stCode": 1004}),
        REJECTED,
        "INSUFFICIENT_FUNDS",
    ),
    (answer(no(100008, "unauthorized")), REJECTED, "NOT_PERMITTED"),
    (answer(no(1037, "session ip doesnt match with reqest ip")), UNAVAILABLE, "SESSION_ELSEWHERE"),
    (
        answer({"stCode": 1021, "errMsg": "order is completed", "stat": "please provide valid order number"}),
        REJECTED,
        "ORDER_NOT_OPEN",
    ),
    (answer({"code": "900901", "message": "Invalid Credentials"}, 401), UNAVAILABLE, "SESSION_EXPIRED"),
    (answer({"code": "900901", "message": "Invalid Credentials"}), UNAVAILABLE, "SESSION_EXPIRED"),
    (answer({"status": "error", "message": "x", "errorCode": "401"}, 401), UNAVAILABLE, "SESSION_EXPIRED"),
    (answer(no(403, "invalid session"), 403), UNAVAILABLE, "SESSION_EXPIRED"),
    (answer({"message": "session timed out"}, 403), UNAVAILABLE, "SESSION_EXPIRED"),
    (answer({"message": "slow down"}, 429), UNAVAILABLE, "RATE_LIMITED"),
    (answer(no(429, "too many requests")), UNAVAILABLE, "RATE_LIMITED"),
    (answer(no(1006)), REJECTED, "ORDER_NOT_OPEN"),
    (answer(no(1009, "invalid quantity")), REJECTED, "INVALID_INPUT"),
    (answer(no(1041)), REJECTED, "NO_PRICE"),
    (answer(NO_DATA), REJECTED, "ORDER_NOT_FOUND"),
    (answer(no(7777, "quantity exceeds freeze")), REJECTED, "FREEZE_QUANTITY"),
    (answer(no(7777, "something new")), REJECTED, "REJECTED"),
    (answer(no(None)), REJECTED, "REJECTED"),
    (answer({"stat": "NOT_OK", "emsg": "x"}), REJECTED, "REJECTED"),
    (answer(no(1009), 400), REJECTED, "INVALID_INPUT"),
    (answer({"error": [{"code": "400", "message": "Missing field"}]}, 400), REJECTED, "INVALID_INPUT"),
    (answer({"message": "bad"}, 422), REJECTED, "INVALID_INPUT"),
    # What may have been taken all the same.
    (answer(no(1004, "request timed out")), UNKNOWN, "TIMED_OUT_AT_BROKER"),
    (answer(no(1009, "Timeout at OMS"), 400), UNKNOWN, "TIMED_OUT_AT_BROKER"),
    (answer(no(1004, "please check the order book")), UNKNOWN, "TIMED_OUT_AT_BROKER"),
    (answer(no(502)), UNKNOWN, "CODE_502"),
    (answer(no(1009), 500), UNKNOWN, "HTTP_500"),
    (answer(no(100008), 503), UNKNOWN, "HTTP_503"),
    (answer({"message": "late"}, 408), UNKNOWN, "HTTP_408"),
    (answer({"message": "gone"}, 404), UNKNOWN, "HTTP_404"),
    (answer({}), UNKNOWN, "UNREADABLE_ANSWER"),
    (answer({"stCode": 7777, "stat": "a sentence that is new"}), UNKNOWN, "UNREADABLE_ANSWER"),
    (answer({"error": [{"code": "400", "message": "Missing field"}]}), UNKNOWN, "UNREADABLE_ANSWER"),
    (answer({**OK, "stat": "Not_Ok"}), UNKNOWN, "UNREADABLE_ANSWER"),
    (answer(OK, 500), UNKNOWN, "UNREADABLE_ANSWER"),
]


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(("ending", "kind", "reason_code"), WRITTEN)
def test_what_the_end_of_a_write_means(
    operation: Operation, ending: Ending, kind: type[BrokerError], reason_code: str
) -> None:
    error = judge(operation, ending)

    assert type(error) is kind
    assert error.reason_code == reason_code


@pytest.mark.parametrize(("ending", "kind", "reason_code"), WRITTEN)
def test_a_read_is_answered_or_not(ending: Ending, kind: type[BrokerError], reason_code: str) -> None:
    error = judge(Operation.READ, ending)

    if ending == answer(NO_DATA):
        assert error is None
    else:
        assert type(error) is BrokerUnavailable
        assert error.reason_code == reason_code


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("stat", ["Ok", "ok", "OK"])
def test_a_plain_success(operation: Operation, stat: str) -> None:
    assert judge(operation, answer({**OK, "stat": stat})) is None


@pytest.mark.parametrize("number", [None, "", 250720, "../x", "x" * 65])
def test_an_order_without_a_number_may_be_anywhere(number: Any) -> None:
    error = judge(Operation.PLACE, answer({**OK, "nOrdNo": number}))

    assert type(error) is BrokerOutcomeUnknown
    assert error.call_ended


def test_a_change_needs_no_number() -> None:
    assert judge(Operation.CANCEL, answer({"stat": "Ok", "stCode": 200})) is None


@pytest.mark.parametrize(
    "ending",
    [
        answer({"stat": "ok", "data": []}),
        answer({"stat": "Ok", "data": [{}]}),
        answer(NO_DATA),
        answer(NO_DATA, 424),
    ],
)
def test_a_read_with_rows_or_with_the_word_that_there_are_none(ending: Answer) -> None:
    assert judge(Operation.READ, ending) is None


@pytest.mark.parametrize("body", [{"stat": "ok"}, {"stat": "ok", "data": {}}, {"data": []}])
def test_a_read_without_rows_is_none(body: Any) -> None:
    assert type(judge(Operation.READ, answer(body))) is BrokerUnavailable


@pytest.mark.parametrize("ended", [True, False])
def test_whether_the_call_has_ended_is_passed_on(ended: bool) -> None:
    error = judge(Operation.PLACE, Unanswered(reason_code="TIMEOUT", ended=ended))

    assert isinstance(error, BrokerOutcomeUnknown)
    assert error.call_ended is ended


def test_the_brokers_words_are_found_wherever_they_are() -> None:
    assert message_of({"emsg": "a"}) == "a"
    assert message_of({"errMsg": "", "desc": "b"}) == "b"
    assert message_of({"error": [{"message": "c"}]}) == "c"
    assert message_of({"stat": "please do"}) == "please do"
    assert message_of({"stat": "Not_Ok"}) == ""
    assert len(message_of({"errMsg": "x" * 10_000})) == 500


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("RMS:Margin Exceeds,Cash Available", "INSUFFICIENT_FUNDS"),
        ("Insufficient holdings quantity", "INSUFFICIENT_HOLDINGS"),
        ("Price is not a multiple of tick size", "TICK_SIZE"),
        ("price beyond circuit limits", "PRICE_BAND"),
        ("quantity is not a multiple of lot size", "LOT_SIZE"),
        ("Market order with Algo Id not allowed", "MARKET_PROTECTION"),
        ("the order does not exist", "ORDER_NOT_FOUND"),
        ("whatever", "REJECTED"),
    ],
)
def test_refusals_are_named_by_their_text(text: str, code: str) -> None:
    assert text_code(text, "REJECTED") == code


def test_an_answer_does_not_show_what_is_in_it() -> None:
    assert "planted" not in repr(answer({"data": {"token": "planted"}}))
