"""Strategies through the order API, on a real Postgres."""

from typing import Any

import pytest

from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState
from tests.integration.pulse_api.conftest import Api

PATH = "/internal/strategies"
MACD = {"kind": "macd", "instruments": ["NSE:TCS"], "parameters": {"fast": 5, "risk_percent": "0.5"}}
ASHA = {"X-Operator": "asha", "X-Client-Id": ""}


async def audited(api: Api) -> list[tuple[str, str, str, str, str, str]]:
    """All but the instant, oldest first."""
    return [
        (entry.channel, entry.actor, entry.place, entry.action, entry.outcome, entry.detail)
        for entry in reversed(await api.ports.audit.newest(100))
    ]


async def test_life_of_a_strategy(api: Api) -> None:
    put, added = await api.send("PUT", f"{PATH}/macd-tcs", MACD, ASHA)
    _, again = await api.send("PUT", f"{PATH}/macd-tcs", MACD)
    start, started = await api.send("POST", f"{PATH}/macd-tcs/start")
    await api.ports.strategies.report("macd-tcs", 1, StrategyState.FAILED, "ValueError: bad luck")
    listed, found = await api.send("GET", PATH)
    stop, stopped = await api.send("POST", f"{PATH}/macd-tcs/stop", None, ASHA)

    assert (put.status, start.status, listed.status, stop.status) == (200, 200, 200, 200)
    assert added == {
        "name": "macd-tcs", "kind": "macd", "instruments": ["NSE:TCS"],
        "parameters": {"fast": 5, "risk_percent": "0.5"}, "mode": "paper", "capital": None, "wanted": "STOPPED",
        "state": "STOPPED", "detail": None, "version": 1, "changed_by": "asha",
        "changed_at": added["changed_at"], "reported_at": None,
    }  # fmt: skip
    assert added["changed_at"].endswith("Z")
    assert again == added
    assert (started["wanted"], started["changed_by"]) == ("RUNNING", "desk-1")
    [row] = found["strategies"]
    assert (row["state"], row["detail"], row["wanted"]) == ("FAILED", "ValueError: bad luck", "RUNNING")
    assert row["reported_at"] is not None
    assert (stopped["wanted"], stopped["changed_by"]) == ("STOPPED", "asha")
    what = 'macd-tcs: macd on NSE:TCS, paper, {"fast":5,"risk_percent":"0.5"}'
    assert await audited(api) == [
        ("api", "asha", "", "strategy put", "done", what),
        ("api", "desk-1", "desk-1", "strategy put", "done", what),
        ("api", "desk-1", "desk-1", "strategy start", "done", "macd-tcs"),
        ("api", "asha", "", "strategy stop", "done", "macd-tcs"),
    ]


async def test_a_capital_of_its_own_is_a_change_and_comes_as_text(api: Api) -> None:
    _, first = await api.send("PUT", f"{PATH}/macd-tcs", MACD)
    _, own = await api.send("PUT", f"{PATH}/macd-tcs", MACD | {"capital": "500000.5"})
    _, number = await api.send("PUT", f"{PATH}/macd-tcs", MACD | {"capital": 500000.5})
    _, listed = await api.send("GET", PATH)
    _, none = await api.send("PUT", f"{PATH}/macd-tcs", MACD | {"capital": None})

    assert (first["capital"], first["version"]) == (None, 1)
    assert (own["capital"], own["version"]) == ("500000.50", 2)
    assert number == own
    assert listed == {"strategies": [own]}
    assert (none["capital"], none["version"]) == (None, 3)


async def test_one_that_is_to_run_is_not_changed(api: Api) -> None:
    await api.send("PUT", f"{PATH}/macd-tcs", MACD)
    await api.send("POST", f"{PATH}/macd-tcs/start")

    answer, error = await api.send("PUT", f"{PATH}/macd-tcs", MACD | {"mode": "live"}, ASHA)

    assert (answer.status, error["error"]["code"]) == (409, "INVALID_REQUEST")
    assert "stopped" in error["error"]["message"]
    assert (await audited(api))[-1][1:5] == ("asha", "", "strategy put", "refused")
    [row] = await api.ports.strategies.rows()
    assert row.plan.mode is StrategyMode.PAPER


@pytest.mark.parametrize(
    ("over", "field", "code"),
    [
        ({"kind": "ema"}, "kind", "INVALID_REQUEST"),
        ({"kind": ""}, "kind", "INVALID_REQUEST"),
        ({"kind": 1}, "kind", "INVALID_REQUEST"),
        ({"kind": "/home/asha/mine.py:Mine"}, "kind", "INVALID_REQUEST"),
        ({"kind": "mine.py"}, "kind", "INVALID_REQUEST"),
        ({"instruments": []}, "instruments", "INVALID_REQUEST"),
        ({"instruments": ["TCS"]}, "instruments[0]", "INVALID_INSTRUMENT"),
        ({"instruments": ["NSE:TCS", "XXX:TCS"]}, "instruments[1]", "INVALID_INSTRUMENT"),
        ({"instruments": ["NSE:TCS", "NSE:TCS"]}, "instruments", "INVALID_REQUEST"),
        ({"parameters": {"fast": 0}}, "parameters.fast", "INVALID_REQUEST"),
        ({"parameters": {"fast": 10**30}}, "parameters.fast", "INVALID_REQUEST"),
        ({"parameters": {"risk_percent": 1e308}}, "parameters.risk_percent", "INVALID_REQUEST"),
        ({"parameters": {"fast": "many"}}, "parameters.fast", "INVALID_REQUEST"),
        ({"parameters": {"speed": 1}}, "parameters.speed", "INVALID_REQUEST"),
        ({"parameters": {"risk_percent": "1e999"}}, "parameters.risk_percent", "INVALID_REQUEST"),
        ({"parameters": {"fast": [1]}}, "parameters.fast", "INVALID_REQUEST"),
        ({"parameters": {"fast": {"n": 1}}}, "parameters.fast", "INVALID_REQUEST"),
        ({"parameters": {"fast": 201 * "1"}}, "parameters.fast", "INVALID_REQUEST"),
        ({"parameters": {"a b": 1}}, "parameters", "INVALID_REQUEST"),
        ({"parameters": [1]}, "parameters", "INVALID_REQUEST"),
        ({"mode": "demo"}, "mode", "INVALID_REQUEST"),
        *[
            ({"capital": capital}, "capital", "INVALID_REQUEST")
            for capital in (0, "0", -5, "1.001", "NaN", "1e40", "much", "", True, [1], 1e-9, 10**400)
        ],
        ({"run": True}, "run", "INVALID_REQUEST"),
    ],
    ids=str,
)
async def test_bad_values_are_refused_by_field(api: Api, over: Any, field: str, code: str) -> None:
    answer, error = await api.send("PUT", f"{PATH}/macd-tcs", MACD | over)

    assert (answer.status, error["error"]["code"]) == (400, code)
    assert error["error"]["details"]["field"] == field
    assert "\n" not in error["error"]["message"]
    assert list(await api.ports.strategies.rows()) == []


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", {}, {"kind": "macd"}, {"parameters": {"a": [1]}}])
async def test_bad_bodies_are_refused(api: Api, body: Any) -> None:
    answer, error = await api.send("PUT", f"{PATH}/macd-tcs", body)

    assert (answer.status, error["error"]["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("name", ["a%20b", "-macd", "x" * 65, "%00", "..%2f"])
async def test_bad_names_are_refused(api: Api, name: str) -> None:
    put, error = await api.send("PUT", f"{PATH}/{name}", MACD)
    start, unknown = await api.send("POST", f"{PATH}/{name}/start")

    assert put.status in (400, 404)
    assert error["error"]["code"] in ("INVALID_REQUEST", "NOT_FOUND")
    assert (start.status, unknown["error"]["code"]) == (404, "NOT_FOUND")
    assert list(await api.ports.strategies.rows()) == []


async def test_unknown_ones_and_bad_headers_are_refused(api: Api) -> None:
    for step in ("start", "stop"):
        answer, error = await api.send("POST", f"{PATH}/macd-tcs/{step}")
        assert (answer.status, error["error"]["code"]) == (404, "NOT_FOUND")
    for header in ("X-Operator", "X-Client-Id"):
        answer, error = await api.send("PUT", f"{PATH}/macd-tcs", MACD, {header: "a b"})
        assert (answer.status, error["error"]["details"]) == (400, {"field": header})
    answer, _ = await api.send("GET", PATH, None, {"Authorization": "Bearer wrong"})
    assert answer.status == 401


async def test_one_of_a_file_is_started_and_stopped_but_not_changed_over_http(api: Api) -> None:
    await api.ports.strategies.put(
        "mine",
        kind="/srv/pulse/mine.py:Mine",
        instruments=(Instrument.parse("NSE:TCS"),),
        parameters={"n": 1},
        mode=StrategyMode.PAPER,
        changed_by="asha",
    )

    _, started = await api.send("POST", f"{PATH}/mine/start")
    _, stopped = await api.send("POST", f"{PATH}/mine/stop")
    changed, error = await api.send(
        "PUT", f"{PATH}/mine", {"kind": "/srv/pulse/mine.py:Mine", "instruments": ["NSE:TCS"]}
    )

    assert (started["wanted"], stopped["wanted"]) == ("RUNNING", "STOPPED")
    assert (changed.status, error["error"]["details"]["field"]) == (400, "kind")
    assert "pulse strategy add" in error["error"]["message"]
