"""The client against a gateway that fails in every way."""

import json
from typing import Any

import pytest

from pulse.client import Event, Gateway
from pulse.errors import GatewayError
from pulse.tokens import own_tokens
from tests.integration.cli.fake_gateway import CUT, SECRET, FakeGateway

REQUEST = {"order_unique_key": "k-1", "instrument": "NSE:TCS", "side": "BUY", "total_quantity": 120}
OTHER_SECRET = SECRET[::-1]


def seqs(events: list[Event]) -> list[int | None]:
    return [event.seq for event in events]


def test_order_is_accepted(client: Gateway, gateway: FakeGateway) -> None:
    placed = client.place(REQUEST)

    assert placed.answer == {"order_id": "ord_00000000000000000000000001", "order_unique_key": "k-1"}
    assert not placed.replayed
    assert json.loads(gateway.requests[0]["body"]) == REQUEST
    assert gateway.requests[0]["headers"]["content-type"] == "application/json"


def test_order_is_sent_again_while_the_gateway_is_unavailable(client: Gateway, gateway: FakeGateway) -> None:
    gateway.faults.extend([503, 503])

    assert not client.place(REQUEST).replayed

    assert [request["body"] for request in gateway.requests] == [gateway.requests[0]["body"]] * 3
    assert len(gateway.orders) == 1


def test_order_whose_answer_was_lost_is_found_again(client: Gateway, gateway: FakeGateway) -> None:
    gateway.faults.extend([CUT])

    placed = client.place(REQUEST)

    assert placed.replayed
    assert list(gateway.orders) == [placed.answer["order_id"]]


@pytest.mark.parametrize(("fault", "code"), [(503, "UPSTREAM_UNAVAILABLE"), (CUT, "CONNECTION_LOST")])
def test_third_failure_is_told(client: Gateway, gateway: FakeGateway, fault: Any, code: str) -> None:
    gateway.faults.extend([fault] * 3)

    with pytest.raises(GatewayError) as failed:
        client.place(REQUEST)

    assert failed.value.code == code
    assert failed.value.is_temporary
    assert len(gateway.requests) == 3


def test_refusal_is_told_at_once(client: Gateway, gateway: FakeGateway) -> None:
    client.place(REQUEST)

    with pytest.raises(GatewayError) as refused:
        client.place(REQUEST | {"total_quantity": 60})

    assert (refused.value.code, refused.value.status) == ("DUPLICATE_ORDER_UNIQUE_KEY", 409)
    assert refused.value.details == {"existing_order_id": "ord_00000000000000000000000001"}
    assert not refused.value.is_temporary
    assert len(gateway.requests) == 2


def test_fault_of_the_service_names_the_request(client: Gateway, gateway: FakeGateway) -> None:
    gateway.faults.extend([500])

    with pytest.raises(GatewayError, match="not now") as failed:
        client.orders(limit=1)

    assert str(failed.value) == "INTERNAL_ERROR: not now [request_id=r-1]"


@pytest.mark.parametrize("body", [b"<html>a proxy</html>", b"[]", b""])
def test_answer_of_something_else_is_recognised(client: Gateway, gateway: FakeGateway, body: bytes) -> None:
    gateway.faults.extend([body])

    with pytest.raises(GatewayError) as failed:
        client.order("ord_1")

    assert failed.value.code == "UNEXPECTED_ANSWER"


def test_order_id_stays_one_part_of_the_path(client: Gateway, gateway: FakeGateway) -> None:
    with pytest.raises(GatewayError, match="no such order"):
        client.order("ord_1/slices?x=1")

    assert gateway.requests[0]["path"] == "/api/orders/ord_1/slices?x=1"  # decoded: sent as %2F and %3F


def test_proxy_of_the_environment_is_not_asked_for_this_machine(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    with Gateway(gateway.base_url, own_tokens(SECRET), tries=1) as client:
        assert client.orders(limit=1)["orders"] == []


def test_stream_is_read_to_its_end(client: Gateway, gateway: FakeGateway) -> None:
    gateway.add("ord_1")

    events = list(client.events("ord_1"))

    assert seqs(events) == [1, 2, 3, 4, 5, 6, 7, 8, None]
    assert events[-1].data["state"] == "FILLED"
    assert gateway.streams == [None]


def test_cut_stream_is_resumed_behind_the_last_row(client: Gateway, gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    gateway.cuts.extend([3, 0, 4])
    cuts: list[str] = []

    events = list(client.events("ord_1", on_cut=lambda error: cuts.append(error.code)))

    assert seqs(events) == [1, 2, 3, 4, 5, 6, 7, 8, None]
    assert gateway.streams == [None, "3", "3", "7"]
    assert cuts == ["CONNECTION_LOST", "CONNECTION_LOST"]  # one for each time that it was away


def test_stream_cut_before_its_last_event_ends_on_204(client: Gateway, gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    gateway.cuts.extend([8])

    assert seqs(list(client.events("ord_1"))) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert gateway.streams == [None, "8"]


def test_stream_goes_on_after_an_outage(client: Gateway, gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    gateway.cuts.extend([3])
    events = client.events("ord_1")
    first = [next(events) for _ in range(3)]
    gateway.faults.extend([503, 500])

    assert seqs(first + list(events)) == [1, 2, 3, 4, 5, 6, 7, 8, None]


def test_stream_that_stays_away_is_given_up(gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    gateway.cuts.extend([3])
    with Gateway(gateway.base_url, own_tokens(SECRET), pause_s=0.02, give_up_s=0.2) as client:
        events = client.events("ord_1")
        first = [next(events) for _ in range(3)]
        gateway.faults.extend([503] * 100)

        with pytest.raises(GatewayError, match="not now"):
            list(events)

    assert seqs(first) == [1, 2, 3]
    assert len(gateway.requests) > 3


def test_stream_that_never_opens_is_an_error_after_three_tries(client: Gateway, gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    gateway.faults.extend([503] * 3)

    with pytest.raises(GatewayError, match="not now"):
        list(client.events("ord_1"))

    assert len(gateway.requests) == 3


def test_stream_of_a_refused_token_is_an_error_at_once(gateway: FakeGateway) -> None:
    gateway.add("ord_1")

    with Gateway(gateway.base_url, own_tokens(OTHER_SECRET)) as client, pytest.raises(GatewayError) as refused:
        list(client.events("ord_1"))

    assert refused.value.code == "UNAUTHORIZED"
    assert len(gateway.requests) == 1


def test_stream_that_is_no_stream_is_recognised(client: Gateway, gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    gateway.faults.extend([b"<html>"])

    with pytest.raises(GatewayError) as failed:
        list(client.events("ord_1"))

    assert failed.value.code == "UNEXPECTED_ANSWER"
