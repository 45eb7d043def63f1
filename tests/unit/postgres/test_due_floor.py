from datetime import UTC, datetime, timedelta

from pulse_adapters.postgres.due_floor import DueFloor

EVER = DueFloor().instant
FIRST = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
SLOW_S = 0.5


class Time:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def looked(floor: DueFloor, first: datetime, took_s: float) -> datetime:
    """One look; where it began."""
    began = floor.begin()
    floor.found(first, took_s)
    return began


def test_looks_begin_at_the_start_while_they_are_quick() -> None:
    floor = DueFloor(Time())

    assert [looked(floor, FIRST, 0.001), looked(floor, FIRST, 0.001)] == [EVER, EVER]
    assert floor.instant == EVER


def test_after_a_slow_look_the_next_ones_begin_at_what_it_found() -> None:
    floor = DueFloor(Time())
    later = FIRST + timedelta(seconds=1)

    assert [looked(floor, FIRST, SLOW_S), looked(floor, later, 0.001)] == [EVER, FIRST]
    assert floor.instant == later


def test_full_looks_take_a_small_part_of_the_time() -> None:
    time = Time()
    floor = DueFloor(time)
    full = 0
    for _ in range(1000):
        began = floor.begin()
        took_s = SLOW_S if began == EVER else 0.01
        full += began == EVER
        time.seconds += took_s
        floor.found(FIRST, took_s)

    assert 0 < full * SLOW_S / (time.seconds - 100) < 0.06


def test_what_this_process_plans_below_the_floor_lowers_it() -> None:
    floor = DueFloor(Time())
    looked(floor, FIRST, SLOW_S)
    floor.planned([FIRST - timedelta(seconds=2), FIRST + timedelta(seconds=2)])

    assert floor.instant == FIRST - timedelta(seconds=2)


def test_what_is_planned_during_a_look_is_not_passed_over() -> None:
    floor = DueFloor(Time())
    floor.begin()
    floor.planned([FIRST - timedelta(seconds=2)])
    floor.found(FIRST, SLOW_S)

    assert floor.instant == FIRST - timedelta(seconds=2)


def test_a_floor_that_is_forgotten_hides_nothing() -> None:
    floor = DueFloor(Time())
    looked(floor, FIRST, SLOW_S)
    floor.forget()

    assert floor.instant == EVER
