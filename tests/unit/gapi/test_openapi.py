import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gapi import openapi, tradingview
from gapi.orders import OrderRequest, PreviewRequest, TradingCommand, check
from gapi.strategies import StrategyRequest
from service_kit.litestar_kit import decode

CONTRACT = Path(__file__).parents[3] / "doc" / "contract" / "gapi.md"
BODIES = {
    "create_order": OrderRequest,
    "preview_order": PreviewRequest,
    "halt": TradingCommand,
    "resume": TradingCommand,
    "put_strategy": StrategyRequest,
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_it_is_a_plain_openapi_3_1_document(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert yaml.safe_load(yaml.safe_dump(document)) == document
    assert openapi.document() == document


def test_it_has_the_routes_of_the_contract(document: dict[str, Any]) -> None:
    rows = re.findall(
        r"^\| (GET|POST|PUT) \| `([^`]+)` \| ([^|]+) \| ([0-9, ]+) \|", CONTRACT.read_text(), re.M
    )
    promised = {(method, path): set(statuses.split(", ")) for method, path, _, statuses in rows}

    described = {(method, path): operation for method, path, operation in operations(document)}

    assert rows
    assert set(described) == set(promised)
    for route, statuses in promised.items():
        assert {status for status in described[route]["responses"] if status < "300"} == {
            status.strip() for status in statuses if status.strip() < "300"
        }


def test_it_tells_the_scopes_of_the_contract(document: dict[str, Any]) -> None:
    rows = re.findall(r"^\| (GET|POST|PUT) \| `([^`]+)` \| ([^|]+) \|", CONTRACT.read_text(), re.M)
    described = {(method, path): operation for method, path, operation in operations(document)}

    for method, path, scope in rows:
        operation = described[method, path]
        if ":" in scope or scope == "admin":
            assert operation["security"] == [{"token": []}]
            assert scope in operation["description"]
        elif scope == "service token":
            assert operation["security"] == [{"serviceToken": []}]
        else:
            assert operation["security"] == []


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))

    assert found
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_operation_declares_its_errors_in_the_envelope(document: dict[str, Any]) -> None:
    names = set()
    for _, path, operation in operations(document):
        names.add(operation["operationId"])
        assert "500" in operation["responses"]
        for status, response in operation["responses"].items():
            assert {"X-Request-Id", "X-Trace-Id"} <= set(response["headers"])
            if status >= "400" and not path.endswith("/ready"):
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorBody"}
            if status == "503":
                assert "Retry-After" in response["headers"]
    assert len(names) == len(list(operations(document)))


def test_examples_are_what_they_say(document: dict[str, Any]) -> None:
    seen = set()
    for _, _, operation in operations(document):
        name = operation["operationId"]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            seen.add(name)
            body = json.dumps(example["value"]).encode()
            if name.startswith("tradingview"):
                tradingview.order(tradingview.read(body), None)
            else:
                request = decode(body, BODIES[name])
                if isinstance(request, PreviewRequest):
                    check(request)
    assert seen == {*BODIES, "tradingview_alert", "tradingview_alert_by_path"}


def test_unknown_fields_and_patterns_are_in_the_schemas(document: dict[str, Any]) -> None:
    order = document["components"]["schemas"]["OrderRequest"]

    assert order["additionalProperties"] is False
    assert order["properties"]["instrument"]["pattern"].endswith("{0,63}$")
    assert "(?!" not in msgspec.json.encode(document).decode()
