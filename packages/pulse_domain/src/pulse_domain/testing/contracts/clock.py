"""What every clock promises."""

from datetime import timedelta

import pytest

from pulse_domain.ports.clock import Clock

# Wall time may be stepped or slewed a little while a test sleeps.
WALL_TOLERANCE = timedelta(milliseconds=5)


class ClockContract:
    """Subclass it and override `clock`; its sleeps must end without help."""

    @pytest.fixture
    def clock(self) -> Clock:
        pytest.fail("a subclass overrides this fixture")

    async def test_now_is_aware_and_in_utc(self, clock: Clock) -> None:
        assert clock.now().utcoffset() == timedelta(0)

    async def test_monotonic_never_goes_back(self, clock: Clock) -> None:
        readings = []
        for i in range(200):
            readings.append(clock.monotonic())
            if i % 50 == 0:
                await clock.sleep(0.001)

        assert readings == sorted(readings)

    async def test_sleep_lets_at_least_its_seconds_pass(self, clock: Clock) -> None:
        began, began_at = clock.monotonic(), clock.now()

        await clock.sleep(0.02)

        # Sleeps of an event loop may end within its own resolution.
        assert clock.monotonic() - began >= 0.019
        assert clock.now() - began_at >= timedelta(seconds=0.02) - WALL_TOLERANCE

    @pytest.mark.parametrize("seconds", [0, -1, -0.5])
    async def test_sleep_of_nothing_returns_at_once(self, clock: Clock, seconds: float) -> None:
        began = clock.monotonic()

        await clock.sleep(seconds)

        assert clock.monotonic() - began < 0.5

    async def test_both_readings_move_alike(self, clock: Clock) -> None:
        began, began_at = clock.monotonic(), clock.now()

        await clock.sleep(0.05)

        wall = (clock.now() - began_at).total_seconds()
        assert abs(wall - (clock.monotonic() - began)) < 0.05
