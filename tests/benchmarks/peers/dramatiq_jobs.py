"""Dramatiq: jobs in Redis that note when they ran, and nothing else.

Its own command line runs them; run as a module with a count, this one sends them.
"""

import os
import struct
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))
_opened: dict[int, int] = {}


def _note_file() -> int:
    pid = os.getpid()
    if pid not in _opened:
        path = os.path.join(os.environ["NOTES"], str(pid))
        _opened[pid] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return _opened[pid]


@dramatiq.actor
def noop() -> None:
    os.write(_note_file(), struct.pack("d", time.time()))


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        noop.send()
