"""The stub of a broker and its workers, as a benchmark starts and asks them."""

import asyncio
import json
import sys
import time
import urllib.request
from contextlib import AbstractContextManager
from typing import Any

from tests.benchmarks.servers import process

_PATIENCE_S = 60.0


def stub_broker(port: int, wire: str = "stub_broker") -> AbstractContextManager[Any]:
    return process(f"tests.benchmarks.{wire}", str(port), env={}, ready_url=f"http://127.0.0.1:{port}/")


def stub_worker(broker_port: int) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.stub_worker", str(broker_port)]


class StubDesk:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/{path}") as answer:
            return json.load(answer)

    async def ready(self, workers: int) -> None:
        """Every process reads the broker's book once before it sends, and the leader once more."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.ask("")["reads"] < workers + 1:
            assert time.monotonic() < deadline, "the workers do not start"
            await asyncio.sleep(0.1)
