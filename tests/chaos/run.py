"""One seed: deploy, load, break, heal, and judge."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random

from msgspec import Struct
from msgspec.structs import asdict, replace

from tests.chaos.clients import Clients
from tests.chaos.coverage import read_coverage
from tests.chaos.deployment import Deployment, until
from tests.chaos.evidence import Evidence, all_done, judge, read_evidence
from tests.chaos.load import LoadSize, draw_wishes
from tests.chaos.nemesis import Lane, Nemesis
from tests.chaos.story import tell
from tests.chaos.timeline import Timeline

# Lease, settle time and two reads of the book after the last window's end and grace, on a slow machine.
_DONE_S = 120.0
_SAME_S = 20.0


class Storm(Struct, frozen=True, kw_only=True):
    """The size of a run."""

    workers: int
    load: LoadSize
    lanes: tuple[Lane, ...]
    environ: Mapping[str, str] = {}


FULL = Storm(
    workers=3,
    load=LoadSize(
        seconds=22, plain=9, alerts=5, resting=3, crossed=3, single=10, slices=(6, 11), ages_s=(18, 45)
    ),
    lanes=(
        Lane(
            name="processes",
            actions={
                "kill_in_flight": 5, "kill_worker": 2, "kill_leader": 1, "kill_pulse_api": 2, "kill_gapi": 2,
                "kill_exchange": 2, "freeze_in_flight": 1, "freeze_worker": 1, "freeze_leader": 1,
                "freeze_pulse_api": 1, "freeze_gapi": 1, "freeze_exchange": 1,
            },
            pause_s=(0.3, 1.2),
        ),
        Lane(
            name="lines",
            actions={
                "redis_restart": 2, "redis_flush": 1, "cut": 2, "terminate": 1, "lose_answers": 4,
                "lose_requests": 1,
            },
            pause_s=(1.0, 3.0),
        ),
        # Early: a death before a restart of Postgres cannot be proven any more.
        Lane(name="store", actions={"postgres_fast": 1, "postgres_immediate": 1}, pause_s=(0.5, 6.0)),
        Lane(name="words", actions={"words": 8, "halt": 2}, pause_s=(1.5, 3.5)),
    ),
)  # fmt: skip

# Workers that look dead and are not. Limits of our own around market orders need prices, which the broker gives
# slowly, so there is time between a claim and its call.
PARTITION = Storm(
    workers=3,
    load=replace(FULL.load, plain=11),
    lanes=(
        Lane(name="partitions", actions={"freeze_and_cut": 2}, pause_s=(2.0, 5.0)),
        Lane(
            name="processes",
            actions={
                "kill_in_flight": 4, "kill_worker": 1, "kill_leader": 1, "kill_pulse_api": 2, "kill_gapi": 2,
                "kill_exchange": 1,
            },
            pause_s=(0.5, 2.0),
        ),
        Lane(
            name="lines",
            actions={"redis_restart": 2, "cut": 1, "terminate": 1, "lose_answers": 3, "lose_requests": 1},
            pause_s=(1.0, 4.0),
        ),
        Lane(name="store", actions={"postgres_fast": 1, "postgres_immediate": 1}, pause_s=(0.5, 5.0)),
        Lane(name="words", actions={"words": 5, "halt": 1}, pause_s=(2.0, 4.0)),
    ),
    environ={"SLICE_GRACE_SECONDS": "30", "ZERODHA_MARKET_PROTECTION": "limit"},
)  # fmt: skip

_PARTITION_EVERY = 4

SHORT = Storm(
    workers=2,
    load=LoadSize(seconds=4, plain=4, alerts=2, resting=1, crossed=1, single=3, slices=(5, 7), ages_s=(35, 45)),
    lanes=(
        Lane(
            name="processes",
            actions={"kill_in_flight": 2, "kill_leader": 1, "kill_pulse_api": 1, "kill_exchange": 1},
            pause_s=(0.2, 0.8),
        ),
        Lane(
            name="lines",
            actions={"postgres_immediate": 1, "redis_restart": 1, "cut": 1, "lose_answers": 1},
            pause_s=(0.5, 1.5),
        ),
        Lane(name="words", actions={"words": 2, "halt": 1}, pause_s=(0.5, 1.5)),
    ),
)


def storm_of(seed: int) -> Storm:
    """Most seeds are of one kind, and some of the other."""
    return FULL if seed % _PARTITION_EVERY else PARTITION


class Verdict(Struct, frozen=True, kw_only=True):
    """story: what a person needs to see why, empty where all is well. folder: what the processes wrote.
    own_ends: processes that ended though nobody had killed them; a supervisor starts them again.
    """

    seed: int
    seconds: float
    coverage: Counter[str]
    story: str
    own_ends: list[str]
    folder: Path


async def run_seed(seed: int, storm: Storm, *, loud: bool = False) -> Verdict:
    """Play one seed through."""
    timeline = Timeline(loud=loud)
    rng = Random(seed)
    deployment = Deployment(seed, timeline, storm.workers, storm.environ)
    clients: Clients | None = None
    wanting: list[asyncio.Task[None]] = []
    try:
        await deployment.start()
        timeline.note("nemesis", f"begins, seed {seed}")
        clients = Clients(deployment.plan, deployment.secrets, Random(rng.getrandbits(64)), timeline)
        nemesis = Nemesis(deployment, clients, Random(rng.getrandbits(64)))
        wishes = draw_wishes(Random(rng.getrandbits(64)), storm.load)
        began = timeline.seconds

        async def come(number: int) -> None:
            assert clients is not None
            await asyncio.sleep(max(0.0, began + wishes[number].at_s - timeline.seconds))
            await clients.wish(wishes[number])

        wanting += [asyncio.create_task(come(number)) for number in range(len(wishes))]
        await nemesis.run(storm.lanes)
        await asyncio.gather(*wanting)
        await clients.cancel_what_rests()
        timeline.note("nemesis", "waits for the end")
        if not await until(lambda: all_done(deployment), _DONE_S, every_s=0.5):
            timeline.note("nemesis", f"the deadline has passed, {_DONE_S:g} s after the end")
        evidence = await _settled(deployment, clients)
        violations = judge(evidence, deployment, clients)
        coverage = _count(evidence, deployment, clients, nemesis)
        story = tell(seed, violations, evidence, timeline) if violations else ""
        return Verdict(
            seed=seed, seconds=timeline.seconds, coverage=coverage, story=story, folder=deployment.folder,
            own_ends=[end for member in deployment.members.values() for end in member.own_ends],
        )  # fmt: skip
    finally:
        for task in wanting:
            task.cancel()
        await asyncio.gather(*wanting, return_exceptions=True)
        if clients is not None:
            await clients.close()
        await deployment.close()


async def _settled(deployment: Deployment, clients: Clients) -> Evidence:
    """The evidence, once the last facts of the broker are booked: what is done may still be told of."""
    read: list[Evidence] = []

    async def same() -> bool:
        read.append(await read_evidence(deployment))
        return not judge(read[-1], deployment, clients)

    await until(same, _SAME_S, every_s=1.0)
    return read[-1]


def _count(evidence: Evidence, deployment: Deployment, clients: Clients, nemesis: Nemesis) -> Counter[str]:
    coverage = read_coverage(evidence.orders, evidence.halts)
    coverage.update(asdict(nemesis.counters))
    for member in deployment.members.values():
        coverage["own_ends"] += len(member.own_ends)
        if member.wire is not None:
            coverage["commits_unknown"] += member.wire.losses.answers
            coverage["statements_lost"] += member.wire.losses.requests
    coverage["requests_sent_again"] += clients.resent
    coverage["acknowledged"] += len(clients.acknowledged)
    coverage["pauses_acknowledged"] += sum(clients.paused.values())
    coverage["cancels_acknowledged"] += len(clients.cancelled)
    return coverage
