"""What every limiter promises."""

import asyncio

import pytest

from pulse_domain.ports.clock import Clock
from pulse_domain.ports.rate_limiter import RateLimiter
from pulse_domain.splitting import PaceLimits
from pulse_domain.traffic import CallCounts, CallKind, Granted, LaneRules, Refused

PLACE, MODIFY, CANCEL = CallKind.PLACE, CallKind.MODIFY, CallKind.CANCEL
# Seconds and minutes shortened, so that they can be waited for.
RULES = LaneRules(
    limits=PaceLimits(per_second=5, per_minute=12, per_day=40),
    cancel_reserve=0.05,
    second_s=0.3,
    minute_s=1.5,
    margin_s=0.05,
)
SECOND_S = RULES.second_s + RULES.margin_s
PLACES, CALLS = RULES.room(PLACE), RULES.room(CANCEL)
PATIENCE_S = 10.0


class RateLimiterContract:
    """Subclass it and override `limiter`, on `RULES` and counting from nothing, and the `clock` it goes by."""

    @pytest.fixture
    def clock(self) -> Clock:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def limiter(self) -> RateLimiter:
        pytest.fail("a subclass overrides this fixture")

    async def test_leave_is_given_at_once_while_there_is_room(self, limiter: RateLimiter, clock: Clock) -> None:
        leave = await limiter.acquire(PLACE, timeout_s=0)

        assert isinstance(leave, Granted)
        assert leave.count == 1
        assert leave.fresh_until <= clock.monotonic() + RULES.margin_s
        assert (await limiter.peek()).second == 1

    async def test_no_more_is_granted_than_was_asked_for(self, limiter: RateLimiter) -> None:
        for count in (1, 2, 1):
            leave = await limiter.acquire(PLACE, count=count, timeout_s=0)
            assert isinstance(leave, Granted)
            assert 1 <= leave.count <= count

    async def test_placements_leave_a_reserve_to_cancels(self, limiter: RateLimiter) -> None:
        placed = await take_all(limiter, PLACE)
        cancelled = await take_all(limiter, CANCEL)

        assert (len(placed), len(cancelled)) == (PLACES.second, CALLS.second - PLACES.second)

    async def test_changes_count_as_placements_do(self, limiter: RateLimiter) -> None:
        await take_all(limiter, MODIFY)

        assert isinstance(await limiter.acquire(PLACE, timeout_s=0), Refused)

    async def test_a_refusal_tells_how_long_it_takes(self, limiter: RateLimiter) -> None:
        await take_all(limiter, PLACE)

        refused = await limiter.acquire(PLACE, timeout_s=0)

        assert isinstance(refused, Refused)
        assert 0 < refused.wait_s <= 2 * SECOND_S
        assert (await limiter.peek()).waiting == 0

    async def test_who_waits_is_let_through_when_there_is_room_again(
        self, limiter: RateLimiter, clock: Clock
    ) -> None:
        began = clock.monotonic()
        await take_all(limiter, PLACE)

        leave = await limiter.acquire(PLACE, timeout_s=PATIENCE_S)

        assert isinstance(leave, Granted)
        assert clock.monotonic() - began >= SECOND_S

    async def test_who_waits_longer_than_its_time_is_refused(self, limiter: RateLimiter, clock: Clock) -> None:
        await take_all(limiter, PLACE)
        began = clock.monotonic()

        refused = await limiter.acquire(PLACE, timeout_s=0.1)

        assert isinstance(refused, Refused)
        assert clock.monotonic() - began >= 0.099

    async def test_no_second_and_no_minute_of_any_phase_holds_more_than_the_limit(
        self, limiter: RateLimiter, clock: Clock
    ) -> None:
        # Asked and granted: the call counts from some instant in between.
        spans: list[tuple[float, float]] = []

        async def call(kind: CallKind, pause_s: float) -> None:
            for _ in range(6):
                asked = clock.monotonic()
                leave = await limiter.acquire(kind, count=3, timeout_s=PATIENCE_S)
                assert isinstance(leave, Granted)
                spans.extend([(asked, clock.monotonic())] * leave.count)
                await clock.sleep(pause_s)

        await asyncio.gather(call(PLACE, 0.0), call(PLACE, 0.03), call(CANCEL, 0.2))

        assert fullest(spans, RULES.second_s) <= CALLS.second
        assert fullest(spans, RULES.minute_s) <= CALLS.minute

    async def test_the_day_has_an_end_of_calls(self, limiter: RateLimiter) -> None:
        await limiter.reseed(CallCounts(day=PLACES.day - 2))
        # Until what others may have called counts no more.
        await limiter.acquire(PLACE, timeout_s=PATIENCE_S)
        await limiter.acquire(PLACE, timeout_s=PATIENCE_S)

        refused = await limiter.acquire(PLACE, timeout_s=2 * SECOND_S)

        assert isinstance(refused, Refused)
        assert refused.wait_s > RULES.minute_s
        assert len(await take_all(limiter, CANCEL)) >= 1

    async def test_what_the_ledger_knows_is_counted_once(self, limiter: RateLimiter) -> None:
        await take_all(limiter, PLACE)
        for _ in range(2):
            await limiter.reseed(CallCounts(last_minute=PLACES.second + 1, day=20))

        view = await limiter.peek()

        assert (view.minute, view.day) == (PLACES.second + 1, 20)

    async def test_a_cancel_overtakes_placements_that_wait(self, limiter: RateLimiter, clock: Clock) -> None:
        await take_all(limiter, CANCEL)
        granted: list[CallKind] = []
        waiting = [begin(limiter, PLACE, granted) for _ in range(3)]
        await until_waiting(limiter, clock, 3)
        waiting.append(begin(limiter, CANCEL, granted))

        await asyncio.gather(*waiting)

        assert granted == [CANCEL, PLACE, PLACE, PLACE]

    async def test_who_waits_longest_is_served_first(self, limiter: RateLimiter, clock: Clock) -> None:
        await take_all(limiter, PLACE)
        served: list[int] = []

        async def wait(number: int) -> None:
            await limiter.acquire(PLACE, count=3, timeout_s=PATIENCE_S)
            served.append(number)

        waiting = []
        for number in range(4):
            waiting.append(asyncio.create_task(wait(number)))
            await until_waiting(limiter, clock, number + 1)
        await asyncio.gather(*waiting)

        assert served == [0, 1, 2, 3]

    async def test_leave_that_is_given_back_is_free_at_once(self, limiter: RateLimiter) -> None:
        tokens = await take_all(limiter, PLACE)

        await limiter.give_back(tokens[:2])

        assert len(await take_all(limiter, PLACE)) == 2
        assert (await limiter.peek()).day == PLACES.second

    async def test_giving_back_wakes_who_waits(self, limiter: RateLimiter, clock: Clock) -> None:
        began = clock.monotonic()
        tokens = await take_all(limiter, CANCEL)
        waiting = asyncio.create_task(limiter.acquire(CANCEL, timeout_s=PATIENCE_S))
        await until_waiting(limiter, clock, 1)

        await limiter.give_back(tokens)
        leave = await waiting

        assert isinstance(leave, Granted)
        assert clock.monotonic() - began < SECOND_S

    async def test_what_was_never_given_is_given_back_in_vain(self, limiter: RateLimiter) -> None:
        tokens = await take_all(limiter, PLACE)
        for _ in range(3):
            await limiter.give_back(tokens[:1])
        await limiter.give_back(["unheard-of"])

        assert (await limiter.peek()).second == PLACES.second - 1

    async def test_a_waiter_that_is_cancelled_takes_nothing_with_it(
        self, limiter: RateLimiter, clock: Clock
    ) -> None:
        await take_all(limiter, PLACE)
        for seconds in (0.0, 0.001, 0.05, SECOND_S, SECOND_S):
            waiting = [asyncio.create_task(limiter.acquire(PLACE, timeout_s=PATIENCE_S)) for _ in range(3)]
            await clock.sleep(seconds)
            for task in waiting:
                task.cancel()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            for leave in results:
                if isinstance(leave, Granted):
                    await limiter.give_back(leave.tokens)
        await clock.sleep(2 * SECOND_S)

        view = await limiter.peek()
        assert (view.second, view.waiting) == (0, 0)
        assert view.day == PLACES.second

    async def test_looking_changes_nothing(self, limiter: RateLimiter) -> None:
        await take_all(limiter, PLACE)

        assert await limiter.peek() == await limiter.peek()


async def take_all(limiter: RateLimiter, kind: CallKind) -> list[str]:
    """All the tokens that can be had now."""
    tokens: list[str] = []
    while isinstance(leave := await limiter.acquire(kind, count=9, timeout_s=0), Granted):
        tokens += leave.tokens
    return tokens


def begin(limiter: RateLimiter, kind: CallKind, granted: list[CallKind]) -> "asyncio.Task[None]":
    async def wait() -> None:
        assert isinstance(await limiter.acquire(kind, timeout_s=PATIENCE_S), Granted)
        granted.append(kind)

    return asyncio.create_task(wait())


async def until_waiting(limiter: RateLimiter, clock: Clock, count: int) -> None:
    for _ in range(1000):
        if (await limiter.peek()).waiting == count:
            return
        await clock.sleep(0.001)
    raise AssertionError("nobody waits")


def fullest(spans: list[tuple[float, float]], length_s: float) -> int:
    """The most calls that are in one window for certain, wherever in their spans they were counted."""
    return max(
        sum(asked >= began and granted < began + length_s for asked, granted in spans) for began, _ in spans
    )
