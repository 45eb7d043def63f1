import json
from decimal import Decimal

import msgspec
import pytest

from service_kit import envelope


def test_body_has_code_message_and_empty_details() -> None:
    assert envelope.render("NOT_FOUND", "No such thing") == (
        b'{"error":{"code":"NOT_FOUND","message":"No such thing","details":{}}}'
    )


def test_details_are_rendered_as_json() -> None:
    body = json.loads(envelope.render("TOO_MUCH", "Too much", {"limit": Decimal("1.50"), "seen": [1, 2]}))

    assert body["error"]["details"] == {"limit": "1.50", "seen": [1, 2]}


def test_rendered_body_reads_back() -> None:
    body = msgspec.json.decode(envelope.render("A", "b", {"c": 1}), type=envelope.ErrorBody)

    assert body == envelope.ErrorBody(envelope.Error("A", "b", {"c": 1}))


def test_body_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        envelope.Error("A", "b").code = "C"  # type: ignore[misc]  # that it cannot is the test


def test_service_error_carries_its_parts() -> None:
    details = {"existing": "x1"}

    error = envelope.ServiceError("DUPLICATE", "Seen before", details)
    details["existing"] = "changed later"

    assert (error.code, error.message, error.details) == ("DUPLICATE", "Seen before", {"existing": "x1"})
    assert envelope.ServiceError("A", "b").details == {}
