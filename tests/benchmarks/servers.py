"""Processes and servers for benchmarks: real ones, each on its own port."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(
    module: str, *args: str, env: Mapping[str, str], ready_url: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m module` until the block ends; enter the block once the address answers."""
    running = subprocess.Popen([sys.executable, "-m", module, *args], env={**os.environ, **env})
    try:
        deadline = time.monotonic() + 30
        while not _answers(ready_url):
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{module} did not start")
            time.sleep(0.05)
        yield running
    finally:
        running.terminate()
        running.wait(30)


@contextmanager
def processes(commands: Sequence[Sequence[str]], env: Mapping[str, str]) -> Iterator[None]:
    """Run commands until the block ends."""
    running = [subprocess.Popen(command, env={**os.environ, **env}) for command in commands]
    try:
        yield
    finally:
        for each in running:
            each.terminate()
        for each in running:
            each.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
