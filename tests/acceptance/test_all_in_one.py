"""`pulse up`: everything in one process, driven by the command line as a person would."""

import json
import os
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import PULSE, Up, pulse_up, wait_until


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with pulse_up() as running:
        yield running


def test_order_placed_and_watched_by_command_line_is_filled(up: Up) -> None:
    placed = up.json("order", "place", "NSE:TCS", "buy", "120", "--splits", "2", "--minutes", "1")

    watched = up.run("order", "watch", placed["order_id"])

    assert watched.returncode == 0, watched.stderr
    assert "FILLED: 120 of 120" in watched.stdout
    assert up.json("order", "show", placed["order_id"])["order"]["state"] == "FILLED"


def test_cancelled_order_stays_unfilled(up: Up) -> None:
    placed = up.json("order", "place", "NSE:INFY", "sell", "10", "--splits", "2", "--minutes", "60")
    wait_until(
        lambda: up.json("order", "show", placed["order_id"])["order"]["quantities"]["filled"] > 0,
        20,
        "the first slice was not filled",
    )

    assert up.run("order", "cancel", placed["order_id"]).returncode == 0
    watched = up.run("order", "watch", placed["order_id"])

    assert watched.returncode == 3
    quantities = up.json("order", "show", placed["order_id"])["order"]["quantities"]
    assert quantities["filled"] + quantities["cancelled"] == 10
    again = up.run("order", "cancel", placed["order_id"])
    assert (again.returncode, again.stderr) == (0, "")


def test_positions_and_ledger_tell_what_orders_came_to(up: Up) -> None:
    tag = "acceptance-1"
    for side, quantity in (("buy", "30"), ("sell", "10")):
        placed = up.json("order", "place", "NSE:SBIN", side, quantity, "--tag", tag, "--product", "mis")
        assert up.run("order", "watch", placed["order_id"]).returncode == 0

    [position] = up.json("positions", "--strategy", tag)["positions"]
    ledger = up.json("ledger", "--strategy", tag)["rows"]
    file = up.folder / "ledger.csv"
    exported = up.run("ledger", "--strategy", tag, "--csv", str(file))
    shown = up.run("positions", "--strategy", tag)

    assert (position["instrument"], position["product"], position["quantity"]) == ("NSE:SBIN", "MIS", 20)
    assert [(row["side"], row["status"], row["filled_quantity"]) for row in ledger] == [
        ("SELL", "TRADED", 10),
        ("BUY", "TRADED", 30),
    ]
    bought, sold = Decimal(ledger[1]["average_price"]), Decimal(ledger[0]["average_price"])
    assert abs(Decimal(position["realised"]) - 10 * (sold - bought)) <= Decimal("0.01")
    assert Decimal(position["charges"]) > 0
    for row in ledger:
        assert (row["metadata"]["status"], row["metadata"]["filled_quantity"]) == ("COMPLETE", row["quantity"])
        assert row["metadata"]["broker_order_id"] == row["exchange_id"]
    assert exported.returncode == 0, exported.stderr
    assert len(file.read_text().splitlines()) == 3
    assert (shown.returncode, "NSE:SBIN" in shown.stdout) == (0, True)


def test_halt_refuses_orders_until_resumed(up: Up) -> None:
    token = up.run("token", "--scope", "admin").stdout.strip()
    with httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {token}"}) as client:
        halted = client.post("/api/trading/halt", json={"reason": "a test"}).json()
        refused = up.run("order", "place", "NSE:TCS", "buy", "1")
        resumed = client.post("/api/trading/resume", json={"reason": "the test is over"}).json()
    accepted = up.run("order", "place", "NSE:TCS", "buy", "1")

    assert (halted["halted"], halted["in_flight"], resumed["halted"]) == (True, [], False)
    assert (refused.returncode, accepted.returncode) == (1, 0)
    assert refused.stderr.splitlines()[-1].startswith("TRADING_HALTED: ")


def test_order_api_is_mounted_for_this_machine_and_wants_the_service_token(up: Up) -> None:
    assert httpx.get(f"{up.url}/pulse/health").json() == {"status": "ok", "service": "pulse_api"}
    assert httpx.get(f"{up.url}/pulse/internal/hello").status_code == 401
    secrets = json.loads((up.folder / "state/secrets.json").read_text())
    headers = {"Authorization": f"Bearer {secrets['service_token']}"}
    assert httpx.get(f"{up.url}/pulse/internal/hello", headers=headers).json() == {
        "message": "Hello from Pulse"
    }
    assert httpx.get(f"{up.url}/pulsex").status_code == 404


def test_secrets_are_in_a_file_for_their_owner_alone_and_in_no_log(up: Up) -> None:
    path = up.folder / "state/secrets.json"
    secrets = json.loads(path.read_text())

    assert path.stat().st_mode & 0o777 == 0o600
    logged = "".join(line for line in up.log.read_text().splitlines() if line.startswith("{"))
    for secret in secrets.values():
        assert secret not in logged


def test_second_start_on_the_same_state_is_refused_in_one_line(up: Up) -> None:
    done = subprocess.run(
        [PULSE, "up", "--port", "0"], env=up.environ, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert up.run("order", "list").returncode == 0, "the first one goes on"


@pytest.mark.parametrize(
    "options",
    [
        ("--feed", "replay:/no/such/file.csv"),
        ("--feed", "nonsense"),
        ("--feed-speed", "0"),
        ("--port", "99999"),
        ("--log-level", "LOUD"),
    ],
)
def test_bad_option_is_one_line_and_exit_code_2(options: tuple[str, ...], tmp_path: Path) -> None:
    environ = {**os.environ, "PULSE_STATE_DIR": str(tmp_path / "state")}

    done = subprocess.run([PULSE, "up", *options], env=environ, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
