"""One short seed in every test run; long ones are `make chaos`."""

import shutil

from tests.chaos.run import SHORT, run_seed

SEED = 1


async def test_the_promise_holds_through_a_short_storm_of_kills_and_outages() -> None:
    verdict = await run_seed(SEED, SHORT)

    assert not verdict.story, f"{verdict.story}\nlogs: {verdict.folder}"
    shutil.rmtree(verdict.folder)
    hit = verdict.coverage
    assert hit["acknowledged"] > 0
    assert hit["slices"] >= 10
    assert hit["slices_filled"] > 0
    assert hit["kills"] >= 3
    assert hit["postgres_restarts"] == 1
    assert hit["redis_restarts"] == 1
