"""Load over keep-alive connections: wrk where it is installed, else a generator of our own.

Both send one prepared request after the other on each connection and count what comes back.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

_LUA = """
local n, id, threads = 0, 0, 0
function setup(thread) thread:set("id", threads) threads = threads + 1 end
wrk.method = "POST"
%(headers)s
request = function()
  n = n + 1
  return wrk.format(nil, nil, nil, (string.gsub([==[%(body)s]==], "@KEY@", "%(prefix)s-" .. id .. "-" .. n)))
end
done = function(summary, latency, requests)
  io.write(string.format('JSON{"requests":%%d,"errors":%%d,"seconds":%%f,"p50_ms":%%f,"p99_ms":%%f}\\n',
    summary.requests, summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class Load(Struct, frozen=True, kw_only=True):
    """errors: answers that are not 2xx, and connections that failed."""

    requests: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_s(self) -> float:
        return (self.requests - self.errors) / self.seconds


class Target(Struct, frozen=True, kw_only=True):
    """body: JSON, in which @KEY@ becomes a key of its own for each request."""

    host: str
    port: int
    path: str
    headers: Mapping[str, str]
    body: str


def run_load(target: Target, prefix: str, *, connections: int, seconds: int) -> Load:
    """Post to a target for some seconds; `prefix` makes the keys of this run unique."""
    if shutil.which("wrk"):
        return _wrk(target, prefix, connections, seconds)
    command = [sys.executable, "-m", "tests.benchmarks.load", str(connections), str(seconds), prefix]
    done = subprocess.run(command, input=msgspec.json.encode(target), capture_output=True, check=True)
    return msgspec.json.decode(done.stdout, type=Load)


def _wrk(target: Target, prefix: str, connections: int, seconds: int) -> Load:
    headers = "\n".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in target.headers.items())
    script = _LUA % {"headers": headers, "body": target.body, "prefix": prefix}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "post.lua"
        path.write_text(script)
        url = f"http://{target.host}:{target.port}{target.path}"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(path), url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"JSON(\{.*\})", output)
    assert found, output
    return msgspec.json.decode(found[1], type=Load)


async def _generate(target: Target, prefix: str, connections: int, seconds: float) -> Load:
    latencies: list[float] = []
    errors = 0
    began = time.perf_counter()
    headers = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    head = f"POST {target.path} HTTP/1.1\r\nHost: {target.host}\r\n{headers}Content-Length: "

    async def one(number: int) -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection(target.host, target.port)
        count = 0
        while time.perf_counter() - began < seconds:
            count += 1
            body = target.body.replace("@KEY@", f"{prefix}-{number}-{count}")
            sent = time.perf_counter()
            writer.write(f"{head}{len(body)}\r\n\r\n{body}".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            latencies.append(time.perf_counter() - sent)
            errors += not answer.startswith(b"HTTP/1.1 2")
        writer.close()

    await asyncio.gather(*(one(number) for number in range(connections)))
    latencies.sort()
    return Load(
        requests=len(latencies),
        errors=errors,
        seconds=time.perf_counter() - began,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
    )


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=Target)
    result = uvloop.run(_generate(wanted, sys.argv[3], int(sys.argv[1]), float(sys.argv[2])))
    sys.stdout.buffer.write(msgspec.json.encode(result))
