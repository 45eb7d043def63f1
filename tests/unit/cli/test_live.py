from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from rich.console import Console

from pulse.client import Event
from pulse.live import Watched, screen, window
from pulse.views import Slice, Slices
from tests.unit.cli import make


def row(number: int, seconds: float, kind: str, **event: Any) -> Event:
    at = make.NINE + timedelta(seconds=seconds)
    return Event(seq=number, data={"seq": number, "at": at.isoformat(), "event": {"kind": kind, **event}})


def the_order(**given: Any) -> Event:
    return Event(seq=None, data=msgspec.to_builtins(make.order(**given)))


def watching(*slices: Slice, **given: Any) -> Watched:
    watched = Watched()
    watched.take(the_order(**given))
    watched.take_slices(Slices(order_id="ord_1", slices=slices))
    return watched


def text_of(watched: Watched, *, height: int = 40, after_s: float = 0) -> str:
    console = Console(width=100, height=height, markup=False, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(screen(watched, console, make.NINE + timedelta(seconds=after_s)))
    return captured.get()


def test_lateness_counts_to_the_last_chunk_that_was_placed() -> None:
    slice_ = make.slice_(1, executions=(make.execution(), make.execution(), make.execution()))
    watched = watching(slice_)

    watched.take(row(4, 0.010, "execution_claimed", seq=1, chunk=0))
    watched.take(row(5, 0.100, "execution_accepted", seq=1, chunk=0))
    watched.take(row(6, 0.250, "execution_accepted", seq=1, chunk=1))
    watched.take(row(7, 9.000, "execution_accepted", seq=1, chunk=0))

    assert watched.late_s(slice_) == pytest.approx(0.25)


def test_slice_that_was_not_placed_has_no_lateness() -> None:
    assert watching(make.slice_(1)).late_s(make.slice_(1)) is None


def test_slices_are_stale_once_the_journal_moved() -> None:
    watched = watching(make.slice_(1))
    assert not watched.has_moved

    watched.take(row(4, 0, "execution_claimed", seq=1, chunk=0))

    assert watched.has_moved


def test_next_due_is_the_earliest_unsent() -> None:
    sent = make.slice_(1, stage="PROCESSED", outcome="FILLED")

    assert watching(sent, make.slice_(3), make.slice_(2)).next_due() == make.NINE + timedelta(minutes=1)
    assert watching(sent).next_due() is None


@pytest.mark.usefixtures("kolkata")
def test_screen_shows_order_bar_slices_and_what_comes_next() -> None:
    sent = make.slice_(1, stage="PROCESSED", outcome="FILLED", executions=(make.filled(20, "3787.05"),))
    watched = watching(
        sent,
        make.slice_(2),
        quantities=make.quantities(filled=20, unsent=100),
        average_price=Decimal("3787.05"),
    )
    watched.take(row(4, 0.25, "execution_accepted", seq=1, chunk=0))

    shown = text_of(watched, after_s=18)

    assert "ord_1  BUY 120 NSE:TCS  WORKING" in shown
    assert "20/120 at 3787.05" in shown
    assert "1  09:15:00+05:30        20  PROCESSED  FILLED       20  3787.05  +0.250 s" in shown
    assert "2  09:16:00+05:30        20  SCHEDULED  -             0        -         -" in shown
    assert "next slice in 0:42" in shown


def test_screen_says_that_the_connection_is_lost_until_it_is_back() -> None:
    watched = watching(make.slice_(1))
    watched.notice = "the connection is lost, trying again"
    assert "the connection is lost" in text_of(watched)

    watched.take(the_order())

    assert "the connection is lost" not in text_of(watched)


def test_screen_before_the_first_event_waits() -> None:
    assert text_of(Watched()).strip() == "waiting for the order"


def test_long_order_fits_the_screen() -> None:
    shown = text_of(watching(*(make.slice_(seq) for seq in range(1, 101))), height=24)

    assert len(shown.splitlines()) < 24
    assert "84 more slices" in shown


@pytest.mark.parametrize(
    ("finished", "seen"), [(0, range(1, 7)), (3, range(2, 8)), (18, range(15, 21)), (20, range(15, 21))]
)
def test_window_follows_the_first_unfinished_slice(finished: int, seen: range) -> None:
    slices = tuple(make.slice_(seq, outcome="FILLED" if seq <= finished else None) for seq in range(1, 21))

    assert [slice_.seq for slice_ in window(slices, 6)] == list(seen)
