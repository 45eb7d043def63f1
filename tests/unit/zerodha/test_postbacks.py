import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.zerodha.postbacks import BadPostback, WrongChecksum, read_postback

SECRET = "planted-api-secret"
SAMPLE = Path(__file__).parents[4] / "shared/data/kite-mocks/postback.json"


def body(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "user_id": "AB1234",
        "app_id": 1234,
        "order_id": "220303000308932",
        "order_timestamp": "2022-03-03 09:24:25",
        "status": "COMPLETE",
        "quantity": 1,
        "unfilled_quantity": 0,
    }
    signed = f"{fields['order_id']}{fields['order_timestamp']}{SECRET}"
    fields["checksum"] = hashlib.sha256(signed.encode()).hexdigest()
    return json.dumps({**fields, **changes}).encode()


def test_the_order_to_look_at() -> None:
    assert read_postback(body(), SECRET) == "220303000308932"


@pytest.mark.parametrize("changes", [{"status": "CANCELLED"}, {"quantity": 10_000}, {"new_field": 1}])
def test_what_the_checksum_does_not_cover_changes_nothing(changes: dict[str, Any]) -> None:
    assert read_postback(body(**changes), SECRET) == "220303000308932"


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": "220303000308933"},
        {"order_timestamp": "2022-03-03 09:24:26"},
        {"checksum": "0" * 64},
        {"checksum": ""},
        {"checksum": "é"},
    ],
)
def test_a_body_that_was_changed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WrongChecksum):
        read_postback(body(**changes), SECRET)


@pytest.mark.parametrize(
    "changes", [{"checksum": None}, {"checksum": 1}, {"order_id": 220303000308932}, {"order_id": None}]
)
def test_a_body_of_another_shape_is_no_postback(changes: dict[str, Any]) -> None:
    with pytest.raises(BadPostback):
        read_postback(body(**changes), SECRET)


def test_another_secret_is_refused() -> None:
    with pytest.raises(WrongChecksum) as refused:
        read_postback(body(), "another secret")

    assert "secret" not in str(refused.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadPostback):
        read_postback(data, SECRET)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        json.dumps({"order_id": "\ud800", "order_timestamp": "", "checksum": "\ud800"}).encode(),
        b'{"order_id": "1", "order_id": "2", "order_timestamp": "", "checksum": "x"}',
    ],
)
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((BadPostback, WrongChecksum)):
        read_postback(data, SECRET)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the broker's samples are not kept here")
def test_the_sample_has_the_shape_though_its_secret_is_not_ours() -> None:
    with pytest.raises(WrongChecksum):
        read_postback(SAMPLE.read_bytes(), SECRET)
