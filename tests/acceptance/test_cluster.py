"""`pulse up --cluster`: real processes, one of them the exchange, and the promise through kills."""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import Up, order, pulse_up, wait_until

# A minute for the slices, one read of the book after a lost answer, and room for a slow machine.
DONE_S = 100


class Cluster:
    """A running cluster as its operator and its client see it."""

    def __init__(self, up: Up) -> None:
        self.up = up
        token = up.run("token").stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=up.url, headers=headers, timeout=10)

    @property
    def _processes(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.up.folder / "state/cluster/processes.json").read_text())
        return found

    def child(self, name: str) -> dict[str, Any]:
        return next(child for child in self._processes["children"] if child["name"] == name)

    def kill(self, name: str) -> None:
        os.kill(self.child(name)["pid"], signal.SIGKILL)

    def place(self, body: dict[str, Any]) -> str:
        answer = self.client.post("/api/orders", json=body)
        assert answer.status_code == 202, answer.text
        order_id: str = answer.json()["order_id"]
        return order_id

    def show(self, order_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/api/orders/{order_id}").raise_for_status().json()
        return found

    def slices(self, order_id: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"/api/orders/{order_id}/slices").raise_for_status()
        found: list[dict[str, Any]] = answer.json()["slices"]
        return found

    def book(self) -> dict[str, Any]:
        """What the exchange truly holds."""
        found: dict[str, Any] = httpx.get(f"{self._processes['exchange']}/_simulator/book", timeout=10).json()
        return found

    def wait_done(self, order_id: str, seconds: float) -> dict[str, Any]:
        wait_until(
            lambda: self.show(order_id)["done"], seconds, f"{order_id} is not done: {self.up.log.read_text()}"
        )
        return self.show(order_id)

    def processes(self) -> set[int]:
        """The supervisor and everything below it."""
        found = {self.up.process.pid}
        while more := {pid for pid, parent in parents().items() if parent in found} - found:
            found |= more
        return found


@contextmanager
def cluster_up(*options: str) -> Iterator[Cluster]:
    with pulse_up("--cluster", *options) as up:
        cluster = Cluster(up)
        with cluster.client:
            yield cluster


def parents() -> dict[int, int]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":  # ended, and only not waited for yet
            found[int(path.parent.name)] = int(parent)
    return found


def assert_all_end(pids: set[int], seconds: float) -> None:
    wait_until(lambda: not pids & parents().keys(), seconds, "a process is left")


def due_times(slices: list[dict[str, Any]]) -> list[datetime]:
    return [datetime.fromisoformat(each["scheduled_at"]) for each in slices]


def sleep_until(instant: datetime) -> None:
    time.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))


@pytest.mark.parametrize("broker", ["zerodha", "kotak"])
def test_orders_complete_through_kills_of_a_worker_and_of_the_exchange(
    monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    # This exchange lists an order at once, so absence is proven soon, and what was lost is sent in time.
    monkeypatch.setenv("UNKNOWN_SETTLE_SECONDS", "4")
    monkeypatch.setenv("BROKER_TYPE", broker)
    with cluster_up("--workers", "2", "--seed", "7") as cluster:
        first = cluster.place(order("cluster-1", total_quantity=60))
        second = cluster.place(
            order("cluster-2", total_quantity=90, instrument="NSE:INFY", side="SELL", product="MIS")
        )
        orders = (first, second)
        wait_until(lambda: all(cluster.slices(each) for each in orders), 20, "an order was not split")
        due = due_times(cluster.slices(first))

        # Between two slices a worker dies; the next ones are the other's.
        sleep_until(due[1] + (due[2] - due[1]) / 2)
        cluster.kill("worker-1")
        # The exchange dies while slices are on their way to it.
        sleep_until(due[3])
        cluster.kill("exchange")

        shown = {each: cluster.wait_done(each, DONE_S) for each in orders}
        slices = {each: cluster.slices(each) for each in orders}
        book = cluster.book()
        restarts = {name: cluster.child(name)["restarts"] for name in ("worker-1", "worker-2", "exchange")}
        below = cluster.processes()
        cluster.up.process.terminate()
        assert cluster.up.process.wait(60) == 0
        assert_all_end(below, 10)
        log = cluster.up.log.read_text()
        secrets = json.loads((cluster.up.folder / "state/secrets.json").read_text())
        secrets["postgres"] = (cluster.up.folder / "state/cluster/postgres/password").read_text().strip()

    assert len(below) > 10, "guards and servers are among them"
    assert restarts == {"worker-1": 1, "worker-2": 0, "exchange": 1}
    assert [shown[each]["state"] for each in orders] == ["FILLED", "FILLED"]
    assert [shown[each]["quantities"]["filled"] for each in orders] == [60, 90]
    assert_nothing_is_doubled(book, slices)
    assert "Traceback" not in log
    # The hook's secret is shown, as a part of its address.
    assert not [name for name, secret in secrets.items() if secret in log and name != "webhook_secret"]


def assert_nothing_is_doubled(book: dict[str, Any], slices: dict[str, list[dict[str, Any]]]) -> None:
    """By the exchange's own book: one order for each tag, and for a slice never more than its quantity."""
    rows = {tag: row for row in book["orders"] for tag in row["tags"]}
    placed = Counter(tag for row in book["orders"] for tag in row["tags"])
    ours = {
        execution["tag"]: execution
        for each in slices.values()
        for one in each
        for execution in one["executions"]
    }
    assert book["balanced"]
    assert placed == dict.fromkeys(ours, 1)
    for each in slices.values():
        for one in each:
            at_exchange = sum(rows[execution["tag"]]["filled"] for execution in one["executions"])
            assert at_exchange == one["quantity"]


def test_a_state_folder_is_used_again_and_kill_9_of_the_supervisor_leaves_nothing_behind() -> None:
    with cluster_up("--workers", "1") as cluster:
        folder = cluster.up.folder
        one = {"order_unique_key": "once", "instrument": "NSE:TCS", "side": "BUY", "total_quantity": 5}
        placed = cluster.place(one)
        assert cluster.wait_done(placed, 30)["state"] == "FILLED"
        book = cluster.book()
        below = cluster.processes()
        cluster.up.process.send_signal(signal.SIGINT)
        assert cluster.up.process.wait(60) == 0
        assert_all_end(below, 10)
        assert not (folder / "state/endpoint.json").exists()
        assert not (folder / "state/cluster/processes.json").exists()

        again = Cluster(Up(folder, "--cluster", "--workers", "1"))
        with again.client:
            assert again.place(one) == placed, "the same key is the same order"
            next_one = again.place(one | {"order_unique_key": "twice"})
            assert again.wait_done(next_one, 30)["state"] == "FILLED"
            assert again.book()["orders"][0] == book["orders"][0]
            below = again.processes()
            again.up.process.kill()
            again.up.process.wait(10)
            assert_all_end(below, 20)


@pytest.mark.parametrize("broker", ["zerodha", "kotak"])
def test_a_strategy_runs_beside_the_workers_on_the_prices_of_the_exchange(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_TYPE", broker)
    with cluster_up("--workers", "1", "--strategy", "macd:NSE:TCS") as cluster:
        figures = re.findall(r"http://127\.0\.0\.1:\d+/metrics", cluster.up.log.read_text())[-1]

        def prices_came() -> bool:
            try:
                page = httpx.get(figures, timeout=2).text
            except httpx.HTTPError:
                return False
            found = re.search(r"^feed_ticks_total (\S+)", page, re.MULTILINE)
            return found is not None and float(found[1]) > 0

        def runs() -> bool:
            [row] = cluster.up.json("strategy", "list")["strategies"]
            return bool(row["state"] == "RUNNING")

        wait_until(prices_came, 60, f"no prices: {cluster.up.log.read_text()}")
        assert runs()

        killed = cluster.child("market")["pid"]
        cluster.kill("market")
        wait_until(lambda: cluster.child("market")["pid"] not in (None, killed), 60, "it is not started again")
        wait_until(prices_came, 60, f"no prices any more: {cluster.up.log.read_text()}")
        assert runs()
