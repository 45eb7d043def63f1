"""`pulse order` as a user runs it: the console script, its output and its exit codes."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pulse.state import load_or_create_secrets, write_endpoint
from tests.integration.cli.conftest import Run, error_line
from tests.integration.cli.fake_gateway import CUT, SECRET, FakeGateway

FIRST = "ord_00000000000000000000000001"


def use_secret_of_the_gateway(folder: Path) -> None:
    """Make a state folder whose tokens the gateway takes."""
    load_or_create_secrets(folder)
    path = folder / "secrets.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"jwt_secret": SECRET}))


def test_placed_order_says_its_id_and_the_next_command(pulse: Run, gateway: FakeGateway) -> None:
    done = pulse("order place NSE:TCS buy 120 --splits 6 --minutes 1 --no-randomize --tag t-1")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"accepted: {FIRST}\nnext: pulse order watch {FIRST}\n"
    sent = gateway.orders[FIRST]
    assert sent.pop("order_unique_key").startswith("cli-")
    assert sent == {
        "instrument": "NSE:TCS",
        "side": "BUY",
        "total_quantity": 120,
        "split_config": {"num_splits": 6, "duration_minutes": 1, "randomize": False},
        "strategy_tag": "t-1",
    }


def test_placed_order_as_json_is_the_answer(pulse: Run) -> None:
    done = pulse("order place NSE:TCS SELL 120 --type limit --limit 3700.5 --key k-1 --json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"order_id": FIRST, "order_unique_key": "k-1", "replayed": False}


def test_same_key_again_is_the_same_order(pulse: Run, gateway: FakeGateway) -> None:
    pulse("order place NSE:TCS buy 120 --key k-1")

    done = pulse("order place NSE:TCS buy 120 --key k-1")

    assert done.returncode == 0
    assert done.stdout.startswith(f"accepted before, under the same key: {FIRST}\n")
    assert list(gateway.orders) == [FIRST]


def test_other_order_under_the_same_key_is_refused_in_one_line(pulse: Run) -> None:
    pulse("order place NSE:TCS buy 120 --key k-1")

    done = pulse("order place NSE:TCS buy 60 --key k-1 --json")

    assert (done.returncode, done.stdout) == (1, "")
    assert error_line(done) == (
        f"DUPLICATE_ORDER_UNIQUE_KEY: another order has this key [existing_order_id={FIRST}]"
    )


def test_order_survives_an_outage_and_a_lost_answer(pulse: Run, gateway: FakeGateway) -> None:
    gateway.faults.extend([503, CUT])

    done = pulse("order place NSE:TCS buy 120")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"accepted: {FIRST}\n")
    assert list(gateway.orders) == [FIRST]


def test_order_of_unknown_fate_says_how_to_make_sure(pulse: Run, gateway: FakeGateway) -> None:
    gateway.faults.extend([CUT, CUT, CUT])

    failed = pulse("order place NSE:TCS buy 120")

    assert failed.returncode == 1
    line = error_line(failed)
    assert line.startswith("CONNECTION_LOST: ")
    key = line.rpartition("--key ")[2]
    again = pulse(f"order place NSE:TCS buy 120 --key {key}")
    assert again.stdout.startswith(f"accepted before, under the same key: {FIRST}\n")


def test_key_is_told_before_sending_on_a_terminal(
    on_a_terminal: Callable[[str], tuple[int, str]], gateway: FakeGateway
) -> None:
    code, written = on_a_terminal("order place NSE:TCS buy 120")

    assert code == 0
    assert written.splitlines()[0] == f"key {gateway.orders[FIRST]['order_unique_key']}"


def test_refused_token_is_one_line(pulse: Run) -> None:
    done = pulse("order list", PULSE_TOKEN="someone.elses.token")

    assert (done.returncode, done.stdout) == (1, "")
    assert error_line(done) == "UNAUTHORIZED: the token is not valid"


@pytest.mark.parametrize(
    "line", ["order list", "order place NSE:TCS buy 1", f"order watch {FIRST}", f"order watch {FIRST} --json"]
)
def test_refused_connection_says_where_and_how_to_start(pulse: Run, line: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    done = pulse(line, PULSE_GATEWAY_URL=url)

    assert (done.returncode, done.stdout) == (1, "")
    assert error_line(done).startswith(f"UNREACHABLE: {url} does not answer (Connection refused)")
    assert "`pulse up`" in done.stderr


def test_state_folder_says_where_and_who(pulse: Run, gateway: FakeGateway, tmp_path: Path) -> None:
    use_secret_of_the_gateway(tmp_path / "state")
    write_endpoint(tmp_path / "state", gateway.base_url, f"{gateway.base_url}/pulse")

    done = pulse("order list", PULSE_GATEWAY_URL="", PULSE_TOKEN="")

    assert (done.returncode, done.stdout) == (0, "no orders\n")


def test_token_command_gives_what_the_gateway_takes(pulse: Run, tmp_path: Path) -> None:
    use_secret_of_the_gateway(tmp_path / "state")

    token = pulse("token").stdout.strip()

    assert pulse("order list", PULSE_TOKEN=token).returncode == 0


def test_list_is_newest_first_and_says_how_to_go_on(pulse: Run, gateway: FakeGateway) -> None:
    for number in range(1, 4):
        gateway.add(f"ord_{number}")

    done = pulse("order list --limit 2")

    lines = done.stdout.splitlines()
    assert lines[2:] == [
        "ord_3  2026-01-05 09:15+05:30  BUY 120 NSE:TCS     120  FILLED",
        "ord_2  2026-01-05 09:15+05:30  BUY 120 NSE:TCS     120  FILLED",
        "more: pulse order list --limit 2 --cursor ord_2",
    ]


def test_list_as_json_is_the_answer(pulse: Run, gateway: FakeGateway) -> None:
    order = gateway.add("ord_1")

    assert json.loads(pulse("order list --json").stdout) == {"orders": [order], "next_cursor": None}


def test_show_is_the_order_and_its_slices(pulse: Run, gateway: FakeGateway) -> None:
    gateway.add("ord_1")

    done = pulse("order show ord_1")

    assert (done.returncode, done.stderr) == (0, "")
    assert "state    FILLED: 120 of 120 filled at 3787.05\n" in done.stdout
    assert "2  09:16:00+05:30        60  PROCESSED  FILLED       60  3787.05\n" in done.stdout


def test_show_as_json_is_both_answers(pulse: Run, gateway: FakeGateway) -> None:
    order = gateway.add("ord_1")

    shown = json.loads(pulse("order show ord_1 --json").stdout)

    assert shown["order"] == order
    assert [slice_["seq"] for slice_ in shown["slices"]] == [1, 2]


@pytest.mark.parametrize("command", ["show", "watch", "cancel"])
def test_unknown_order_is_one_line(pulse: Run, command: str) -> None:
    done = pulse(f"order {command} ord_1")

    assert (done.returncode, done.stdout) == (1, "")
    assert error_line(done) == "NOT_FOUND: there is no such order"


def test_cancel_says_where_the_order_stands(pulse: Run, gateway: FakeGateway) -> None:
    gateway.filled_slices = 1
    gateway.add("ord_1")

    done = pulse("order cancel ord_1")

    assert done.returncode == 0
    assert done.stdout == (
        "cancel asked: ord_1 WORKING: 60 of 120 filled at 3787.05, 60 unsent\nnext: pulse order watch ord_1\n"
    )
    assert gateway.paths() == ["POST /api/orders/ord_1/cancel"]


def test_answer_of_another_shape_is_one_line(pulse: Run, gateway: FakeGateway) -> None:
    gateway.faults.extend([b'{"orders": [{}], "next_cursor": null}'])

    done = pulse("order list")

    assert (done.returncode, done.stdout) == (1, "")
    assert error_line(done).startswith("UNEXPECTED_ANSWER: ")


def test_bad_command_line_is_one_line(pulse: Run, gateway: FakeGateway) -> None:
    done = pulse("order place NSE:TCS hold 120")

    assert (done.returncode, done.stdout) == (2, "")
    assert error_line(done).endswith("see pulse order place --help")
    assert gateway.requests == []
