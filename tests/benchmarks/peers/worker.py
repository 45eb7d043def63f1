"""What every worker does around its engine: read its arguments, measure, print one JSON object."""

import argparse
import hashlib
import json
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = tuple[int, int, int, int]


def digest(rows: Iterable[Row]) -> str:
    """Of fills as (microseconds since the epoch, instrument number, signed quantity, price in units)."""
    return hashlib.sha256(b"".join(struct.pack("<4q", *row) for row in rows)).hexdigest()


def peak_rss_mb() -> float:
    """The peak so far. What the process inherited from the one that started it does not count on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def arguments(**options: Any) -> argparse.Namespace:
    """--parents, and whatever else a worker takes as flags or choices."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parents", type=int, required=True)
    for name, choices in options.items():
        if choices is None:
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", choices=choices, required=True)
    return parser.parse_args()


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def tell(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)
