"""Late slices get new instants: spaced, inside their window, once."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.orders.execution import Execution
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.status import Phase
from pulse_domain.ports.order_store import LATE_S
from pulse_domain.use_cases.catch_up import CatchUp, spaced
from tests.unit.domain import factories as make
from tests.unit.use_cases.desk import GRACE_S, Desk


def late_order(slices: int, minutes: int, chunks: int):
    """An order split evenly from the market's opening on, and its executions."""
    order = replace(
        make.order(make.request(split_config=SplitConfig(num_splits=max(2, slices), duration_minutes=minutes))),
        starts_at=make.at(),
        ends_at=make.at(60 * minutes),
    )
    step = 60 * minutes / (max(2, slices) - 1)
    executions = [
        Execution(
            order_id=order.order_id, seq=seq + 1, chunk=chunk, tag=f"PU{seq:09}{chunk:09}", planned_quantity=10,
            quantity=10, due_at=make.at(seq * step), expires_at=make.at(60 * minutes + GRACE_S),
        )
        for seq in range(slices) for chunk in range(chunks)
    ]  # fmt: skip
    return order, executions


@given(
    slices=st.integers(1, 100), minutes=st.integers(1, 1440), chunks=st.integers(1, 3), share=st.floats(0.01, 1)
)
def test_new_instants_are_spaced_and_inside_the_window(
    slices: int, minutes: int, chunks: int, share: float
) -> None:
    order, executions = late_order(slices, minutes, chunks)
    now = make.at(share * (60 * minutes + GRACE_S - 1))
    late = [e for e in executions if e.due_at <= now - timedelta(seconds=LATE_S)]

    moved = spaced(order, late, now)

    instants: dict[int, set[datetime]] = {}
    for event in moved:
        instants.setdefault(event.seq, set()).add(event.due_at)
    assert set(instants) == {e.seq for e in late}
    # The chunks of a slice go together.
    assert all(len(each) == 1 for each in instants.values())
    line = [min(instants[seq]) for seq in sorted(instants)]
    end = order.ends_at if order.ends_at > now else order.ends_at + timedelta(seconds=GRACE_S)
    assert not line or now - timedelta(seconds=LATE_S) < line[0] <= now
    assert all(instant < end for instant in line)
    if len(line) > 1:
        base = (order.ends_at - order.starts_at) / (max(2, slices) - 1)
        least = min(base, (end - now) / len(line)) - timedelta(microseconds=10)
        assert all(later - sooner >= least for sooner, later in pairwise(line))


async def test_slices_that_are_in_time_are_left_alone(desk: Desk) -> None:
    order_id = await desk.order(split_config=SplitConfig(num_splits=3, duration_minutes=2, randomize=False))
    await desk.pass_time(60)
    before = await desk.executions(order_id)

    assert await desk.catch_up() == 1

    assert [e.due_at for e in (await desk.executions(order_id))[1:]] == [e.due_at for e in before[1:]]


async def test_many_at_once_move_an_instant_once(desk: Desk) -> None:
    order_id = await desk.order(split_config=SplitConfig(num_splits=5, duration_minutes=10, randomize=False))
    await desk.pass_time(480)

    moved = [await CatchUp(desk.store)() for _ in range(3)]

    assert moved == [4, 0, 0]
    journal = await desk.store.journal(order_id, after_seq=0, limit=100)
    assert sum(entry.event.__struct_config__.tag == "execution_rescheduled" for entry in journal) == 4


async def test_a_batch_never_holds_half_an_order(desk: Desk) -> None:
    orders = [
        await desk.order(f"key-{n}", split_config=SplitConfig(num_splits=4, duration_minutes=10))
        for n in range(3)
    ]
    await desk.pass_time(600 + LATE_S)
    catch_up = CatchUp(desk.store, batch_size=6)

    moved = [await catch_up() for _ in range(4)]

    # Six of twelve are seen at a time, of which the last order may have more.
    assert sum(moved) == 12
    assert moved[-1] == 0
    for order_id in orders:
        executions = await desk.executions(order_id)
        assert [e.phase for e in executions] == [Phase.PLANNED] * 4
        assert all(e.due_at >= desk.clock.now() - timedelta(seconds=LATE_S) for e in executions)
