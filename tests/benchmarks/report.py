"""What every benchmark ends with."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def report(bench: str, ratios: Mapping[str, float], figures: Mapping[str, Any]) -> None:
    """Print the one JSON object that is a benchmark's last line."""
    rounded = {name: round(value, 3) for name, value in ratios.items()}
    print(json.dumps({"bench": bench, "ratios": rounded, "figures": figures}), flush=True)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
