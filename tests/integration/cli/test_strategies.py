"""`pulse strategy add`, `set`, `list` and `show`: what is asked of the order API, and what is shown."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pulse.cli import main
from tests.integration.cli.fake_gateway import FakeGateway

ROW = {
    "name": "macd-tcs", "kind": "macd", "instruments": ["NSE:TCS"], "parameters": {"fast": "5"},
    "mode": "paper", "capital": None, "wanted": "STOPPED", "state": "STOPPED", "detail": None, "version": 1,
    "changed_by": "asha", "changed_at": "2026-01-05T04:00:00Z", "reported_at": None,
}  # fmt: skip
OWN = ROW | {"capital": "500000.50"}
ADD = "strategy add macd-tcs --kind macd --instrument NSE:TCS --param fast=5"
Pulse = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pulse(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pulse:
    """Run a line against an order API that gives these answers, one after the other."""
    monkeypatch.setenv("PULSE_URL", gateway.base_url)
    monkeypatch.setenv("PULSE_SERVICE_TOKEN", "the-service-token-of-a-test")

    def run(line: str, *answers: Any) -> tuple[int, str, str]:
        gateway.requests.clear()
        gateway.faults.extend(json.dumps(answer).encode() for answer in answers)
        code = main(line.split())
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def put(gateway: FakeGateway) -> Any:
    [asked] = [request for request in gateway.requests if request["method"] == "PUT"]
    assert asked["path"] == "/internal/strategies/macd-tcs"
    return json.loads(asked["body"])


@pytest.mark.parametrize(("option", "capital"), [("", None), (" --capital 500000.50", "500000.50")])
def test_one_is_added_with_a_capital_or_without(
    pulse: Pulse, gateway: FakeGateway, option: str, capital: str | None
) -> None:
    code, out, err = pulse(ADD + option, {"strategies": []}, ROW | {"capital": capital})

    assert (code, err) == (0, "")
    assert put(gateway) == {
        "kind": "macd", "instruments": ["NSE:TCS"], "parameters": {"fast": "5"}, "mode": "paper",
        "capital": capital,
    }  # fmt: skip
    assert ("capital 500000.50" in out) is (capital is not None)


def test_the_same_again_is_one_and_another_capital_is_another(pulse: Pulse, gateway: FakeGateway) -> None:
    code, _, _ = pulse(ADD + " --capital 500000.5", {"strategies": [OWN]}, OWN)
    assert code == 0

    for options in ("", " --capital 500000.51"):
        code, _, err = pulse(ADD + options, {"strategies": [OWN]})
        assert (code, len(err.splitlines())) == (1, 1)
        assert "pulse strategy set macd-tcs changes it" in err
        assert [request["method"] for request in gateway.requests] == ["GET"]


@pytest.mark.parametrize(
    ("options", "capital", "fast"),
    [
        ("--param fast=7", "500000.50", "7"),
        ("--capital 600000", "600000", "5"),
        ("--capital default", None, "5"),
    ],
)
def test_what_is_not_given_stays(
    pulse: Pulse, gateway: FakeGateway, options: str, capital: str | None, fast: str
) -> None:
    code, _, err = pulse(f"strategy set macd-tcs {options}", {"strategies": [OWN]}, OWN)

    assert (code, err) == (0, "")
    assert (put(gateway)["capital"], put(gateway)["parameters"]) == (capital, {"fast": fast})


def test_the_capital_is_shown(pulse: Pulse) -> None:
    _, listed, _ = pulse("strategy list", {"strategies": [OWN, ROW | {"name": "other"}]})
    _, own, _ = pulse("strategy show macd-tcs", {"strategies": [OWN]})
    _, usual, _ = pulse("strategy show macd-tcs", {"strategies": [ROW]})
    _, as_json, _ = pulse("strategy show macd-tcs --json", {"strategies": [OWN]})

    rows = {line.split()[0]: line.split() for line in listed.splitlines() if line}
    assert rows["macd-tcs"] == ["macd-tcs", "macd", "NSE:TCS", "paper", "500000.50", "STOPPED"]
    assert rows["other"][4] == "-"
    assert "500000.50" in own
    assert "STRATEGY_CAPITAL" in usual
    assert json.loads(as_json)["capital"] == "500000.50"
