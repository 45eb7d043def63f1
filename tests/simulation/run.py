"""One seed, from its number to a verdict."""

import gc
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from msgspec import Struct

from tests.promise.invariants import Violation
from tests.simulation.coverage import met_by_journals
from tests.simulation.invariants import stored_orders, violations
from tests.simulation.minimise import minimise
from tests.simulation.scenario import Scenario, draw_scenario
from tests.simulation.timeline import timeline
from tests.simulation.world import Parts, World


class Verdict(Struct, kw_only=True):
    """digest: of everything that happened. slices: that were stored. simulated_s: how long the day lasted."""

    seed: int
    digest: str
    violations: list[Violation]
    coverage: Counter[str]
    orders: int
    slices: int
    faults: int
    simulated_s: float


@contextmanager
def quietly(*, for_good: bool = False) -> Iterator[None]:
    """Without the log of the simulated processes, and without looking for garbage all the time.

    for_good: loggers stay silent afterwards too, which costs less.
    """
    configured = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
        processors=[],
        cache_logger_on_first_use=for_good,
    )
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        structlog.configure(**configured)


def play(scenario: Scenario, parts: Parts | None = None) -> World:
    world = World(scenario, parts)
    world.play()
    return world


def judge(scenario: Scenario, parts: Parts | None = None) -> Verdict:
    """Play a scenario and look for what is wrong."""
    world = play(scenario, parts)
    orders = stored_orders(world)
    return Verdict(
        seed=scenario.seed,
        digest=world.digest(),
        violations=violations(world),
        coverage=world.coverage + met_by_journals(orders),
        orders=len(orders),
        slices=sum(len(stored.slices) for stored in orders),
        faults=len(scenario.faults),
        simulated_s=world.loop.time(),
    )


def judge_seed(seed: int) -> Verdict:
    return judge(draw_scenario(seed))


def explain(scenario: Scenario, parts: Parts | None = None, *, tries_max: int = 400) -> str:
    """A failing scenario made small, with the timeline of what still fails in it."""
    rules = {violation.rule for violation in judge(scenario, parts).violations}

    def fails(smaller: Scenario) -> bool:
        return any(violation.rule in rules for violation in judge(smaller, parts).violations)

    return timeline(play(minimise(scenario, fails, tries_max), parts))
