"""The sliding window of one lane: calls of one user at one broker that are counted together.

Instants are whole microseconds. A call counts from the instant of its leave until a window's length later,
and the windows are longer than what the broker promises by a *margin*: brokers count by clocks of their own
and by when a call arrives. As long as calls take equally long up to the margin, no second, minute or day of
any clock sees more than the limit, whatever its phase.

- **Cancels first.** Placements and changes leave a reserve to cancels, and none goes out while a cancel
  waits, of whatever process. Within a rank the one who has waited longest comes first, and each who waits
  is kept one call, so that nobody who asks for many holds the others up.
- **No second burst.** After a rest a whole window may go out at once. But a window that is full at one
  instant is free again at one instant too, and two bursts whose first runs late are one burst at the broker.
  So whoever had to wait, and who comes right after, goes out evenly spaced.
- **Quiet.** Where it is not known what others have sent within the last second, placements wait it out.

The Redis adapter decides by the same rules in a script of its own; a test compares the two step by step.
"""

from math import ceil
from typing import NamedTuple

from msgspec import Struct

from pulse_domain.splitting.limits import PaceLimits
from pulse_domain.traffic.calls import CallCounts, CallKind, LaneView

# Who waits asks again when it was told to, and at least this often. Who is late by the second of these lets
# others pass; who is late by the third has lost its place.
REASK_US = 1_000_000
LATE_US = 50_000
STALE_US = 2_000_000
_PAUSE_MIN_US = 1_000
_TICK_US = 20_000
_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_INDIA_US = 19_800 * _SECOND_US


class Room(NamedTuple):
    """How many calls the windows hold for one kind of call."""

    second: int
    minute: int
    day: int


class LaneRules(Struct, frozen=True, kw_only=True):
    """cancel_reserve: the share of each limit that is left to cancels, rounded up to whole calls; one call is
    always left to placements.
    second_s, minute_s: the windows' true lengths; only tests shorten them.
    margin_s: how differently long calls may take to be counted by the broker.
    notice_s: how long others may go on by themselves after the counts were lost and are seeded anew."""

    limits: PaceLimits = PaceLimits()
    cancel_reserve: float = 0.05
    second_s: float = 1.0
    minute_s: float = 60.0
    margin_s: float = 0.05
    notice_s: float = 0.5

    @property
    def second_us(self) -> int:
        return round((self.second_s + self.margin_s) * _SECOND_US)

    @property
    def minute_us(self) -> int:
        return round((self.minute_s + self.margin_s) * _SECOND_US)

    @property
    def quiet_us(self) -> int:
        return self.second_us + round(self.notice_s * _SECOND_US)

    @property
    def spacing_us(self) -> int:
        """Between calls that go out evenly spaced."""
        return ceil(self.second_us / self.room(CallKind.PLACE).second)

    @property
    def spaced_at_once(self) -> int:
        """How many of those are let through together: one, unless limits are so wide that waits have no end."""
        return max(1, _TICK_US // self.spacing_us)

    def room(self, kind: CallKind) -> Room:
        limits = self.limits
        full = (limits.per_second, limits.per_minute, limits.per_day)
        if kind is CallKind.CANCEL:
            return Room(*full)
        return Room(*(limit - min(limit - 1, ceil(round(limit * self.cancel_reserve, 6))) for limit in full))

    def share(self, workers: int, counts: CallCounts) -> "LaneRules":
        """The rules of a worker that counts alone beside others: its part of each limit, at least one call."""
        limits = self.limits
        left_today = max(0, limits.per_day - counts.day)
        return LaneRules(
            limits=PaceLimits(
                per_second=max(1, limits.per_second // workers),
                per_minute=max(1, limits.per_minute // workers),
                per_day=max(1, counts.day + left_today // workers),
            ),
            cancel_reserve=self.cancel_reserve,
            second_s=self.second_s,
            minute_s=self.minute_s,
            margin_s=self.margin_s,
            notice_s=0.0,
        )


class Answer(NamedTuple):
    """`granted` calls, whose tokens are `tokens_of(ticket, granted)`; or none, and when to ask again.

    seeded: false, and nothing is granted, until it is known what was called before.
    """

    granted: int
    wait_us: int
    seeded: bool = True


def tokens_of(ticket: str, count: int) -> tuple[str, ...]:
    return tuple(f"{ticket}:{number}" for number in range(count))


def rank_of(kind: CallKind) -> int:
    return 0 if kind is CallKind.CANCEL else 1


class _Waiter(NamedTuple):
    rank: int
    since_us: int
    due_us: int
    want: int


class Lane:
    """Counts calls in memory; every method is told the instant, which never goes back."""

    def __init__(self, rules: LaneRules) -> None:
        self._rules = rules
        # Tokens with their instants, oldest first.
        self._calls: dict[str, int] = {}
        self._waiting: dict[str, _Waiter] = {}
        self._day = 0
        self._day_used = 0
        self._spaced_until = 0
        self._quiet_until = 0
        self._seeded = False

    def seed(self, counts: CallCounts, now_us: int, wall_us: int, *, quiet: bool = False) -> None:
        """Take over what was called before; what is known already is not counted again.

        quiet: others may have sent within the last second what no count holds.
        """
        self._pass_time(now_us, wall_us)
        self._day_used = max(self._day_used, counts.day)
        missing = counts.last_minute - len(self._calls)
        if missing > 0:
            before = now_us - self._rules.second_us
            older = {f"seed:{now_us}:{number}": before for number in range(missing)}
            self._calls = dict(sorted({**older, **self._calls}.items(), key=lambda call: call[1]))
        if quiet or (not self._seeded and counts.day > 0):
            self._quiet_until = now_us + self._rules.quiet_us
        self._seeded = True

    def ask(self, ticket: str, kind: CallKind, count: int, now_us: int, wall_us: int) -> Answer:
        """Ask for leave to make up to `count` calls now, under a name that is used for nothing else.

        now_us: any clock that only goes forward. wall_us: microseconds since 1970, which tell the day.
        """
        self._pass_time(now_us, wall_us)
        if not self._seeded:
            return Answer(0, 0, seeded=False)
        rules, rank = self._rules, rank_of(kind)
        room = rules.room(kind)
        mine = self._waiting.get(ticket)
        since = now_us if mine is None else mine.since_us
        first = [
            other
            for name, other in self._waiting.items()
            if name != ticket and (other.rank, other.since_us, name) < (rank, since, ticket)
        ]
        ahead = sum(other.want if other.rank == 0 else 1 for other in first)
        in_second = self._in_second(now_us)
        free = min(room.second - len(in_second), room.minute - len(self._calls), room.day - self._day_used)
        last = next(reversed(self._calls.values()), None)
        queued = rank > 0 and any(other.rank > 0 for other in self._waiting.values())
        spaced = rank > 0 and last is not None and (queued or now_us < self._spaced_until)
        if spaced:
            assert last is not None, "only after a call"
            free = min(free, (now_us - last) // rules.spacing_us)
        # One after the other, or those behind would take their turns first.
        blocked = spaced and any(other.rank > 0 and other.due_us + LATE_US >= now_us for other in first)
        behind = rank > 0 and any(other.rank == 0 for other in self._waiting.values())
        if blocked or behind or (rank > 0 and now_us < self._quiet_until):
            free = min(free, 0)
        granted = min(count, free - ahead, rules.spaced_at_once if spaced else count)
        if granted > 0:
            self._waiting.pop(ticket, None)
            self._calls.update(dict.fromkeys(tokens_of(ticket, granted), now_us))
            self._day_used += granted
            if spaced:
                self._spaced_until = now_us + 2 * rules.spacing_us
            return Answer(granted, 0)
        need = ahead + 1
        wait = max(
            _TICK_US if behind else _PAUSE_MIN_US,
            _until_free(in_second, room.second, need, rules.second_us, now_us),
            _until_free(list(self._calls.values()), room.minute, need, rules.minute_us, now_us),
            0 if room.day - self._day_used >= need else _DAY_US - (wall_us + _INDIA_US) % _DAY_US,
        )
        if rank > 0:
            wait = max(wait, self._quiet_until - now_us, ahead * rules.spacing_us if blocked else 0)
            if last is not None:
                wait = max(wait, last + need * rules.spacing_us - now_us)
        self._waiting[ticket] = _Waiter(rank, since, now_us + min(wait, REASK_US), count)
        return Answer(0, wait)

    def leave(self, ticket: str, count: int) -> None:
        """Take an asker's name off, and what it was granted without learning of it."""
        self._waiting.pop(ticket, None)
        self.give_back(tokens_of(ticket, count))

    def give_back(self, tokens: tuple[str, ...]) -> None:
        """Uncount calls that were not made. Tokens that are not known any more are passed over."""
        for token in tokens:
            if self._calls.pop(token, None) is not None:
                self._day_used = max(0, self._day_used - 1)

    def view(self, now_us: int, wall_us: int) -> LaneView:
        self._pass_time(now_us, wall_us)
        return LaneView(
            second=len(self._in_second(now_us)),
            minute=len(self._calls),
            day=self._day_used,
            waiting=len(self._waiting),
        )

    def _in_second(self, now_us: int) -> list[int]:
        return [at for at in self._calls.values() if at > now_us - self._rules.second_us]

    def _pass_time(self, now_us: int, wall_us: int) -> None:
        horizon = now_us - self._rules.minute_us
        while self._calls and next(iter(self._calls.values())) <= horizon:
            del self._calls[next(iter(self._calls))]
        self._waiting = {
            name: waiter for name, waiter in self._waiting.items() if waiter.due_us >= now_us - STALE_US
        }
        day = (wall_us + _INDIA_US) // _DAY_US
        if day != self._day:
            self._day, self._day_used = day, 0


def _until_free(instants: list[int], limit: int, need: int, length_us: int, now_us: int) -> int:
    """How long until a window has room for `need` calls, as things stand."""
    over = len(instants) - (limit - need)
    if over <= 0:
        return 0
    if over > len(instants):
        return length_us
    return instants[over - 1] + length_us - now_us
