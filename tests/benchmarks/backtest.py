"""How fast backtests are: against NautilusTrader and backtesting.py, and against themselves ten times as large.

Every run is a process of its own; runs take turns, and a first round is thrown away. Each process runs a
tiny backtest first, and tells the seconds of its engine and its peak memory up to the end of that run. Imports
and the making of data are not timed. What our side has inside its time and the peers do not: taking columns in
(their frames and bars are ready made) and the hash of all fills. Nothing is compared that is not equal: every
run with orders has to have the fills of the naive reference engine, in ours by the journals of all orders too.

The peers live in environments of their own, see peers/environments.py.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.peers.environments import OURS, Invalid, command, python_of
from tests.benchmarks.report import median, report

SMALL, LARGE = 1_000, 10_000  # parents: ten orders, and 100 bars, for each
ORDERS_EACH, BARS_EACH = 10, 100
ROUNDS, ROUNDS_MIN = 5, 3


@dataclass
class Run:
    """One kind of worker process, and what it told in the counted rounds."""

    name: str
    side: str
    module: str
    options: Sequence[str] = ()
    parents: int = SMALL
    told: list[dict[str, Any]] = field(default_factory=list)

    @property
    def orders(self) -> bool:
        return "bars" not in self.options

    def seconds(self) -> list[float]:
        return [told["seconds"] for told in self.told]

    def rss(self) -> float:
        return median([told["rss_mb"] for told in self.told])


def make_runs() -> dict[str, Run]:
    peers = "tests.benchmarks.peers"
    twap, orders, bars = (("--run", kind) for kind in ("twap", "orders", "bars"))
    runs = [
        Run("nautilus_twap", "nautilus", f"{peers}.nautilus_twap"),
        Run("pulse_twap", OURS, f"{peers}.pulse_run", twap),
        Run("backtesting_py_orders", "backtesting", f"{peers}.backtesting_py", orders),
        Run("pulse_orders", OURS, f"{peers}.pulse_run", orders),
        Run("backtesting_py_bars", "backtesting", f"{peers}.backtesting_py", bars),
        Run("pulse_bars", OURS, f"{peers}.pulse_run", bars),
        Run("pulse_twap_10x", OURS, f"{peers}.pulse_run", twap, LARGE),
    ]
    return {run.name: run for run in runs}


def worker(python: str, module: str, parents: int, *options: str) -> dict[str, Any]:
    output = command(module, [python, "-m", module, "--parents", str(parents), *options])
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return told


def check(run: Run, told: Mapping[str, Any], naive: Mapping[int, Mapping[str, Any]]) -> None:
    """Raises Invalid where a run did not do the work that it was timed for."""
    fills = run.parents * ORDERS_EACH if run.orders else 0
    if told["bars"] != run.parents * BARS_EACH or told["fills"] != fills:
        raise Invalid(f"{run.name} had {told['bars']} bars and {told['fills']} fills instead of {fills}")
    if not run.orders:
        return
    right = naive[run.parents]
    if right["fills"] != fills:
        raise Invalid(f"the naive engine had {right['fills']} fills instead of {fills}")
    for name in ("digest", "history_digest"):
        if told.get(name, right["digest"]) != right["digest"]:
            raise Invalid(f"the {name} of {run.name} is not that of the naive engine's fills")


def measure(runs: Mapping[str, Run], rounds: int) -> dict[str, Any]:
    """Fill in what the runs told; the first round's, which alone builds and folds all histories, is given."""
    pythons = {side: python_of(side) for side in {run.side for run in runs.values()} | {OURS}}
    naive = {size: worker(pythons[OURS], "tests.benchmarks.naive_backtest", size) for size in (SMALL, LARGE)}
    first: dict[str, Any] = {}
    for number in range(rounds + 1):
        for run in runs.values():
            checks = ("--check",) if number == 0 and run.side == OURS else ()
            told = worker(pythons[run.side], run.module, run.parents, *run.options, *checks)
            check(run, told, naive)
            if number == 0:
                first[run.name] = told
            else:
                run.told.append(told)
        print(f"round {number}" + (", not counted" if number == 0 else ""), flush=True)
    return first


def show(run: Run) -> None:
    seconds = run.seconds()
    print(
        f"{run.name:22} {median(seconds):8.4f} s  ({min(seconds):.4f} to {max(seconds):.4f})"
        f" {run.parents * BARS_EACH / median(seconds):12,.0f} bars/s {run.rss():6.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-backtest")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"counted ones, {ROUNDS_MIN} or more")
    rounds = parser.parse_args().rounds
    if rounds < ROUNDS_MIN:
        parser.error(f"{ROUNDS_MIN} rounds at least")
    runs = make_runs()
    try:
        first = measure(runs, rounds)
    except Invalid as error:
        print(f"bench-backtest: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    for run in runs.values():
        show(run)
    pairs = {
        "vs_nautilus_twap": ("nautilus_twap", "pulse_twap"),
        "vs_backtesting_py": ("backtesting_py_orders", "pulse_orders"),
        "vs_backtesting_py_bars": ("backtesting_py_bars", "pulse_bars"),
        "growth_10x": ("pulse_twap_10x", "pulse_twap"),
    }
    ratios = {
        name: median(runs[above].seconds()) / median(runs[below].seconds())
        for name, (above, below) in pairs.items()
    }
    ratios["rss_vs_smallest_peer"] = runs["pulse_twap"].rss() / min(
        run.rss() for run in runs.values() if run.side != OURS
    )
    per_round = {
        name: [a / b for a, b in zip(runs[above].seconds(), runs[below].seconds(), strict=True)]
        for name, (above, below) in pairs.items()
    }
    report(
        "backtest",
        ratios,
        {
            "rounds": rounds,
            "ratio_min_max": {n: [round(min(r), 2), round(max(r), 2)] for n, r in per_round.items()},
            "seconds": {name: [round(each, 4) for each in run.seconds()] for name, run in runs.items()},
            "rss_mb": {name: round(run.rss(), 1) for name, run in runs.items()},
            "histories_seconds": round(first["pulse_twap"]["histories_seconds"], 3),
            "histories_rss_mb": round(first["pulse_twap"]["histories_rss_mb"], 1),
            "fills_digest": first["pulse_twap"]["digest"],
        },
    )


if __name__ == "__main__":
    main()
