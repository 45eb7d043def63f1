"""How fast the simulator takes orders, each on disk before its answer; and what its journal costs.

Orders go over HTTP to a process of its own, on kept connections. The journal is measured by itself next to
an append-only file that is flushed the same way, many entries at a time, and next to no file at all.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pulse_adapters.simulator.journal import Journal
from tests.benchmarks.report import median, report

CONNECTIONS, ORDERS, ROUNDS = 50, 6_000, 3
ENTRIES, WRITERS = 20_000, 50
ENTRY = b"x" * 220
FORM = "exchange=NSE&tradingsymbol=INFY&transaction_type=BUY&order_type=LIMIT&product=MIS&quantity=1&price={}"


class FlushedFile:
    """An append-only file with the journal's group commit, for comparison."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def write(self, entry: bytes) -> None:
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((len(entry).to_bytes(4) + entry, flushed))
        if self._flush is None:
            self._flush = asyncio.create_task(self._write_all())
        await flushed

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await asyncio.to_thread(self._put, b"".join(entry for entry, _ in batch))
            for _, flushed in batch:
                flushed.set_result(None)
        self._flush = None

    def _put(self, entries: bytes) -> None:
        self._file.write(entries)
        os.fdatasync(self._file.fileno())


async def entries_a_second(write: Callable[[bytes], Awaitable[None]]) -> float:
    async def writer() -> None:
        for _ in range(ENTRIES // WRITERS):
            await write(ENTRY)

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    return ENTRIES / (time.perf_counter() - began)


async def journals(folder: Path) -> dict[str, float]:
    sqlite, plain = [], []
    for number in range(ROUNDS):
        journal = Journal(folder / f"{number}.db")

        async def write(entry: bytes, journal: Journal = journal) -> None:
            await journal.durable(journal.append("venue", entry))

        sqlite.append(await entries_a_second(write))
        journal.close()
        plain.append(await entries_a_second(FlushedFile(folder / f"{number}.log").write))
    return {"sqlite": median(sqlite), "flushed_file": median(plain)}


class Process:
    def __init__(self, folder: Path) -> None:
        self.log = folder / "simulator.log"
        self.state = folder / "state"

    def start(self) -> tuple[str, int, float]:
        began = time.perf_counter()
        self.log.write_bytes(b"")
        with self.log.open("ab") as out:
            command = [sys.executable, "-c", "import sys; from pulse.cli import main; sys.exit(main())"]
            options = ["--port", "0", "--seed", "1", "--no-delays", "--no-limits", "--state", str(self.state)]
            self.process = subprocess.Popen([*command, "simulate", "kite", *options], stdout=out, stderr=out)
        while not (found := re.search(r"REST +http://(\S+):(\d+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)
        return found[1], int(found[2]), time.perf_counter() - began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def place(host: str, port: int, token: str, price: str, count: int, times: list[float]) -> None:
    """Orders one after another on one connection; the least of a client, so that it costs little itself."""
    reader, writer = await asyncio.open_connection(host, port)
    body = FORM.format(price).encode()
    request = (
        f"POST /orders/regular HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: token simulator:{token}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    for _ in range(count):
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        answer = await reader.readexactly(int(length[1]))
        assert b'"order_id"' in answer, answer
        times.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="simulator-"))
    try:
        rates = await journals(folder)
        print(f"journal alone, entries/s: {rates}", flush=True)
        figures: dict[str, Any] = {f"journal_{name}_per_s": round(rate) for name, rate in rates.items()}
        for name, price in (("resting", "1000"), ("filling", "1900")):
            orders: list[float] = []
            p99: list[float] = []
            for number in range(ROUNDS):
                inner = folder / f"{name}{number}"
                inner.mkdir()
                process = Process(inner)
                host, port, _ = process.start()
                token = _access_token(host, port)
                times: list[float] = []
                each = ORDERS // CONNECTIONS
                began = time.perf_counter()
                await asyncio.gather(
                    *(place(host, port, token, price, each, times) for _ in range(CONNECTIONS))
                )
                orders.append(len(times) / (time.perf_counter() - began))
                p99.append(sorted(times)[int(len(times) * 0.99)] * 1000)
                process.kill()
                *_, restart_s = process.start()
                process.kill()
            figures[f"{name}_orders_per_s"] = round(median(orders))
            figures[f"{name}_p99_ms"] = round(median(p99), 1)
            figures[f"{name}_restart_s"] = round(restart_s, 2)
            print(f"{name}: {figures}", flush=True)
        report("simulator", {"journal": rates["sqlite"] / rates["flushed_file"]}, figures)
    finally:
        shutil.rmtree(folder)


def _access_token(host: str, port: int) -> str:
    request = urllib.request.Request(f"http://{host}:{port}/_simulator/access-token", method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        token: str = json.load(answer)["access_token"]
        return token


if __name__ == "__main__":
    asyncio.run(main())
