"""`pulse simulate` as a process of its own, on a port of its own, with a journal of its own."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from kiteconnect import KiteConnect

API_KEY = "simulator"
API_SECRET = "simulator-secret"
_START_S = 30


class SimulatorProcess:
    """A face of the simulator. Killed and started again, it finds its journal and its port again.

    Without `delays` everything takes no time and the clock is right; without `limits` any rate is fine.
    """

    face = ""

    def __init__(
        self, folder: Path, *more: str, seed: int = 7, delays: bool = False, limits: bool = False
    ) -> None:
        self._folder = folder
        self._options = [
            "--seed", str(seed), "--state", str(folder / "state"),
            "--delays" if delays else "--no-delays", "--limits" if limits else "--no-limits", *more,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.url = ""

    def start(self) -> Self:
        log = self._folder / "simulator.log"
        began = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            command = [sys.executable, "-c", "import sys; from pulse.cli import main; sys.exit(main())"]
            self._process = subprocess.Popen(
                [*command, "simulate", self.face, "--port", str(self._port), *self._options],
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"REST +(http://\S+:(\d+))", log.read_text()[began:]):
                self.url, self._port = found[1], int(found[2])
                return self
            time.sleep(0.02)
        raise AssertionError(f"the simulator did not start:\n{log.read_text()}")

    def kill(self) -> None:
        """As a power cut would, for the process at least."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        if self._process is None:
            return 0
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(10)
        self._process.kill()
        return self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def control(self, method: str, path: str = "", body: Any = None) -> Any:
        """Ask under /_simulator."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_simulator{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def fault(self, kind: str, **more: Any) -> None:
        self.control("POST", "/faults", {"rules": [{"kind": kind, **more}]})

    def pin(
        self, instrument: str, price: str, bid: str | None = None, ask: str | None = None, **more: Any
    ) -> None:
        """Set a price by hand, so that it stays."""
        self.control(
            "POST", "/prices", {"instrument": instrument, "last_price": price, "bid": bid, "ask": ask, **more}
        )

    def book(self) -> list[dict[str, Any]]:
        """Every order as it truly is."""
        answer = self.control("GET", "/book")
        assert answer["balanced"]
        orders: list[dict[str, Any]] = answer["orders"]
        return orders


class KiteProcess(SimulatorProcess):
    face = "kite"

    def __init__(self, folder: Path, *more: str, **options: Any) -> None:
        super().__init__(folder, *more, **options)
        self._clients: list[KiteConnect] = []

    def stop(self) -> int:
        for client in self._clients:
            client.reqsession.close()
        return super().stop()

    @property
    def ticker_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def access_token(self) -> str:
        token: str = self.control("POST", "/access-token")["access_token"]
        return token

    def client(self, *, timeout: float = 5) -> KiteConnect:
        """The broker's own client, logged in."""
        return self.client_of(self.access_token(), timeout=timeout)

    def client_of(self, token: str, *, timeout: float = 5) -> KiteConnect:
        client = KiteConnect(API_KEY, token, root=self.url, timeout=timeout)
        self._clients.append(client)
        return client


def eventually(check: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Wait until something is true and give it."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
    return found
