"""`make simulate SEEDS=n SEED=first`: play seeds on all cores, and say what was met and what went wrong."""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections import Counter

from tests.simulation.coverage import REQUIRED, SEEDS_ENOUGH
from tests.simulation.run import Verdict, explain, judge_seed, quietly
from tests.simulation.scenario import draw_scenario

_TALES_MAX = 3
_CHUNK = 10
_SEEDS_PER_PROCESS = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--seed", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    parser.add_argument("--quick", action="store_true", help="tell failing seeds only, and make none small")
    options = parser.parse_args()
    if options.seeds < 1 or options.seed < 0 or options.jobs < 1:
        parser.error("--seeds and --jobs must be above 0, and --seed not below it")
    began = time.monotonic()
    met: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    failed: list[int] = []
    simulated_s = 0.0
    least = {"orders": sys.maxsize, "slices": sys.maxsize, "faults": sys.maxsize}
    # Nobody collects garbage: that would cost a seventh of the time. A process ends before it has much of it.
    with multiprocessing.Pool(options.jobs, gc.disable, maxtasksperchild=_SEEDS_PER_PROCESS // _CHUNK) as pool:
        seeds = range(options.seed, options.seed + options.seeds)
        for verdict in pool.imap_unordered(_judge, seeds, chunksize=_CHUNK):
            met += verdict.coverage
            simulated_s += verdict.simulated_s
            for name, seen in least.items():
                count = getattr(verdict, name)
                totals[name] += count
                least[name] = min(seen, count)
            if verdict.violations:
                failed.append(verdict.seed)
                rules = ", ".join(sorted({violation.rule for violation in verdict.violations}))
                print(f"seed {verdict.seed} FAILS: {rules}", flush=True)
    for seed in sorted(failed)[: 0 if options.quick else _TALES_MAX]:
        with quietly():
            print(f"\n{explain(draw_scenario(seed))}\nagain: make simulate SEEDS=1 SEED={seed}", flush=True)
    lasted_s = time.monotonic() - began
    print(
        f"\n{options.seeds} seeds in {lasted_s:.0f} s: {simulated_s / 86400:.1f} days, "
        f"{totals['orders']} orders, {totals['slices']} slices, {totals['faults']} faults"
        f" (at least {least['orders']}, {least['slices']} and {least['faults']} in each)"
    )
    for name in sorted({*met, *REQUIRED}):
        print(f"  {met[name]:8d}  {name}{'' if name not in REQUIRED else ' *'}")
    missing = [name for name in REQUIRED if not met[name]]
    if missing and options.seeds >= SEEDS_ENOUGH:
        print(f"never met: {', '.join(missing)}")
    if failed:
        print(f"failing seeds: {' '.join(map(str, sorted(failed)))}")
    return 1 if failed or (missing and options.seeds >= SEEDS_ENOUGH) else 0


def _judge(seed: int) -> Verdict:
    with quietly(for_good=True):
        return judge_seed(seed)


if __name__ == "__main__":
    sys.exit(main())
