"""What a seed stands for: orders, wishes, and faults, drawn beforehand as plain values.

Nothing of a scenario is drawn while it is played, so any of its parts can be left out and the rest stays as it
is: that is how a failing seed is made small.
"""

from enum import StrEnum
from random import Random

from msgspec import Struct
from msgspec.structs import replace

WORKER, API = "worker", "api"


class Post(Struct, frozen=True, kw_only=True):
    """An order that a client sends at an instant; seconds from the beginning of the day.

    at_once: it has one execution, due when it comes, and comes to a worker, as those of strategies do.
    """

    at: float
    name: str
    instrument: str
    side: str
    quantity: int
    splits: int
    minutes: int
    randomize: bool
    order_type: str
    starts_in_s: float | None
    at_once: bool = False


class Cancel(Struct, frozen=True, kw_only=True):
    at: float
    name: str


class Halt(Struct, frozen=True, kw_only=True):
    at: float
    lasting_s: float


class Pause(Struct, frozen=True, kw_only=True):
    """An operator holds an order back, and lets it go on."""

    at: float
    name: str
    lasting_s: float


class BlowKind(StrEnum):
    KILL = "KILL"
    FREEZE = "FREEZE"


class Stage(StrEnum):
    """Where a request of the process is when the blow falls."""

    ASKED = "ASKED"  # about to be sent
    ARRIVED = "ARRIVED"  # it has had its effect, and the process does not know


class Blow(Struct, frozen=True, kw_only=True):
    """Kill or freeze the process in a slot.

    on: at the `nth` request of that kind after `at`; empty: at the instant itself.
    lasting_s: until it is woken, or another process takes the slot.
    """

    at: float
    kind: BlowKind
    slot: str
    lasting_s: float
    on: str = ""
    nth: int = 1
    stage: Stage = Stage.ASKED


class StoreFault(Struct, frozen=True, kw_only=True):
    """The store does not answer. `lost`: the share of steps that take place all the same, in its first seconds.

    slot: empty: nobody is answered. steps: empty: none of them.
    """

    at: float
    lasting_s: float
    lost: float
    slot: str = ""
    steps: tuple[str, ...] = ()


class BrokerTrouble(StrEnum):
    OUTAGE = "OUTAGE"  # the line is dead: refused, or cut in the middle
    REFUSED = "REFUSED"  # no connection, or too many requests: nothing is sent
    ANSWER_LOST = "ANSWER_LOST"  # the order is taken, and nobody learns of it
    REQUEST_LOST = "REQUEST_LOST"  # it is not taken, and nobody learns of that
    HANGS = "HANGS"  # no end within the deadline; it may arrive long after
    SLOW = "SLOW"  # answers take seconds
    REJECTS = "REJECTS"
    CANCEL_FAILS = "CANCEL_FAILS"
    READ_FAILS = "READ_FAILS"
    READ_CUT = "READ_CUT"  # a book that says that it is not complete
    READ_SHORT = "READ_SHORT"  # one that lacks rows and does not say so
    OTHER_DAY = "OTHER_DAY"  # the book of yesterday
    SHOWN_LATE = "SHOWN_LATE"  # orders appear in the book up to 90 s late
    TRADES_LATE = "TRADES_LATE"  # the running total is ahead of the trades
    PUSHES_LOST = "PUSHES_LOST"
    PUSHES_MIXED = "PUSHES_MIXED"  # doubled and out of order
    NO_SESSION = "NO_SESSION"


class BrokerFault(Struct, frozen=True, kw_only=True):
    """share: of the calls within the time that are hit."""

    at: float
    lasting_s: float
    trouble: BrokerTrouble
    share: float = 1.0


class Foreign(Struct, frozen=True, kw_only=True):
    """An order of somebody else in the same book that looks like one of the post's slices."""

    at: float
    name: str


class LeadLost(Struct, frozen=True, kw_only=True):
    """The leader's connection breaks: another may lead before it knows."""

    at: float


class QueueFault(Struct, frozen=True, kw_only=True):
    """share: of the hints within the time that are lost; others come late or twice."""

    at: float
    lasting_s: float
    share: float


Fault = Blow | StoreFault | BrokerFault | Foreign | LeadLost | QueueFault


class Scenario(Struct, frozen=True, kw_only=True):
    """close_s: when the exchange closes. From then on nothing fails any more, and all orders have to end.

    skews_s: of the clocks of workers and order APIs. poll_s: of the executors.
    """

    seed: int
    posts: tuple[Post, ...]
    cancels: tuple[Cancel, ...]
    halts: tuple[Halt, ...]
    pauses: tuple[Pause, ...] = ()
    faults: tuple[Fault, ...]
    close_s: float
    workers: int = 2
    apis: int = 2
    limited: bool = False
    poll_s: float = 1.1
    # Whether the broker tells of changes, or is only asked.
    pushes: bool = True
    # What becomes of orders that rest at the broker when their window has ended.
    on_window_end: str = "leave"
    skews_s: tuple[float, ...] = ()

    @property
    def slices(self) -> int:
        return sum(post.splits for post in self.posts)


_STOCKS = ("NSE:RELIANCE", "NSE:INFY", "NSE:TCS", "BSE:SBIN")
_FUTURE = "NFO:NIFTY26NOVFUT"
_FUTURE_LOT = 65
# Steps and calls at which a blow falls: those whose interruption leaves something behind.
_BLOWS_ON = (
    "store.claim_executions",
    "broker.place",
    "store.book",
    "store.accept",
    "store.claim_orders",
    "store.save_split",
    "broker.order_book",
    "broker.cancel",
    "store.in_flight",
)
_API_BLOWS_ON = ("store.accept", "store.request_cancel", "store.halt", "store.get")
_STORE_STEPS: tuple[tuple[str, ...], ...] = (
    (),
    ("book",),
    ("claim_executions",),
    ("accept",),
    ("accept", "request_cancel", "halt", "resume"),
    ("save_split", "claim_orders"),
    ("book", "claim_executions"),
)


def draw_scenario(seed: int) -> Scenario:
    """The day of a seed: at least 20 orders of 200 slices, and 5 faults."""
    rng = Random(seed)
    workers = rng.choice((2, 2, 2, 2, 3))
    posts = _draw_posts(rng)
    close_s = max(post.at + (post.starts_in_s or 0.0) + post.minutes * 60 for post in posts)
    close_s += rng.choice((120.0, 600.0, 3600.0))
    return Scenario(
        seed=seed,
        posts=tuple(posts),
        cancels=_draw_cancels(rng, posts),
        halts=_draw_halts(rng, posts),
        pauses=_draw_pauses(rng, posts),
        faults=_draw_faults(rng, posts, workers, close_s),
        close_s=close_s,
        workers=workers,
        limited=rng.random() < 0.25,
        poll_s=rng.choice((2.1, 4.9, 9.9)),
        pushes=rng.random() < 0.6,
        on_window_end=rng.choice(("leave", "leave", "cancel")),
        skews_s=_draw_skews(rng, workers),
    )


def _draw_skews(rng: Random, workers: int) -> tuple[float, ...]:
    """Of the workers' clocks and those of two order APIs: right enough, but for one in some days."""
    skews = [rng.uniform(-0.2, 0.2) for _ in range(workers + 2)]
    if rng.random() < 0.1:
        skews[rng.randrange(workers)] = rng.choice((1.0, -30.0, 600.0))
    return tuple(skews)


def _draw_posts(rng: Random) -> list[Post]:
    """Bunches of orders over the day, those of a bunch at about the same time."""
    posts: list[Post] = []
    at = rng.uniform(1.0, 600.0)
    while len(posts) < 20:
        minutes = rng.choice((1, 2, 5, 10, 20))
        even = rng.random() < 0.6
        start = rng.choice((None, 5.0, 90.0))
        for _ in range(min(rng.randint(5, 8), 21 - len(posts))):
            splits = rng.choice((10, 10, 10, 12))
            future = rng.random() < 0.2
            lots = splits * rng.randint(1, 40)
            posts.append(
                Post(
                    at=at + (rng.uniform(0.0, 3.0) if start is None else rng.uniform(0.0, 1.0)),
                    name=f"order-{len(posts) + 1}",
                    instrument=_FUTURE if future else rng.choice(_STOCKS),
                    side=rng.choice(("BUY", "SELL")),
                    quantity=lots * _FUTURE_LOT if future else lots,
                    splits=splits,
                    minutes=minutes,
                    randomize=not even,
                    order_type=rng.choice(("MARKET", "MARKET", "LIMIT")),
                    starts_in_s=start,
                )
            )
        at += minutes * 60 + rng.choice((60.0, 600.0, 3600.0, 5400.0)) * rng.uniform(0.5, 1.0)
    # Where others are busy.
    return posts + [_draw_at_once(rng, posts, number) for number in range(1, rng.randint(4, 8))]


def _draw_at_once(rng: Random, posts: list[Post], number: int) -> Post:
    return Post(
        at=_busy_instant(rng, posts),
        name=f"at-once-{number}",
        instrument=rng.choice(_STOCKS),
        side=rng.choice(("BUY", "SELL")),
        quantity=rng.randint(1, 40),
        splits=1,
        minutes=0,
        randomize=False,
        order_type=rng.choice(("MARKET", "MARKET", "LIMIT")),
        starts_in_s=None,
        at_once=True,
    )


def _busy_instant(rng: Random, posts: list[Post]) -> float:
    """An instant at which something of a post is under way."""
    post = rng.choice(posts)
    begins = post.at + (post.starts_in_s or 0.0)
    if rng.random() < 0.3:
        return begins + rng.uniform(-2.0, 5.0)
    return begins + rng.uniform(0.0, post.minutes * 60.0)


def _draw_cancels(rng: Random, posts: list[Post]) -> tuple[Cancel, ...]:
    cancelled = rng.sample(posts, rng.randint(1, 5))
    return tuple(
        Cancel(
            at=post.at + rng.choice((0.5, 3.0, 60.0, rng.uniform(0.0, post.minutes * 60.0 + 60.0))),
            name=post.name,
        )
        for post in cancelled
    )


def _draw_halts(rng: Random, posts: list[Post]) -> tuple[Halt, ...]:
    return tuple(
        Halt(at=_busy_instant(rng, posts), lasting_s=rng.choice((5.0, 40.0, 180.0, 900.0)))
        for _ in range(rng.randint(0, 2))
    )


def _draw_pauses(rng: Random, posts: list[Post]) -> tuple[Pause, ...]:
    return tuple(
        Pause(
            at=post.at + rng.uniform(0.0, post.minutes * 60.0),
            name=post.name,
            lasting_s=rng.choice((5.0, 60.0, 600.0)),
        )
        for post in rng.sample(posts, rng.choice((0, 1, 2)))
    )


def _draw_faults(rng: Random, posts: list[Post], workers: int, close_s: float) -> tuple[Fault, ...]:
    slots = [f"{WORKER}-{number}" for number in range(workers)]
    faults: list[Fault] = [
        _draw_blow(rng, posts, rng.choice(slots), _BLOWS_ON) for _ in range(rng.randint(2, 5))
    ]
    if rng.random() < 0.3:
        faults.append(_draw_blow(rng, posts, f"{API}-{rng.randrange(2)}", _API_BLOWS_ON))
    for _ in range(rng.randint(1, 3)):
        everybody = rng.random() < 0.5
        faults.append(
            StoreFault(
                at=_busy_instant(rng, posts),
                lasting_s=rng.choice((0.5, 3.0, 20.0, 150.0, 900.0, 7200.0 if rng.random() < 0.3 else 60.0)),
                lost=rng.choice((0.0, 0.5, 1.0)),
                slot="" if everybody else rng.choice(slots),
                steps=rng.choice(_STORE_STEPS),
            )
        )
    for _ in range(rng.randint(3, 7)):
        trouble = rng.choice(tuple(BrokerTrouble))
        faults.append(
            BrokerFault(
                at=_busy_instant(rng, posts) - 1.0,
                lasting_s=rng.choice((10.0, 60.0, 300.0, 1200.0)),
                trouble=trouble,
                share=rng.choice((0.2, 0.5, 1.0)),
            )
        )
    if rng.random() < 0.15:
        # All workers are gone, for hours maybe.
        at, lasting_s = _busy_instant(rng, posts), rng.choice((30.0, 600.0, 5400.0, 10800.0))
        faults += [Blow(at=at, kind=BlowKind.KILL, slot=slot, lasting_s=lasting_s) for slot in slots]
    if rng.random() < 0.1:
        faults.append(Foreign(at=_busy_instant(rng, posts), name=rng.choice(posts).name))
    if rng.random() < 0.3:
        faults.append(LeadLost(at=_busy_instant(rng, posts)))
    if rng.random() < 0.5:
        faults.append(
            QueueFault(at=_busy_instant(rng, posts) - 60.0, lasting_s=1200.0, share=rng.choice((0.3, 1.0)))
        )
    if rng.random() < 0.5:
        faults += _draw_bad_moment(rng, posts, slots)
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _draw_bad_moment(rng: Random, posts: list[Post], slots: list[str]) -> list[Fault]:
    """Misfortunes that seldom come alone: one worker's answers are lost while the broker is not to be had."""
    at, slot = _busy_instant(rng, posts), rng.choice(slots)
    trouble = rng.choice(
        (BrokerTrouble.REFUSED, BrokerTrouble.HANGS, BrokerTrouble.ANSWER_LOST, BrokerTrouble.REQUEST_LOST)
    )
    moment: list[Fault] = [
        BrokerFault(at=at - 2.0, lasting_s=rng.choice((20.0, 120.0)), trouble=trouble),
        StoreFault(at=at, lasting_s=rng.choice((4.0, 30.0)), lost=1.0, slot=slot, steps=("book",)),
    ]
    if rng.random() < 0.5:
        moment.append(BrokerFault(at=at + 1.5, lasting_s=60.0, trouble=BrokerTrouble.SLOW))
    if rng.random() < 0.5:
        blow = _draw_blow(rng, posts, slot, ("store.book", "broker.place"))
        moment.append(replace(blow, at=at))
    return moment


def _draw_blow(rng: Random, posts: list[Post], slot: str, on: tuple[str, ...]) -> Blow:
    kill = rng.random() < 0.55
    aimed = rng.random() < 0.8
    return Blow(
        at=_busy_instant(rng, posts),
        kind=BlowKind.KILL if kill else BlowKind.FREEZE,
        slot=slot,
        lasting_s=(
            rng.choice((1.0, 15.0, 150.0, 1200.0))
            if kill
            else rng.choice((3.0, 30.0, 130.0, 300.0, 900.0, 7200.0))
        ),
        on=on[min(len(on) - 1, int(rng.expovariate(0.6)))] if aimed else "",
        nth=rng.choice((1, 1, 2, 3)),
        stage=rng.choice(tuple(Stage)),
    )
