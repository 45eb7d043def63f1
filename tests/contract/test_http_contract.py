"""doc/contract is the source of truth: the running apps have its routes and codes, and no others."""

import re
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import pytest

import gapi.errors
import gapi.openapi
import pulse_api.app
import pulse_api.errors
from pulse_domain import errors as domain_errors
from pulse_domain.orders.events import Event
from pulse_domain.orders.status import OrderQueueStatus, OrderState, SliceOutcome, SliceStage

CONTRACT = Path(__file__).parents[2] / "doc/contract"
DOCUMENTS = {"gapi": gapi.openapi.document, "pulse": pulse_api.app.openapi_document}


def rows(name: str, first_cell: str) -> list[list[str]]:
    """The cells of every table row whose first cell matches, without their backticks."""
    text = (CONTRACT / f"{name}.md").read_text()
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(first_cell, cells[0]):
            found.append(cells)
    return found


def documented_routes(name: str) -> dict[tuple[str, str], set[int]]:
    routes = {}
    for cells in rows(name, "GET|POST|PUT"):
        path = cells[1].strip("`")
        success = next(cell for cell in cells[2:] if re.fullmatch(r"\d{3}(, \d{3})*", cell))
        routes[cells[0].lower(), path] = {int(status) for status in success.split(", ")}
    return routes


def described_routes(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_routes_are_those_of_the_contract(name: str) -> None:
    assert set(described_routes(DOCUMENTS[name]())) == set(documented_routes(name))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_successes_are_those_of_the_contract(name: str) -> None:
    described = described_routes(DOCUMENTS[name]())

    for route, statuses in documented_routes(name).items():
        answers = {int(status) for status in described[route]["responses"]}
        successes = {status for status in answers if status < 300}
        assert successes == {status for status in statuses if status < 300}, route
        assert statuses <= answers, route


def documented_errors() -> dict[str, set[int]]:
    return {
        cells[0].strip("`"): {int(status) for status in cells[1].split(", ")}
        for cells in rows("common", r"`[A-Z_]+`")
    }


def test_codes_and_statuses_of_the_order_api_are_documented() -> None:
    documented = documented_errors()
    raised = [
        (kind.code, pulse_api.errors.translate(_example(kind)))
        for kind in vars(domain_errors).values()
        if isinstance(kind, type) and issubclass(kind, domain_errors.PulseError)
    ]

    for code, translated in raised:
        if translated is not None:
            assert translated[0] in documented[code], code
    for code, status in pulse_api.errors.STATUSES.items():
        assert status in documented[code], code


def test_codes_and_statuses_of_the_gateway_are_documented() -> None:
    documented = documented_errors()

    for code, status in gapi.errors.STATUSES.items():
        assert status in documented[code], code


def test_statuses_of_errors_are_described() -> None:
    statuses = set().union(*documented_errors().values())

    for name, build in DOCUMENTS.items():
        for route, operation in described_routes(build()).items():
            errors = {int(status) for status in operation["responses"] if int(status) >= 400}
            assert errors <= statuses, (name, route)


@pytest.mark.parametrize("kind", [OrderState, SliceStage, SliceOutcome, OrderQueueStatus])
def test_every_word_of_a_state_is_in_the_contract(kind: type) -> None:
    text = (CONTRACT / "common.md").read_text()

    for word in kind:  # type: ignore[attr-defined]  # an enum class
        assert re.search(rf"\b{word}\b", text), word


def test_every_kind_of_event_is_in_the_contract() -> None:
    text = (CONTRACT / "common.md").read_text()

    for event in get_args(Event):
        assert f"`{event.__struct_config__.tag}`" in text


@pytest.mark.parametrize("name", DOCUMENTS)
def test_order_fields_are_those_of_the_contract(name: str) -> None:
    table = (CONTRACT / "common.md").read_text().partition("## Order\n")[2].partition("## Slice")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"`(\w+)`", " ".join(first_cells)))

    schemas = DOCUMENTS[name]()["components"]["schemas"]
    order = next(schema for title, schema in schemas.items() if title in ("Order", "OrderOut"))

    assert set(order["properties"]) == documented


@pytest.mark.parametrize("name", DOCUMENTS)
def test_request_fields_are_those_of_the_contract(name: str) -> None:
    table = (CONTRACT / "common.md").read_text().partition("## Order request\n")[2].partition("## Accepted")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.M))

    schemas = DOCUMENTS[name]()["components"]["schemas"]
    request = next(schema for title, schema in schemas.items() if title in ("OrderRequest", "OrderBody"))

    assert set(request["properties"]) == documented


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(
    ("section", "titles"),
    [("Positions", ("Position", "PositionOut")), ("Ledger", ("LedgerRow", "LedgerRowOut"))],
)
def test_fields_of_positions_and_of_the_ledger_are_those_of_the_contract(
    name: str, section: str, titles: tuple[str, str]
) -> None:
    text = (CONTRACT / "common.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"`(\w+)`", " ".join(first_cells)))
    schemas = DOCUMENTS[name]()["components"]["schemas"]
    described = next(schema for title, schema in schemas.items() if title in titles)
    told = set(re.findall(r"`(\w+)`", text))

    assert documented <= set(described["properties"]) <= told


@pytest.mark.parametrize("name", DOCUMENTS)
def test_answers_of_positions_and_of_the_ledger_have_the_fields_of_the_contract(name: str) -> None:
    text = (CONTRACT / "common.md").read_text()
    schemas = DOCUMENTS[name]()["components"]["schemas"]

    for title, head in (("Positions", "Positions"), ("LedgerPage", "Ledger")):
        whole = text.partition(f"## {head}\n")[2].partition("}`")[0]
        documented = set(re.findall(r'"(\w+)"', whole))
        other = {"Positions": "PositionsOut", "LedgerPage": "LedgerOut"}[title]
        described = next(schema for name, schema in schemas.items() if name in (title, other))
        assert set(described["properties"]) == documented
        assert documented


@pytest.mark.parametrize("name", DOCUMENTS)
def test_strategy_fields_are_those_of_the_contract(name: str) -> None:
    part = (CONTRACT / "common.md").read_text().partition("## Strategy\n")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"`(\w+)`", " ".join(first_cells)))
    [sentence] = re.findall(r"Strategy request: (.*?)\.\s", part, re.DOTALL)
    asked = {word for word in re.findall(r"`(\w+)`", sentence) if word != "paper"}

    schemas = DOCUMENTS[name]()["components"]["schemas"]
    strategy = next(schema for title, schema in schemas.items() if title in ("Strategy", "StrategyOut"))
    request = next(schema for title, schema in schemas.items() if title in ("StrategyRequest", "StrategyBody"))

    assert set(strategy["properties"]) == documented
    assert set(request["properties"]) == asked


def _example(kind: type[domain_errors.PulseError]) -> Exception:
    if issubclass(kind, domain_errors.DuplicateOrderUniqueKey):
        return kind("ord_1")
    if issubclass(kind, domain_errors.IllegalTransition):
        return kind("Machine", "STATE", "EVENT")
    if issubclass(kind, domain_errors.BrokerOutcomeUnknown):
        return kind("TIMEOUT", call_ended=True)
    if issubclass(kind, domain_errors.BrokerError):
        return kind("TIMEOUT")
    needed = [
        p for p in signature(kind).parameters.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    some: list[Any] = [1] * len(needed)
    return kind(*some)
