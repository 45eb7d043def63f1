"""`make chaos`: seeds one after the other; the last line is the coverage as one JSON object.

Exit code 1 where the promise was broken, 3 where many seeds did not hit what they are for.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections import Counter

from tests.chaos.coverage import lacking
from tests.chaos.run import SHORT, run_seed, storm_of

_MANY = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--short", action="store_true", help="the size that make test runs")
    parser.add_argument("--loud", action="store_true", help="tell what is done as it is done")
    chosen = parser.parse_args()
    total: Counter[str] = Counter()
    failed = []
    for seed in range(chosen.seed, chosen.seed + chosen.seeds):
        verdict = asyncio.run(run_seed(seed, SHORT if chosen.short else storm_of(seed), loud=chosen.loud))
        total.update(verdict.coverage)
        said = "FAILED" if verdict.story else "ok"
        print(
            f"seed {seed}: {said}, {verdict.seconds:.0f} s, {dict(sorted(verdict.coverage.items()))}",
            flush=True,
        )
        for end in verdict.own_ends:
            print(f"by itself: {end}", flush=True)
        if not verdict.story:
            shutil.rmtree(verdict.folder, ignore_errors=True)
        else:
            failed.append(seed)
            path = verdict.folder / "story.txt"
            path.write_text(verdict.story)
            print(f"{verdict.story}\n\nlogs and this story: {verdict.folder}", flush=True)
    missed = lacking(total, chosen.seeds) if chosen.seeds >= _MANY else []
    figures = {"chaos": "full", "seeds": chosen.seeds, "failed": failed, "lacking": missed, **sorted_of(total)}
    print(json.dumps(figures))
    return 1 if failed else 3 if missed else 0


def sorted_of(counters: Counter[str]) -> dict[str, int]:
    return dict(sorted(counters.items()))


if __name__ == "__main__":
    sys.exit(main())
