"""The three services as processes on a real Postgres and Redis, spoken to over HTTP only."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis

SERVICE_TOKEN = "acceptance-service-token"
JWT_SECRET = "acceptance-secret-of-32-bytes-or-more"
HOOK_SECRET = "acceptance-hook-secret"
HOOK = {
    "name": "tests",
    "client_id": "hook",
    "secret": HOOK_SECRET,
    "default_split": {"num_splits": 6, "duration_minutes": 1},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def bearer(client: str = "desk-1", scope: str = "orders:read orders:write", **claims: Any) -> dict[str, str]:
    payload = {"sub": client, "scope": scope, "exp": int(time.time()) + 3600, **claims}
    return {"Authorization": f"Bearer {jwt.encode(payload, JWT_SECRET, algorithm='HS256')}"}


class Services:
    """gapi, pulse_api and pulse_background; each can be killed and started again on its port."""

    def __init__(self, dsn: str, redis_url: str, folder: Path, **extra: str) -> None:
        self.gapi_port, self.pulse_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.gapi_port}"
        self.log = folder / "services.log"
        self._environ = {
            **os.environ,
            "DATABASE_URL": dsn,
            "REDIS_URL": redis_url,
            "PULSE_SERVICE_TOKEN": SERVICE_TOKEN,
            "PULSE_API_PORT": str(self.pulse_port),
            "PULSE_URL": f"http://127.0.0.1:{self.pulse_port}",
            "GAPI_PORT": str(self.gapi_port),
            "GAPI_JWT_SECRETS": JWT_SECRET,
            "GAPI_WEBHOOK_HOOKS": json.dumps([HOOK]),
            **extra,
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.client = httpx.Client(base_url=self.url, headers=bearer(), timeout=10)

    def start(self, *names: str) -> None:
        for name in names or ("pulse_api", "gapi", "pulse_background"):
            with self.log.open("ab") as log:
                command = [sys.executable, "-m", name]
                self.running[name] = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)
        for name, port in (("pulse_api", self.pulse_port), ("gapi", self.gapi_port)):
            if name in self.running:
                wait_until(lambda port=port: self._answers(port), 30, f"{name} did not start")

    def _answers(self, port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running.pop(name).wait(10)

    def stop(self) -> dict[str, int]:
        """End all as an operator would; their exit codes."""
        for process in self.running.values():
            process.terminate()
        codes = {name: process.wait(30) for name, process in self.running.items()}
        self.running.clear()
        return codes

    def close(self) -> None:
        self.client.close()
        for process in self.running.values():
            process.kill()
            process.wait(10)

    def place(self, key: str, **over: Any) -> httpx.Response:
        return self.client.post("/api/orders", json=order(key, **over))

    def show(self, order_id: str) -> dict[str, Any]:
        """The order; asks again while the gateway is away."""
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = self.client.get(f"/api/orders/{order_id}")
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()
                    return found
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"{order_id} cannot be shown: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def wait_done(self, order_id: str, seconds: float) -> dict[str, Any]:
        wait_until(lambda: self.show(order_id)["done"], seconds, f"{order_id} is not done")
        return self.show(order_id)

    def slices(self, order_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get(f"/api/orders/{order_id}/slices").json()["slices"]
        return found


def order(key: str, **over: Any) -> dict[str, Any]:
    return {
        "order_unique_key": key,
        "instrument": "NSE:TCS",
        "side": "BUY",
        "total_quantity": 60,
        "split_config": {"num_splits": 6, "duration_minutes": 1},
    } | over


def wait_until(condition: Any, seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server of the module's own, which its tests may stop; DATABASE_URL is left alone."""
    with EmbeddedPostgres.start(None, durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def own_redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis.start() as server:
        yield server


def migrate(dsn: str) -> None:
    environ: Mapping[str, str] = {**os.environ, "DATABASE_URL": dsn}
    command = [sys.executable, "-m", "pulse_adapters.postgres.migrate"]
    subprocess.run(command, env=environ, check=True, timeout=60)


@pytest.fixture(scope="module")
def services(
    own_postgres: EmbeddedPostgres, own_redis: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    migrate(own_postgres.dsn)
    made = Services(own_postgres.dsn, own_redis.url, tmp_path_factory.mktemp("services"))
    try:
        made.start()
        yield made
    finally:
        made.close()


PULSE = str(Path(sys.executable).with_name("pulse"))


class Up:
    """A running `pulse up` and the command line beside it."""

    def __init__(self, folder: Path, *options: str, **extra: str) -> None:
        self.folder = folder
        self.environ = {
            **{k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")},
            "PULSE_STATE_DIR": str(folder / "state"),
            **extra,
        }
        self.log = folder / "up.log"
        with self.log.open("wb") as log:
            command = [PULSE, "up", "--port", "0", *options]
            self.process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        wait_until(self._is_up, 60, f"pulse up did not start: {self.log.read_text()}")
        self.url = json.loads(self._endpoint.read_text())["base_url"]

    @property
    def _endpoint(self) -> Path:
        return self.folder / "state/endpoint.json"

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return "Pulse is up" in self.log.read_text() and self._endpoint.exists()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PULSE, *arguments], env=self.environ, capture_output=True, text=True, timeout=120
        )

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def webhook(self) -> str:
        secrets = json.loads((self.folder / "state/secrets.json").read_text())
        return f"{self.url}/api/webhooks/tradingview/{secrets['webhook_secret']}"


@contextmanager
def pulse_up(*options: str, **extra: str) -> Iterator[Up]:
    """extra: variables of its environment."""
    # Not under pytest's own folder: as root, Postgres runs as another user and must reach its data.
    folder = Path(tempfile.mkdtemp(prefix="pulse-test-"))
    running = Up(folder, *options, **extra)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            running.process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
