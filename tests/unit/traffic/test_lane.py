"""The sliding window: no window of any phase holds more than the limit, and cancels go first."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.splitting import PaceLimits
from pulse_domain.traffic import CallCounts, CallKind, Lane, LaneRules
from pulse_domain.traffic.lane import LATE_US, REASK_US, STALE_US, tokens_of

PLACE, MODIFY, CANCEL = CallKind.PLACE, CallKind.MODIFY, CallKind.CANCEL
SECOND = 1_000_000
DAY_US = 86_400 * SECOND
# Ten in the morning in India.
WALL = 1_767_587_400 * SECOND


class Book:
    """A lane whose clock is wherever the test puts it, and who was granted what, when."""

    def __init__(self, *, seeded: bool = True, **rules: object) -> None:
        # A margin of a tenth, so that the instants of these tests are easy to read.
        self.rules = LaneRules(**{"margin_s": 0.1, **rules})  # type: ignore[arg-type]
        self.lane = Lane(self.rules)
        self.now = 0
        self.calls: dict[str, tuple[int, CallKind]] = {}
        if seeded:
            self.lane.seed(CallCounts(), 0, WALL)

    def ask(self, ticket: str, kind: CallKind = PLACE, count: int = 1) -> int:
        answer = self.lane.ask(ticket, kind, count, self.now, WALL + self.now)
        self.wait = answer.wait_us
        for token in tokens_of(ticket, answer.granted):
            self.calls[token] = self.now, kind
        return answer.granted

    def give_back(self, token: str) -> None:
        self.lane.give_back((token,))
        del self.calls[token]

    @property
    def instants(self) -> list[int]:
        return sorted(at for at, _ in self.calls.values())


def limits(second: int = 8, minute: int = 400, day: int = 5000) -> PaceLimits:
    return PaceLimits(per_second=second, per_minute=minute, per_day=day)


def fullest(instants: list[int], length: int) -> int:
    """The most calls in any window of a length, open at one end."""
    return max((sum(at - length < other <= at for other in instants) for at in instants), default=0)


# --- windows


def test_placements_leave_the_reserve_and_no_more() -> None:
    book = Book()

    assert book.ask("a", PLACE, 50) == 7
    assert book.ask("b", PLACE) == 0
    assert book.ask("c", CANCEL, 5) == 1


def test_a_call_counts_for_a_second_and_the_margin() -> None:
    book = Book(limits=limits(second=1), cancel_reserve=0, margin_s=0.1)
    book.ask("a")

    book.now = 1_099_999
    early = book.ask("b")
    book.now = 1_100_000

    assert (early, book.ask("b")) == (0, 1)


def test_the_wait_is_as_long_as_it_has_to_be() -> None:
    book = Book(limits=limits(second=2), cancel_reserve=0)
    book.ask("a")
    book.now = 300_000
    book.ask("b")
    book.now = 400_000

    assert book.ask("c") == 0
    book.now += book.wait - 1
    assert book.ask("c") == 0
    book.now += 1
    assert (book.ask("c"), book.now) == (1, 1_100_000)


def test_the_minute_counts_too() -> None:
    book = Book(limits=limits(second=8, minute=10), cancel_reserve=0)
    granted = 0
    for book.now in range(0, 61 * SECOND, SECOND // 10):
        granted += book.ask(f"t{book.now}", count=8)
        book.lane.leave(f"t{book.now}", 0)

    assert granted == 18
    assert fullest(book.instants, 60 * SECOND) == 10


def test_a_day_ends_at_midnight_in_india() -> None:
    book = Book(limits=limits(day=3), cancel_reserve=0)
    taken = book.ask("a", count=8)
    refused, wait = book.ask("b"), book.wait
    book.now += wait - 1
    still = book.ask("c")
    book.now += 1

    assert (taken, refused, still, book.ask("d")) == (3, 0, 0, 1)
    assert (WALL + book.now + 19_800 * SECOND) % DAY_US == 0


def test_one_call_is_left_to_placements_however_small_the_limit() -> None:
    assert LaneRules(limits=limits(1, 1, 1), cancel_reserve=0.9).room(PLACE) == (1, 1, 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([PLACE, PLACE, MODIFY, CANCEL]), st.integers(1, 12), st.integers(0, 400_000),
            st.booleans(),
        ),
        min_size=1, max_size=120,
    ),
    st.integers(1, 9),
    st.integers(5, 40),
    st.sampled_from([0.0, 0.05, 0.5]),
)  # fmt: skip
def test_no_window_of_any_phase_holds_more_than_the_limit(
    asked: list[tuple[CallKind, int, int, bool]], second: int, minute: int, reserve: float
) -> None:
    book = Book(limits=limits(second, minute, 60), cancel_reserve=reserve, minute_s=5.0)
    for number, (kind, count, pause, returns) in enumerate(asked):
        book.now += pause
        granted = book.ask(f"t{number % 7}:{number if number % 3 else 0}", kind, count)
        if granted and returns:
            book.give_back(list(book.calls)[-1])

    assert fullest(book.instants, book.rules.second_us) <= second
    assert fullest(book.instants, book.rules.minute_us) <= minute
    assert len(book.calls) <= 60
    placed = sorted(at for at, kind in book.calls.values() if kind is not CANCEL)
    assert fullest(placed, book.rules.second_us) <= book.rules.room(PLACE).second


@pytest.mark.parametrize("seed", range(5))
def test_no_second_of_a_clock_that_counts_up_to_the_margin_later_holds_more(seed: int) -> None:
    rng = Random(seed)
    book = Book()
    for number in range(400):
        book.now += rng.choice([0, 0, 1_000, 50_000, 200_000])
        book.ask(f"t{number}", rng.choice([PLACE, CANCEL]), rng.randint(1, 8))
        book.lane.leave(f"t{number}", 0)

    arrived = sorted(at + rng.randint(0, 100_000) for at in book.instants)

    assert fullest(arrived, SECOND) <= 8


# --- who comes first


def test_a_cancel_that_waits_comes_before_a_placement_that_waits_longer() -> None:
    book = Book(cancel_reserve=0)
    book.ask("burst", PLACE, 8)
    book.now = 10
    assert book.ask("placement") == 0
    book.now = 20
    assert book.ask("cancel", CANCEL) == 0

    book.now = 1_100_000
    assert book.ask("placement") == 0
    assert book.ask("cancel", CANCEL) == 1
    book.now += book.rules.spacing_us
    assert book.ask("placement") == 1


def test_placements_leave_room_for_all_the_cancels_that_wait() -> None:
    book = Book(cancel_reserve=0)
    book.ask("burst", PLACE, 8)
    book.ask("placement")
    book.ask("cancel", CANCEL, 8)
    book.now = 1_100_000

    assert book.ask("placement") == 0
    assert book.ask("cancel", CANCEL, 8) == 8


def test_changes_and_placements_wait_in_the_order_they_came() -> None:
    book = Book(limits=limits(second=1), cancel_reserve=0)
    book.ask("burst")
    book.ask("first", MODIFY)
    book.now = 1
    book.ask("second", PLACE)
    book.now = 1_100_000

    assert [book.ask("second"), book.ask("first", MODIFY)] == [0, 1]


def test_who_asks_for_many_does_not_hold_up_who_asks_for_one() -> None:
    book = Book()
    served: Counter[str] = Counter()
    turn = {"greedy": 0, "modest": 0}
    for book.now in range(0, 60 * SECOND, 10_000):
        for name, count in (("greedy", 50), ("modest", 1)):
            granted = book.ask(f"{name}{turn[name]}", PLACE, count)
            if granted:
                served[name] += granted
                turn[name] += 1

    assert served["modest"] > 0.4 * served.total()


def test_who_does_not_ask_again_loses_its_place() -> None:
    book = Book(cancel_reserve=0)
    book.ask("burst", CANCEL, 8)
    book.ask("gone", CANCEL, 8)
    book.now = REASK_US + STALE_US
    kept = book.ask("next")
    book.now += 1

    assert (kept, book.ask("next")) == (0, 1)


def test_who_is_late_lets_others_pass() -> None:
    book = Book()
    book.ask("burst", PLACE, 7)
    book.ask("late")
    book.now = 1
    book.ask("next")
    book.now = REASK_US
    for name in ("late", "next"):
        book.ask(name)
    book.now = 1_100_000 + LATE_US
    early = book.ask("next")
    book.now = 1_100_000 + 2 * book.rules.spacing_us

    assert (early, book.ask("next")) == (0, 1)


def test_turns_are_taken_one_after_the_other() -> None:
    book = Book()
    book.ask("burst", PLACE, 7)
    for name in "abc":
        book.now += 1
        book.ask(name)
    book.now = REASK_US
    for name in "abc":
        book.ask(name)
    book.now = 1_100_000

    assert [book.ask("c"), book.ask("b"), book.ask("a"), book.ask("new")] == [0, 0, 1, 0]


def test_nobody_starves() -> None:
    rng = Random(1)
    book = Book(limits=limits(second=4))
    since: dict[str, int] = {}
    longest = 0
    for book.now in range(0, 30 * SECOND, 20_000):
        for name in rng.sample(["a", "b", "c", "d", "e"], 5):
            ticket = f"{name}{since.setdefault(name, book.now)}"
            if book.ask(ticket, PLACE, rng.randint(1, 20)):
                longest = max(longest, book.now - since.pop(name))

    assert longest <= 3 * SECOND


# --- evenly spaced


def test_after_a_full_window_calls_go_out_evenly_spaced() -> None:
    book = Book()
    number = 0
    for book.now in range(0, 10 * SECOND, 1_000):
        if book.ask(f"t{number}", PLACE, 50):
            number += 1

    gaps = [later - earlier for earlier, later in pairwise(book.instants[7:])]
    assert book.instants[:7] == [0] * 7
    assert min(gaps) >= book.rules.spacing_us
    # And nothing is lost by it: seven in every second and margin.
    assert max(gaps) <= book.rules.spacing_us + 1_000


def test_after_a_rest_a_whole_window_may_go_out_at_once() -> None:
    book = Book()
    book.ask("a", PLACE, 7)
    book.ask("b", PLACE)
    book.now = 1_100_000
    book.ask("b", PLACE)
    book.now += 5 * SECOND

    assert book.ask("c", PLACE, 7) == 7


def test_two_bursts_delayed_by_more_than_the_margin_stay_below_the_brokers_own_limit() -> None:
    """Ten are allowed, eight are used: sustained traffic takes 0.3 s of jitter, thrice this margin."""
    rng = Random(3)
    book = Book()
    number = 0
    for book.now in range(0, 20 * SECOND, 1_000):
        if book.ask(f"t{number}", PLACE, 50):
            number += 1

    arrived = sorted(at + rng.randint(0, 300_000) for at in book.instants)

    assert fullest(arrived, SECOND) <= 10


# --- tokens and counts


def test_leave_that_is_given_back_does_not_count() -> None:
    book = Book(limits=limits(second=2, minute=2, day=2), cancel_reserve=0)
    book.ask("a", count=2)
    book.give_back("a:1")

    assert (book.ask("b", count=2), book.ask("c")) == (1, 0)


def test_what_is_not_known_any_more_is_given_back_in_vain() -> None:
    book = Book(limits=limits(second=2, minute=2, day=3), cancel_reserve=0, minute_s=2.0)
    book.ask("a", count=2)
    book.now = 3 * SECOND
    book.lane.view(book.now, WALL)
    book.lane.give_back(("a:0", "a:1", "never"))

    assert book.ask("b", count=2) == 1


def test_leaving_takes_back_what_was_granted_unheard() -> None:
    book = Book(limits=limits(second=2), cancel_reserve=0)
    book.ask("a", count=2)
    book.lane.leave("a", 2)

    assert book.ask("b", count=2) == 2


def test_nothing_is_granted_before_it_is_known_what_was_called() -> None:
    book = Book(seeded=False)

    assert not book.lane.ask("a", PLACE, 1, 0, WALL).seeded
    assert book.ask("a") == 0


def test_what_the_ledger_knows_counts() -> None:
    book = Book(limits=limits(minute=20, day=100), cancel_reserve=0, seeded=False)
    book.lane.seed(CallCounts(last_minute=18, day=99), 0, WALL)

    view = book.lane.view(0, WALL)
    book.now = book.rules.quiet_us

    assert (view.second, view.minute, view.day) == (0, 18, 99)
    assert book.ask("a", count=5) == 1


def test_what_is_counted_already_is_not_counted_twice() -> None:
    book = Book(limits=limits(day=10))
    book.ask("a", count=3)
    book.lane.seed(CallCounts(last_minute=2, day=2), 0, WALL)

    view = book.lane.view(0, WALL)
    assert (view.minute, view.day) == (3, 3)


def test_placements_are_quiet_where_somebody_may_just_have_called() -> None:
    book = Book(seeded=False)
    book.lane.seed(CallCounts(day=1), 0, WALL)

    assert (book.ask("a"), book.wait) == (0, 1_600_000)
    assert book.ask("b", CANCEL) == 1


@given(st.integers(1, 20), st.integers(0, 5000))
def test_shares_are_together_no_more_than_the_whole(workers: int, called: int) -> None:
    rules = LaneRules()
    share = rules.share(workers, CallCounts(day=called)).limits

    assert share.per_second * workers <= max(8, workers)
    assert share.per_minute * workers <= 400
    assert (share.per_day - called) * workers <= max(5000 - called, 0)
    assert share.per_second >= 1
