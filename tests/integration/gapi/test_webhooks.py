"""Alerts of TradingView."""

import json
import time
from hashlib import sha256
from typing import Any

import pytest

PATH = "/api/webhooks/tradingview"
ALERT = {"symbol": "TCS", "action": "buy", "quantity": "10"}


def body_of(**fields: Any) -> bytes:
    return json.dumps(ALERT | fields).encode()


@pytest.mark.parametrize("name", ["apikey", "secret", "passphrase"])
@pytest.mark.parametrize("media_type", ["application/json", "text/plain; charset=utf-8", ""])
async def test_an_alert_with_the_secret_in_it(
    gateway: Any, pulse: Any, hook_secret: str, order_id: str, name: str, media_type: str
) -> None:
    body = body_of(**{name: hook_secret})

    answer = await gateway.post(PATH, body, headers={"Content-Type": media_type})

    assert answer.status_code == 202
    assert answer.json()["order_id"] == order_id
    assert answer.headers["location"] == f"/api/orders/{order_id}"
    assert json.loads(pulse.last.body) == {"instrument": "NSE:TCS", "side": "BUY", "total_quantity": 10}
    assert pulse.last.headers["content-type"] == "application/json"
    assert pulse.last.headers["x-client-id"] == "hook-client"
    assert pulse.last.headers["x-order-source"] == "tradingview"
    assert pulse.last.headers["x-body-digest"] == sha256(body).hexdigest()
    assert hook_secret.encode() not in pulse.last.body


async def test_an_alert_with_the_secret_in_the_address(gateway: Any, pulse: Any, hook_secret: str) -> None:
    answer = await gateway.post(f"{PATH}/{hook_secret}-2", body_of())

    assert answer.status_code == 202
    assert pulse.last.headers["x-client-id"] == "slow-client"
    assert json.loads(pulse.last.body)["split_config"] == {
        "num_splits": 4,
        "duration_minutes": 30,
        "randomize": True,
    }
    assert hook_secret not in pulse.last.path


async def test_an_alert_with_a_key_needs_no_digest(gateway: Any, pulse: Any, hook_secret: str) -> None:
    answer = await gateway.post(f"{PATH}/{hook_secret}", body_of(order_unique_key="k-9"))

    assert answer.json()["order_unique_key"] == "k-9"
    assert "x-body-digest" not in pulse.last.headers


async def test_a_wrong_secret_is_refused_and_not_explained(gateway: Any, pulse: Any, hook_secret: str) -> None:
    answers = [
        await gateway.post(PATH, body_of()),
        await gateway.post(PATH, body_of(apikey="x")),
        await gateway.post(PATH, body_of(secret=5)),
        await gateway.post(PATH, body_of(secret=hook_secret, apikey=hook_secret + "-2")),
        await gateway.post(f"{PATH}/{hook_secret[:-1]}", body_of(secret=hook_secret)),
        await gateway.post(f"{PATH}/{hook_secret}", body_of(secret="x")),
        await gateway.post(f"{PATH}/x", b"not read"),
        await gateway.post(f"{PATH}/x", b" " * 70_000),
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({json.dumps(answer.json()["error"]) for answer in answers}) == 1
    assert answers[0].json()["error"]["code"] == "UNAUTHORIZED"
    assert pulse.seen == []


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"SENSEX251016C75000 sell 1", "INVALID_REQUEST", None),
        (b"", "INVALID_REQUEST", None),
        (b"\xff", "INVALID_REQUEST", None),
        (b"[]", "INVALID_REQUEST", None),
        (body_of(orders=[{"symbol": "TCS"}]), "INVALID_REQUEST", "orders"),
        (body_of(quantity="{{strategy.order.contracts}}"), "INVALID_QUANTITY", "quantity"),
        (body_of(position_size="0"), "INVALID_REQUEST", "position_size"),
        (body_of(total_quantity=10), "INVALID_QUANTITY", "total_quantity"),
        (body_of(exchange="NYSE"), "INVALID_INSTRUMENT", "exchange"),
        (body_of(stop_loss="5"), "INVALID_REQUEST", "stop_loss"),
        (body_of(pricetype="LIMIT"), "INVALID_PRICE", "limit_price"),
        (body_of(split_config={"num_splits": 1}), "INVALID_SPLIT_CONFIG", "split_config.num_splits"),
    ],
)
async def test_an_alert_that_cannot_be_read(
    gateway: Any, pulse: Any, hook_secret: str, body: bytes, code: str, field: str | None
) -> None:
    answer = await gateway.post(f"{PATH}/{hook_secret}", body, headers={"Content-Type": "text/plain"})

    assert answer.status_code == 400  # TradingView does not resend after that
    error = answer.json()["error"]
    assert (error["code"], error["details"].get("field")) == (code, field)
    assert pulse.seen == []


async def test_a_large_alert_is_refused(gateway: Any, pulse: Any, hook_secret: str) -> None:
    answer = await gateway.post(f"{PATH}/{hook_secret}", body_of().ljust(64 * 1024 + 1))

    assert answer.status_code == 413
    assert pulse.seen == []


async def test_pulse_is_given_up_before_tradingview_gives_up(
    stub: Any, own_pulse: Any, own_gateway: Any, hook_secret: str
) -> None:
    async with own_pulse(stub) as address, own_gateway(address, GAPI_PULSE_TIMEOUT_SECONDS="5") as gateway:
        stub.script = [stub.answer(202, {}, after_s=6)]
        began = time.monotonic()

        answer = await gateway.post(f"{PATH}/{hook_secret}", body_of())

    assert answer.status_code == 503  # after which TradingView resends
    assert 2 < time.monotonic() - began < 3


async def test_errors_of_pulse_pass_through(gateway: Any, pulse: Any, hook_secret: str) -> None:
    error = {"error": {"code": "TRADING_HALTED", "message": "halted", "details": {}}}
    pulse.script = [pulse.answer(422, error)]

    answer = await gateway.post(f"{PATH}/{hook_secret}", body_of())

    assert (answer.status_code, answer.json()) == (422, error)


async def test_without_hooks_every_secret_is_wrong(own_gateway: Any, hook_secret: str) -> None:
    async with own_gateway("http://127.0.0.1:9", GAPI_WEBHOOK_HOOKS="[]") as gateway:
        assert (await gateway.post(f"{PATH}/{hook_secret}", body_of())).status_code == 401
