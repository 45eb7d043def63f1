"""Operators at the command line of a running all-in-one."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import Up, pulse_up, wait_until


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with pulse_up() as running:
        yield running


def unsent(up: Up, order_id: str) -> int:
    shown: Any = up.json("order", "show", order_id)
    found: int = shown["order"]["quantities"]["unsent"]
    return found


def test_order_is_paused_and_resumed(up: Up) -> None:
    placed = up.json(
        "order", "place", "NSE:TCS", "buy", "30", "--splits", "30", "--minutes", "1", "--no-randomize"
    )
    order_id = placed["order_id"]
    wait_until(lambda: 0 < unsent(up, order_id) < 30, 30, "the first slices were not sent")

    paused = up.run("order", "pause", order_id, "--by", "asha")
    assert (paused.returncode, paused.stderr) == (0, "")
    assert up.run("order", "pause", order_id).returncode == 0, "asking twice is asking once"
    assert up.json("order", "show", order_id)["order"]["paused"] is True
    assert "until it is resumed" in up.run("order", "show", order_id).stdout
    left = unsent(up, order_id)
    assert left > 0
    resumed = up.json("order", "resume", order_id, "--by", "asha")
    assert resumed["paused"] is False
    wait_until(lambda: unsent(up, order_id) < left, 30, "it did not go on")


def test_reconcile_shows_that_all_is_well(up: Up) -> None:
    wait_until(lambda: up.json("reconcile")["book"] is not None, 30, "the order book was not read")

    shown = up.run("reconcile")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("trading: goes on\norder book: read ")
    assert "that we do not know: none" in shown.stdout
    assert "executions in doubt: none" in shown.stdout


def test_confirmed_reconcile_ends_a_halt_and_says_who(up: Up) -> None:
    token = up.run("token", "--scope", "admin").stdout.strip()
    httpx.post(
        f"{up.url}/api/trading/halt", json={"reason": "a test"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert "halted by demo" in up.run("reconcile").stdout

    done = up.run("reconcile", "--confirm", "--reason", "all compared", "--by", "asha")

    assert (done.returncode, done.stdout) == (0, "trading: goes on\n")
    trading = up.json("reconcile")["trading"]
    assert (trading["halted"], trading["changed_by"], trading["reason"]) == (False, "asha", "all compared")


def test_what_is_not_in_doubt_is_not_resolved(up: Up) -> None:
    placed = up.json("order", "place", "NSE:INFY", "buy", "1")
    up.run("order", "watch", placed["order_id"])

    refused = up.run("order", "resolve", placed["order_id"], "--absent", "--note", "a test")
    unknown = up.run("order", "resolve", "exe_" + "0" * 26 + "_1_0", "--absent")
    done = up.run("order", "pause", placed["order_id"])

    assert refused.returncode == unknown.returncode == done.returncode == 1
    assert refused.stderr.startswith("NOT_RESOLVABLE: no execution is in doubt")
    assert unknown.stderr.startswith("NOT_FOUND: ")
    assert done.stderr.startswith("NOT_PAUSABLE: ")


def test_wrong_token_and_closed_port_are_one_line(up: Up) -> None:
    secrets = json.loads((up.folder / "state/secrets.json").read_text())
    up.environ["PULSE_SERVICE_TOKEN"] = "wrong-token-of-sixteen"
    try:
        wrong = up.run("reconcile")
    finally:
        del up.environ["PULSE_SERVICE_TOKEN"]
    closed = up.run("reconcile", "--pulse-url", "http://127.0.0.1:9")

    assert (wrong.returncode, closed.returncode) == (1, 1)
    assert wrong.stderr.startswith("UNAUTHORIZED: ")
    assert closed.stderr.startswith("UNREACHABLE: ")
    assert "--pulse-url" in closed.stderr
    for done in (wrong, closed):
        assert len(done.stderr.splitlines()) == 1
        assert secrets["service_token"] not in done.stderr
