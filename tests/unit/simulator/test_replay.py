"""The same entries make the same venue, wherever a crash cuts them, and whatever happened."""

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.simulator.catalog import LotContracts
from pulse_adapters.simulator.entries import (
    Arrived,
    CancelAsked,
    ChangeAsked,
    Codec,
    Converted,
    Entry,
    Expired,
    Placed,
    Rolled,
    SessionChanged,
    Ticked,
)
from pulse_adapters.simulator.values import Doom, Iceberg, Refused, Status, Terms
from pulse_adapters.simulator.values import Stage as Refuser
from pulse_adapters.simulator.venue import Venue
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from tests.unit.simulator.make import INFY, Stage, ask, tick

PRICES = st.integers(1380, 1420)
STEPS = st.tuples(*[st.integers(0, 400)] * 3)
DOOMS = st.sampled_from(
    [None] * 6
    + [Doom(stage=Refuser.RISK, message="no", raw_message="NO")]
    + [Doom(stage=Refuser.EXCHANGE, message="no", raw_message="NO")]
)
ACTIONS = st.one_of(
    st.tuples(
        st.just("place"), st.sampled_from(Side), st.sampled_from(OrderType), st.integers(1, 60), PRICES, STEPS,
        DOOMS, st.sampled_from(["plain", "plain", "ioc", "ttl", "iceberg", "cover", "cnc", "amo"]),
    ),
    st.tuples(st.just("change"), st.integers(0, 9), st.integers(1, 80), PRICES, STEPS, DOOMS),
    st.tuples(st.just("cancel"), st.integers(0, 9), STEPS, DOOMS),
    st.tuples(st.just("tick"), PRICES, st.integers(0, 60)),
    st.tuples(st.just("wait"), st.sampled_from([0.05, 0.5, 70.0])),
    st.tuples(st.just("session"), st.booleans()),
    st.tuples(st.just("roll")),
    st.tuples(st.just("convert"), st.integers(1, 30), st.sampled_from(Side)),
)  # fmt: skip


class Driver:
    """Carries out actions as a desk would."""

    def __init__(self, participation: Decimal | None) -> None:
        self.stage = Stage(capital=60_000, participation=participation)
        self.volume = 0
        self.states = [self.stage.venue.state()]

    def act(self, action: tuple[Any, ...]) -> None:
        getattr(self, action[0])(*action[1:])

    def place(
        self, side: Side, kind: OrderType, quantity: int, price: int, steps: Any, doom: Any, sort: str
    ) -> None:
        terms = Terms(
            quantity=quantity,
            order_type=kind,
            limit_price=Decimal(price) if kind.has_limit else None,
            trigger_price=Decimal(price) if kind.has_trigger else None,
            validity=Validity.IOC if sort == "ioc" else Validity.DAY,
        )
        more: dict[str, Any] = {}
        match sort:
            case "ttl":
                more = {"ttl_minutes": 1}
            case "iceberg":
                iceberg = Iceberg(leg=1, legs=3, leg_quantity=quantity, total_quantity=quantity * 3 - 1)
                more = {"iceberg": iceberg}
            case "cover":
                more = {"variety": "co", "label": "CO", "cover_trigger": Decimal(1400)}
            case "cnc":
                more = {"product": Product.CNC, "label": "CNC"}
            case "amo":
                more = {"variety": "amo"}
        asked = ask(terms, side, **more)
        at = self.stage.later(0.01)
        self._apply(Placed(at=at, ask=asked, worth=Decimal(1400), steps_ms=steps, doom=doom))

    def change(self, index: int, quantity: int, price: int, steps: Any, doom: Any) -> None:
        if (order_id := self._order(index)) is not None:
            terms = Terms(quantity=quantity, order_type=OrderType.LIMIT, limit_price=Decimal(price))
            at = self.stage.later(0.01)
            self._apply(ChangeAsked(at=at, order_id=order_id, terms=terms, steps_ms=steps, doom=doom))

    def cancel(self, index: int, steps: Any, doom: Any) -> None:
        if (order_id := self._order(index)) is not None:
            at = self.stage.later(0.01)
            self._apply(CancelAsked(at=at, order_id=order_id, steps_ms=steps, doom=doom))

    def tick(self, price: int, volume: int) -> None:
        self.volume += volume
        at = self.stage.later(0.01)
        self._apply(Ticked(at=at, tick=tick(price, at, volume=self.volume)))

    def wait(self, seconds: float) -> None:
        """Do what is due, at its time."""
        until = self.stage.now + timedelta(seconds=seconds)
        venue = self.stage.venue
        while (due := venue.next_due()) is not None and due <= until:
            self.stage.now = max(self.stage.now, due)
            for at, record in venue.take_due(due):
                if record.due == at:
                    met = tick(1400, at, volume=self.volume)
                    self._apply(Arrived(at=self.stage.now, order_id=record.order_id, tick=met))
                elif record.expires_at == at:
                    self._apply(Expired(at=self.stage.now, order_id=record.order_id))
        self.stage.now = until

    def session(self, is_open: bool) -> None:
        self._apply(SessionChanged(at=self.stage.later(0.01), is_open=is_open))

    def roll(self) -> None:
        self._apply(Rolled(at=self.stage.later(86_400), marks=((INFY, Decimal(1405)),)))

    def convert(self, quantity: int, side: Side) -> None:
        entry = Converted(
            at=self.stage.later(0.01), instrument=INFY, side=side, quantity=quantity,
            old=("MIS", Product.MIS), new=("CNC", Product.CNC),
        )  # fmt: skip
        with suppress(Refused):
            self.stage.venue.apply(entry)
        # Refused ones are in the journal too.
        self.stage.entries.append(entry)
        self.states.append(self.stage.venue.state())

    def _order(self, index: int) -> str | None:
        ids = list(self.stage.venue.records)
        return ids[index % len(ids)] if ids else None

    def _apply(self, entry: Entry) -> None:
        before = {record.order_id: record.status for record in self.stage.venue.records.values()}
        with suppress(Refused):
            self.stage.apply(entry)
            self.states.append(self.stage.venue.state())
        for record in self.stage.venue.records.values():
            was = before.get(record.order_id)
            assert was is None or not was.is_final or record.status is was, "an order that has ended has moved"
            assert 0 <= record.filled <= max(record.terms.quantity, record.filled)
            assert record.filled == sum(trade.quantity for trade in record.trades)
            assert (record.status is Status.COMPLETE) <= (record.filled == record.terms.quantity)
            assert [snap.at for snap in record.snaps] == sorted(snap.at for snap in record.snaps)
        self.stage.venue.check()


@given(
    actions=st.lists(ACTIONS, max_size=40),
    participation=st.sampled_from([None, Decimal("0.5")]),
    cut=st.floats(0, 1),
)
def test_a_replay_after_a_crash_anywhere_makes_the_same_venue(
    actions: list[tuple[Any, ...]], participation: Decimal | None, cut: float
) -> None:
    driver = Driver(participation)
    for action in actions:
        driver.act(action)

    written = [Codec.encode(entry) for entry in driver.stage.entries]
    at = round(cut * (len(written) - 1)) + 1
    again = Venue(LotContracts())
    for body in written[:at]:
        with suppress(Refused):
            again.apply(Codec.decode(body))

    assert again.state() == driver.states[at - 1]
    again.check()


@given(actions=st.lists(ACTIONS, max_size=30))
def test_what_is_due_survives_a_replay(actions: list[tuple[Any, ...]]) -> None:
    driver = Driver(None)
    for action in actions:
        driver.act(action)
    again = Venue(LotContracts())
    for entry in driver.stage.entries:
        with suppress(Refused):
            again.apply(entry)
    later = driver.stage.now + timedelta(days=1)

    def due(venue: Venue) -> list[tuple[Any, str]]:
        return [(at, record.order_id) for at, record in venue.take_due(later)]

    assert due(again) == due(driver.stage.venue)
