"""What a broker can do to an order, how the order has to end, and why; and the guide that says so.

`GUIDE` is written from this table together with what runs at the simulated brokers saw: a run compares its row
with the committed guide, or writes it (`make docs-faults`).
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from pulse_adapters.simulator.faults import FaultKind
from pulse_domain.orders.status import OrderState

ROOT = Path(__file__).parents[3]
GUIDE = Path("doc/guides/broker_faults.md")

FACES = ("kite", "kotak")

# Real times at a broker are divided by this, and so are the settings that stand against them.
SPEED = 60
# Two reads that prove an absence are five seconds apart, whatever the settings: what has to last longer than
# that is not sped up as much.
_SLOWER = 12
SETTLE_S = 120
LATE_S = (8, 90)

FILLED = {OrderState.FILLED: 3}
NO_UPDATES = {"kind": "lose_update", "times": None}


class Act(StrEnum):
    """What is done besides waiting."""

    CANCEL = "CANCEL"  # the orders rest, and are cancelled under the fault
    LOG_IN = "LOG_IN"  # a person logs in again, once a call was refused for want of a session
    WHOLE_BOOK = "WHOLE_BOOK"  # the book becomes whole again, long after the order could have been sent again


class FaultCase(Struct, frozen=True, kw_only=True):
    """Orders of one slice of ten, all due at once; the second placement is struck where the rules skip one.

    rules: as the control endpoint takes them.
    ends: how many orders end in which state.
    at_broker: how many orders its book holds in the end, by whatever end; each of them under a tag of its own.
    is_sent_again: whether a slice reaches the broker's door more than once.
    settings: variables of the worker that differ.
    faces: where it can happen.
    """

    name: str
    what: str
    rules: tuple[Mapping[str, Any], ...]
    ends: Mapping[OrderState, int]
    at_broker: int = 3
    is_sent_again: bool = False
    why: str
    act: Act | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    faces: tuple[str, ...] = FACES

    @property
    def expected(self) -> str:
        ends = ", ".join(f"{count} {state}" for state, count in self.ends.items())
        return f"{ends}; {'sent again' if self.is_sent_again else 'not sent again'}"


def _second(kind: FaultKind, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "skip": 1, **more}


_HANG = {"seconds": [60 * SPEED, 60 * SPEED]}  # a minute by anybody's clock: longer than any call waits
_IN_THE_BOOK = "It may be live, so nothing is sent; its tag is found among updates or in the order book."
_PROVEN = (
    "It may be live, so nothing is sent until two complete reads of the book, after the settle time, lack it: "
    "then it is sent, under the same tag."
)
_ONE_REFUSED = {OrderState.FILLED: 2, OrderState.REJECTED: 1}
_CANCELLED = {OrderState.CANCELLED: 3}
_ASKED_AGAIN = "The cancel is asked for again until the order has ended; asking twice is harmless."

CASES = (
    FaultCase(
        name="reject",
        what="a placement is refused",
        rules=(_second(FaultKind.REJECT),),
        ends=_ONE_REFUSED,
        at_broker=2,
        why="A definite no is final: sent again it would be refused again. The other orders go on.",
    ),
    FaultCase(
        name="reject_later_risk",
        what="accepted, then refused by the broker's risk management",
        rules=(_second(FaultKind.REJECT_LATER, stage="RISK"),),
        ends=_ONE_REFUSED,
        why="The refusal comes as an update or in the book, and is as final as one at once.",
    ),
    FaultCase(
        name="reject_later_exchange",
        what="accepted, then refused by the exchange",
        rules=(_second(FaultKind.REJECT_LATER, stage="EXCHANGE"),),
        ends=_ONE_REFUSED,
        why="The same.",
    ),
    FaultCase(
        name="too_many",
        what="429, and for all orders of that calendar second",
        rules=(_second(FaultKind.TOO_MANY),),
        ends=FILLED,
        is_sent_again=True,
        why="The request certainly went no further: it is tried again a second later.",
    ),
    FaultCase(
        name="timeout_before",
        what="never accepted, never answered",
        rules=(_second(FaultKind.TIMEOUT_BEFORE, **_HANG),),
        ends=FILLED,
        is_sent_again=True,
        why=_PROVEN,
    ),
    FaultCase(
        name="drop_before",
        what="never accepted, the connection is cut",
        rules=(_second(FaultKind.DROP_BEFORE),),
        ends=FILLED,
        is_sent_again=True,
        why=_PROVEN,
    ),
    FaultCase(
        name="html_504_before",
        what="never accepted, a proxy answers with a page",
        rules=(_second(FaultKind.HTML_504_BEFORE),),
        ends=FILLED,
        is_sent_again=True,
        why=_PROVEN,
    ),
    FaultCase(
        name="hang_after",
        what="accepted, never answered",
        rules=(_second(FaultKind.HANG_AFTER, **_HANG),),
        ends=FILLED,
        why=_IN_THE_BOOK,
    ),
    FaultCase(
        name="drop_after",
        what="accepted, the connection is cut",
        rules=(_second(FaultKind.DROP_AFTER),),
        ends=FILLED,
        why=_IN_THE_BOOK,
    ),
    FaultCase(
        name="drop_after_silence",
        what="accepted, the connection is cut, and no update ever comes",
        rules=(_second(FaultKind.DROP_AFTER), NO_UPDATES),
        ends=FILLED,
        why="The order book alone is enough.",
    ),
    FaultCase(
        name="html_504_after",
        what="accepted, a proxy answers with a page",
        rules=(_second(FaultKind.HTML_504_AFTER), NO_UPDATES),
        ends=FILLED,
        why=_IN_THE_BOOK,
    ),
    FaultCase(
        name="timed_out_400",
        what="accepted, and answered with a 400 that says it timed out",
        rules=(_second(FaultKind.TIMED_OUT_400), NO_UPDATES),
        ends=FILLED,
        why="A 400 is no refusal where its text speaks of a time-out: such orders have appeared.",
    ),
    FaultCase(
        name="hide",
        what=f"accepted, in the book only {LATE_S[0]} to {LATE_S[1]} s later, and no update ever comes",
        rules=(_second(FaultKind.HIDE, seconds=LATE_S), NO_UPDATES),
        ends=FILLED,
        why="The answer has told its id: a book without it is incomplete, and nothing is concluded from that.",
    ),
    FaultCase(
        name="drop_after_hide",
        what=f"accepted, the connection is cut, in the book only {LATE_S[1]} s later, and no update ever comes",
        rules=(
            _second(FaultKind.DROP_AFTER),
            _second(FaultKind.HIDE, seconds=[LATE_S[1] * SPEED / _SLOWER] * 2),
            NO_UPDATES,
        ),
        ends=FILLED,
        settings={"UNKNOWN_SETTLE_SECONDS": str(SETTLE_S / _SLOWER)},
        why=f"Absence is believed only of books that were read {SETTLE_S} s and more after the call.",
    ),
    FaultCase(
        name="stall",
        what=f"accepted, and for {LATE_S[0]} to {LATE_S[1]} s on its way to the exchange",
        rules=(_second(FaultKind.STALL, seconds=LATE_S),),
        ends=FILLED,
        why="It is followed until it ends, however long that takes.",
    ),
    FaultCase(
        name="truncate",
        what="accepted, the connection is cut, no update, and the book lacks its newest rows for very long",
        rules=({"kind": FaultKind.DROP_AFTER}, NO_UPDATES, {"kind": "truncate", "rows": 2, "times": None}),
        ends={OrderState.FILLED: 1},
        at_broker=1,
        act=Act.WHOLE_BOOK,
        why="A book that lacks an order that we know of proves no absence. Once it is whole, the order is "
        "found.",
    ),
    FaultCase(
        name="truncate_for_good",
        what="the same, and the book never becomes whole",
        rules=({"kind": FaultKind.DROP_AFTER}, NO_UPDATES, {"kind": "truncate", "rows": 2, "times": None}),
        ends={OrderState.UNRESOLVED: 1},
        at_broker=1,
        settings={"UNKNOWN_GIVE_UP_SECONDS": "9"},
        why="Neither found nor proven absent: it is for a person, and never sent again.",
    ),
    FaultCase(
        name="lose_update",
        what="no update ever comes",
        rules=(NO_UPDATES,),
        ends=FILLED,
        why="Every few seconds the whole book is read.",
    ),
    FaultCase(
        name="double_update",
        what="every update comes twice",
        rules=({"kind": "double_update", "times": None},),
        ends=FILLED,
        why="A trade counts once, however often it is told.",
    ),
    FaultCase(
        name="double_update_alone",
        what="every update comes twice, and the book is hardly ever read",
        rules=({"kind": "double_update", "times": None},),
        ends=FILLED,
        settings={"BROKER_SYNC_INTERVAL_SECONDS": "600"},
        why="The same, by updates alone.",
    ),
    FaultCase(
        name="delay_update",
        what="every other update comes after the one that follows it",
        rules=({"kind": "delay_update", "times": None},),
        ends=FILLED,
        why="What is reported follows from the facts, not from their order; what has ended stays ended.",
    ),
    FaultCase(
        name="expire_token",
        what="all sessions end while orders go out",
        rules=(_second(FaultKind.EXPIRE_TOKEN),),
        ends=FILLED,
        is_sent_again=True,
        act=Act.LOG_IN,
        why="Nothing of the refused call was taken. Slices wait, and go on with the next login.",
    ),
    FaultCase(
        name="book_drop",
        what="the answer to a placement is lost, and three reads of the book break off",
        rules=(
            _second(FaultKind.DROP_AFTER),
            {"kind": FaultKind.DROP_BEFORE, "call": "book", "times": 3},
            NO_UPDATES,
        ),
        ends=FILLED,
        why="From a book that could not be read nothing is concluded; the next read tells.",
    ),
    FaultCase(
        name="cancel_reject",
        what="a cancel is refused",
        rules=({"kind": FaultKind.REJECT, "call": "cancel"},),
        ends=_CANCELLED,
        act=Act.CANCEL,
        why="The order rests, so the cancel is asked for again, ever less often.",
    ),
    FaultCase(
        name="cancel_drop_before",
        what="a cancel is not taken, the connection is cut",
        rules=({"kind": FaultKind.DROP_BEFORE, "call": "cancel"},),
        ends=_CANCELLED,
        act=Act.CANCEL,
        why=_ASKED_AGAIN,
    ),
    FaultCase(
        name="cancel_drop_after",
        what="a cancel is taken, the connection is cut",
        rules=({"kind": FaultKind.DROP_AFTER, "call": "cancel"},),
        ends=_CANCELLED,
        act=Act.CANCEL,
        why=_ASKED_AGAIN,
    ),
    FaultCase(
        name="cancel_too_many",
        what="a cancel gets a 429, as does every order of that calendar second",
        rules=({"kind": FaultKind.TOO_MANY, "call": "cancel"},),
        ends=_CANCELLED,
        act=Act.CANCEL,
        why=_ASKED_AGAIN,
    ),
)


def cases_at(face: str) -> list[FaultCase]:
    return [case for case in CASES if face in case.faces]


class Seen(Struct, frozen=True, kw_only=True):
    """What a run saw; nothing of it depends on how fast the machine is.

    codes: how calls ended that did not plainly succeed.
    orders, filled: in the broker's true book, the latter in units.
    """

    codes: frozenset[str]
    orders: int
    filled: int

    def __str__(self) -> str:
        ends = {_IN_WORDS.get(code, f"`{code}`") for code in self.codes - _OF_CHANCE}
        return f"{', '.join(sorted(ends)) or 'all answered'}; orders: {self.orders}, filled: {self.filled}"


# Which of two comes first is a matter of microseconds.
_IN_WORDS = {"TIMEOUT": "no answer", "CONNECTION_LOST": "no answer", "NO_SESSION": "`SESSION_EXPIRED`"}
# Of cancels that are asked for once more before it is known that the order has ended.
_OF_CHANCE = frozenset({"ORDER_NOT_OPEN", "ORDER_IN_PROCESS"})


# --- the guide ---------------------------------------------------------------------------------

_INTRODUCTION = f"""\
# What brokers do to orders, and how orders end

Written by `make docs-faults`, which runs each fault; change `tests/integration/workers/broker_faults.py`.

Every row is a test: a background process with the broker's real adapter, on Postgres, at a
[simulated broker](zerodha_integration.md#the-first-paper-order) that is told to misbehave. First one order is
filled. Then the fault is armed, and three orders come, each of one slice of ten, all due at once (one order
where the book is truncated). In every row the broker's own book held each slice at most once, with no more than
its ten units.

The broker's times are divided by {SPEED}, and so are the settings that stand against them: the settle time of
{SETTLE_S} s, and orders that appear in the book {LATE_S[0]} to {LATE_S[1]} s late. `drop_after_hide` is sped up
by {_SLOWER} only, so that without the settle time its absence would be believed.

What was seen: how calls ended that did not plainly succeed (a call may be one of several; cancels of what had
ended, or could not be cancelled yet, are left out), how many orders the broker's true book holds, and how many
units of them are filled.
"""

_Cells = dict[tuple[str, str], str]


def render(cells: _Cells) -> str:
    """The guide, with what was seen by face and case."""
    faces = sorted({face for face, _ in cells}, key=FACES.index)
    head = ("Fault", "What goes wrong", "The orders end", "Because", *(f"Seen at {face}" for face in faces))
    rows = [
        (
            f"`{case.name}`",
            case.what,
            case.expected,
            case.why,
            *(cells.get((face, case.name), "-") for face in faces),
        )
        for case in CASES
    ]
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join([_INTRODUCTION, *("| " + " | ".join(line) + " |" for line in lines), ""])


def read_cells(text: str) -> _Cells:
    """What the committed guide says was seen; of cases that there still are."""
    head = re.search(r"^\| Fault .*$", text, re.MULTILINE)
    faces = re.findall(r"Seen at (\w+)", head[0]) if head else []
    cells: _Cells = {}
    for line in text.splitlines():
        found = re.match(r"\| `(\w+)` \|", line)
        if found and any(case.name == found[1] for case in CASES):
            values = [value.strip() for value in line.split(" | ")[-len(faces) :]]
            cells |= {
                (face, found[1]): value.removesuffix(" |") for face, value in zip(faces, values, strict=True)
            }
    return cells


def committed() -> str:
    path = ROOT / GUIDE
    return path.read_text(encoding="utf-8") if path.exists() else ""


def document() -> str:
    """The guide as it must be: its words from the table, and what was seen as committed."""
    return render(read_cells(committed()))


def write(face: str, case: FaultCase, seen: Seen) -> None:
    cells = read_cells(committed()) | {(face, case.name): str(seen)}
    (ROOT / GUIDE).write_text(render(cells), encoding="utf-8")
