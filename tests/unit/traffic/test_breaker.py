"""The circuit breaker's table and rules, and the guard that keeps them."""

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.errors import IllegalTransition
from pulse_domain.orders.status import next_state
from pulse_domain.ports.broker import BookRead
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.scripted_broker import ScriptedBroker, Unavailable
from pulse_domain.traffic import (
    BREAKER_TRANSITIONS,
    Breaker,
    BreakerEvent,
    BreakerSettings,
    BreakerState,
)
from pulse_domain.use_cases.guard import BrokerGuard

CLOSED, OPEN, HALF_OPEN = BreakerState
SETTINGS = BreakerSettings(failures=3, window_s=10.0, pause_s=4.0, pause_max_s=10.0, jitter=0.0)


@pytest.mark.parametrize(("state", "event"), [*itertools.product(BreakerState, BreakerEvent)])
def test_every_cell_is_a_row_or_an_error(state: BreakerState, event: BreakerEvent) -> None:
    row = BREAKER_TRANSITIONS[state]
    if event in row:
        assert next_state(BREAKER_TRANSITIONS, state, event) is row[event]
    else:
        with pytest.raises(IllegalTransition):
            next_state(BREAKER_TRANSITIONS, state, event)


def failing(times: int, *, at: float = 0.0, breaker: Breaker | None = None) -> Breaker:
    breaker = breaker or Breaker()
    for _ in range(times):
        breaker = breaker.failed(at, 0.5, SETTINGS)
    return breaker


def test_it_opens_at_the_last_failure_of_the_row() -> None:
    assert (failing(2).state, failing(3).state) == (CLOSED, OPEN)


def test_an_answer_breaks_the_row() -> None:
    assert failing(2, breaker=failing(2).answered()).state is CLOSED


def test_failures_far_apart_are_no_row() -> None:
    assert failing(1, at=10.5, breaker=failing(2)).state is CLOSED


def test_a_probe_that_is_answered_closes_it() -> None:
    assert failing(3).probe_begun().probe_answered().state is CLOSED


def test_each_opening_lasts_longer_up_to_the_longest() -> None:
    breaker, pauses = failing(3), []
    for _ in range(4):
        pauses.append(breaker.probe_at)
        breaker = breaker.probe_begun().probe_failed(0.0, 0.5, SETTINGS)

    assert pauses == [4.0, 8.0, 10.0, 10.0]


def test_after_a_probe_a_single_failure_opens_it_again_for_longer() -> None:
    breaker = failing(1, breaker=failing(3).probe_begun().probe_answered())

    assert (breaker.state, breaker.probe_at) == (OPEN, 8.0)


def test_an_answered_write_makes_it_as_patient_as_before() -> None:
    breaker = failing(3).probe_begun().probe_answered().answered()

    assert failing(2, breaker=breaker).state is CLOSED
    assert failing(3, breaker=breaker).probe_at == 4.0


def test_what_was_in_the_air_changes_nothing() -> None:
    for breaker in (failing(3), failing(3).probe_begun()):
        assert breaker.answered() == breaker
        assert failing(5, breaker=breaker) == breaker


@given(st.floats(0, 1), st.integers(0, 40))
def test_the_pause_differs_by_the_jitter_at_most(chance: float, openings: int) -> None:
    settings = BreakerSettings(failures=1, pause_s=4.0, pause_max_s=60.0, jitter=0.25)
    pause = Breaker(openings=openings).failed(0.0, chance, settings).probe_at

    assert 0.75 <= pause / min(4.0 * 2.0**openings, 60.0) <= 1.25


# --- the guard


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> ScriptedBroker:
    return ScriptedBroker(clock)


@pytest.fixture
def states() -> list[BreakerState]:
    return []


@pytest.fixture
def guard(clock: FakeClock, states: list[BreakerState]) -> BrokerGuard:
    return BrokerGuard(clock, Random(1), SETTINGS, states.append)


def fail(guard: BrokerGuard, times: int = 3) -> None:
    for _ in range(times):
        guard.failed()


async def test_the_guard_holds_placements_back_until_a_probe_is_answered(
    guard: BrokerGuard, broker: ScriptedBroker, states: list[BreakerState]
) -> None:
    before = guard.lets_place
    fail(guard)
    meanwhile = guard.lets_place
    await guard.probe(broker)

    assert (before, meanwhile, guard.lets_place) == (True, False, True)
    assert states == [OPEN, HALF_OPEN, CLOSED]
    assert (broker.reads, broker.tickets) == (1, [])


async def test_a_probe_is_due_after_the_pause(guard: BrokerGuard, clock: FakeClock) -> None:
    quiet = guard.probe_in_s
    fail(guard)
    await clock.advance(3)

    assert (quiet, guard.probe_in_s) == (None, 1.0)


async def test_a_probe_without_an_answer_opens_it_again(guard: BrokerGuard, broker: ScriptedBroker) -> None:
    fail(guard)
    broker.on_read(Unavailable())
    await guard.probe(broker)

    assert (guard.state, guard.probe_in_s) == (OPEN, 8.0)


async def test_a_probe_that_breaks_off_told_nothing(guard: BrokerGuard, broker: ScriptedBroker) -> None:
    class Breaks(ScriptedBroker):
        async def order_book(self) -> BookRead:
            raise RuntimeError

    fail(guard)
    with pytest.raises(RuntimeError):
        await guard.probe(Breaks(FakeClock()))

    assert guard.state is OPEN


async def test_there_is_one_probe_at_a_time_and_none_without_need(
    guard: BrokerGuard, broker: ScriptedBroker
) -> None:
    await guard.probe(broker)
    assert broker.reads == 0
    fail(guard)
    first = guard.probe(broker)
    first.send(None)
    await guard.probe(broker)
    assert broker.reads == 1
    first.close()
