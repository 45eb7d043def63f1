"""`pulse order watch` as a user runs it."""

import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.integration.cli.conftest import Run, error_line
from tests.integration.cli.fake_gateway import FakeGateway

Start = Callable[[str], subprocess.Popen[str]]


def test_filled_order_ends_with_0(pulse: Run, gateway: FakeGateway) -> None:
    gateway.add("ord_1")

    done = pulse("order watch ord_1")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 8 + 1
    assert lines[3] == (
        "2026-01-05 09:15:00.250+05:30 #4 execution_accepted slice=1 chunk=0 broker_order_id=B1"
    )
    assert lines[-1] == "ord_1 FILLED: 120 of 120 filled at 3787.05"


@pytest.mark.parametrize("state", ["PARTIALLY_FILLED", "CANCELLED", "REJECTED", "UNRESOLVED"])
def test_order_that_was_not_filled_ends_with_3(pulse: Run, gateway: FakeGateway, state: str) -> None:
    gateway.final_state, gateway.filled_slices = state, 1
    gateway.add("ord_1")

    done = pulse("order watch ord_1")

    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.splitlines()[-1] == f"ord_1 {state}: 60 of 120 filled at 3787.05, 60 cancelled"


def test_json_is_one_row_a_line_and_the_order_last(pulse: Run, gateway: FakeGateway) -> None:
    order = gateway.add("ord_1")

    done = pulse("order watch ord_1 --json")

    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [*gateway.journal, order]


def test_cut_stream_loses_and_repeats_nothing(pulse: Run, gateway: FakeGateway) -> None:
    order = gateway.add("ord_1")
    gateway.cuts.extend([3, 2])

    done = pulse("order watch ord_1 --json")

    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [*gateway.journal, order]
    assert gateway.streams == [None, "3", "5"]
    assert all(line.startswith("the connection is lost, trying again") for line in done.stderr.splitlines())


def test_order_done_while_the_stream_was_away_is_still_shown(pulse: Run, gateway: FakeGateway) -> None:
    order = gateway.add("ord_1")
    gateway.cuts.extend([8])

    assert json.loads(pulse("order watch ord_1 --json").stdout.splitlines()[-1]) == order

    gateway.cuts.extend([8])
    assert pulse("order watch ord_1").stdout.splitlines()[-1] == "ord_1 FILLED: 120 of 120 filled at 3787.05"


def test_placed_order_can_be_watched_at_once(pulse: Run, gateway: FakeGateway) -> None:
    gateway.final_state, gateway.filled_slices = "EXPIRED", 0

    done = pulse("order place NSE:TCS buy 120 --watch --json")

    assert (done.returncode, done.stderr) == (3, "")
    first, *rows, last = (json.loads(line) for line in done.stdout.splitlines())
    assert first["order_id"] == last["order_id"]
    assert rows == gateway.journal
    assert last["state"] == "EXPIRED"


def test_ctrl_c_ends_with_130_and_the_order_goes_on(start: Start, gateway: FakeGateway) -> None:
    gateway.holds, gateway.filled_slices = True, 1
    gateway.add("ord_1")
    process = start("order watch ord_1")
    assert process.stdout is not None
    for _ in range(8):
        assert process.stdout.readline()

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 130
    assert said == "the order goes on; watch it again: pulse order watch ord_1\n"


def test_closed_pipe_ends_quietly(start: Start, gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    process = start("order watch ord_1")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()

    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == ""


def test_outage_is_told_in_one_line(pulse: Run, gateway: FakeGateway) -> None:
    gateway.add("ord_1")
    gateway.faults.extend([503] * 3)

    done = pulse("order watch ord_1")

    assert (done.returncode, done.stdout) == (1, "")
    assert error_line(done) == "UPSTREAM_UNAVAILABLE: not now [request_id=r-1]"


def test_terminal_shows_a_live_table_and_leaves_it_with_a_summary(
    on_a_terminal: Callable[[str], tuple[int, str]], gateway: FakeGateway
) -> None:
    gateway.add("ord_1")
    gateway.cuts.extend([5])

    code, written = on_a_terminal("order watch ord_1")

    assert code == 0
    assert "the connection is lost, trying again" in written
    live, _, left = written.rpartition("\x1b[?25h")  # the cursor is shown again
    assert "120/120 at 3787.05" in live
    assert "09:16:00+05:30" in left
    assert "+0.250 s" in left
    assert left.rstrip().splitlines()[-1] == "ord_1 FILLED: 120 of 120 filled at 3787.05"
