"""How `pulse up` ends, and what is there when it starts again."""

import signal
from pathlib import Path

from tests.acceptance.conftest import Up, pulse_up, wait_until


def processes_mentioning(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


def test_ctrl_c_ends_with_0_and_leaves_nothing_running() -> None:
    with pulse_up() as up:
        folder = up.folder
        up.run("order", "place", "NSE:TCS", "buy", "10", "--splits", "2", "--minutes", "60")
        up.process.send_signal(signal.SIGINT)

        assert up.process.wait(30) == 0
        wait_until(lambda: not processes_mentioning(str(folder)), 10, "a process is left")
        assert not (folder / "state/endpoint.json").exists()
        log = up.log.read_text()
        assert "Traceback" not in log


def test_state_survives_a_kill_and_orders_go_on() -> None:
    with pulse_up() as up:
        placed = up.json("order", "place", "NSE:TCS", "buy", "10", "--splits", "2", "--minutes", "1")[
            "order_id"
        ]
        wait_until(
            lambda: up.json("order", "show", placed)["order"]["quantities"]["filled"] > 0,
            30,
            "the first slice was not filled",
        )
        up.process.kill()
        up.process.wait(10)
        wait_until(lambda: not processes_mentioning(str(up.folder)), 15, "a process is left after kill -9")

        again = Up(up.folder)
        try:
            watched = again.run("order", "watch", placed)
            shown = again.json("order", "show", placed)
        finally:
            again.process.send_signal(signal.SIGINT)
            again.process.wait(30)

    assert watched.returncode == 0, watched.stdout
    executions = [e for s in shown["slices"] for e in s["executions"]]
    assert [(e["status"], e["attempt"], len(e["fills"])) for e in executions] == [("FILLED", 1, 1)] * 2
