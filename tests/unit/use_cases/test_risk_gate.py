"""Orders at the risk gate: what it asks for, what it lets pass, and where refusals are put on record."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct

from pulse_domain.errors import DuplicateOrderUniqueKey, RiskRejected, StorageUnavailable, TradingHalted
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.model import OrderType, Product, Side, Source, SplitConfig
from pulse_domain.ports.order_store import Accepted, Booking
from pulse_domain.risk import PriceFacts, ResultFacts, RiskLimits, RiskRule
from pulse_domain.testing.factories import CLIENT
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_audit import InMemoryAuditLog
from pulse_domain.testing.memory_prices import InMemoryPriceBoard
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.segment_calendar import SegmentCalendar
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.preview import PreviewOrder
from pulse_domain.use_cases.risk_gate import RefusedOrder, RiskGate
from tests.unit.use_cases.desk import NIFTY, RELIANCE, Desk, raw_request

PRICE = Decimal("2500")
OTHER = Instrument.parse("NSE:TCS")
EXPIRED = Instrument.parse("NFO:NIFTY25DECFUT")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Held:
    """Positions as a test sets them."""

    def __init__(self) -> None:
        self.units: dict[tuple[Instrument, Product], int] = {}
        self.asked = self.looked_closer = 0

    async def held_by_all(self, at: datetime | None = None) -> Mapping[tuple[Instrument, Product], int]:
        self.asked += 1
        return self.units

    async def carried(self, instrument: Instrument, product: Product) -> tuple[datetime, int]:
        self.looked_closer += 1
        return LONG_AGO, self.units.get((instrument, product), 0)


class Told(Struct, frozen=True):
    facts: ResultFacts | None


class Results:
    def __init__(self) -> None:
        self.net: Decimal | None = Decimal(0)
        self.asked = 0
        self.age = timedelta()

    async def __call__(self, at: datetime) -> Told:
        self.asked += 1
        return Told(None if self.net is None else ResultFacts(at=at - self.age, net=self.net))


class CountingStore(InMemoryOrderStore):
    counted = 0

    async def count_orders(self, *given: Any) -> Any:
        self.counted += 1
        return await super().count_orders(*given)


class GatedDesk(Desk):
    def __init__(self, limits: RiskLimits) -> None:
        super().__init__(CountingStore)
        self.prices, self.held, self.results = InMemoryPriceBoard(), Held(), Results()
        self.audit = InMemoryAuditLog(self.clock)
        self.refused: list[tuple[RefusedOrder, RiskRejected]] = []
        self.unheard: list[Exception] = []
        self.risk = RiskGate(
            self.store,
            self.prices,
            self.held,
            self.results,
            SegmentCalendar(),
            self.clock,
            limits,
            self.audit,
            on_refused=lambda order, error: self.refused.append((order, error)),
            unheard=self.unheard.append,
        )
        parts = (self.master, self.queue, self.clock, self.ids, self.limits, None, self.risk)
        self.accept_order = AcceptOrder(self.store, *parts)
        self.preview = PreviewOrder(self.master, self.clock, self.ids, self.limits, None, self.risk)
        self.kill = KillTrading(self.store, self.queue, self.halt)

    async def show(self, price: Decimal = PRICE, *, age_s: float = 0, **facts: Any) -> None:
        at = self.clock.now() - timedelta(seconds=age_s)
        facts = {"minute_vwap": price} | facts
        await self.prices.publish({RELIANCE: PriceFacts(at=at, last_price=price, **facts)})

    async def rules(self, key: str = "refused", **request: Any) -> list[str]:
        """The rules that refuse a request; the empty list where it is accepted. Preview tells the same."""
        asked = raw_request(**request)
        foretold: list[str] = []
        try:
            await self.preview(asked, CLIENT)
        except RiskRejected as error:
            foretold = [reason["rule"] for reason in error.details["reasons"]]
        try:
            accepted = await self.accept(key, **request)
        except RiskRejected as error:
            rules = [reason["rule"] for reason in error.details["reasons"]]
            assert await self.store.find_accepted(CLIENT, key) is None
            assert sorted(rules) == sorted(foretold)
            return rules
        assert not accepted.replayed
        assert not foretold
        return []


MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def hold(units: int) -> Callable[[GatedDesk], None]:
    def on(desk: GatedDesk) -> None:
        desk.held.units = {(RELIANCE, Product.CNC): units}

    return on


def lose(net: str | None, age_s: float = 0) -> Callable[[GatedDesk], None]:
    def on(desk: GatedDesk) -> None:
        desk.results.net = None if net is None else Decimal(net)
        desk.results.age = timedelta(seconds=age_s)

    return on


def both(*steps: Callable[[GatedDesk], None]) -> Callable[[GatedDesk], None]:
    def on(desk: GatedDesk) -> None:
        for step in steps:
            step(desk)

    return on


SELL = {"side": Side.SELL}
LOSS = RiskLimits(max_daily_loss=Decimal(1000))
# The fake clock stands at 09:30 Indian time.
CUT = RiskLimits(cut_off=time(9, 15))
NOON = RiskLimits(cut_off=time(12, 0))
IN_SESSION = RiskLimits(in_session_only=True)
START = FakeClock().now()
HOURS = SplitConfig(num_splits=3, duration_minutes=150)
BAND: dict[str, Any] = {"lower_circuit": Decimal("2400"), "upper_circuit": Decimal("2600")}
# Name: the limits, what is shown of the price (None: nothing), what else holds, the request, who refuses.
CASES: dict[
    str, tuple[RiskLimits, dict[str, Any] | None, Callable[[GatedDesk], None], dict[str, Any], list[str]]
]
CASES = {
    "small enough": (RiskLimits(max_order_quantity=100), None, hold(0), {}, []),
    "too many units": (RiskLimits(max_order_quantity=99), None, hold(0), {}, [RiskRule.ORDER_QUANTITY]),
    "worth it": (RiskLimits(max_order_value=Decimal(250_000)), {}, hold(0), {}, []),
    "worth more": (RiskLimits(max_order_value=Decimal(249_999)), {}, hold(0), {}, [RiskRule.ORDER_VALUE]),
    "worth unknown": (RiskLimits(max_order_value=Decimal(10**9)), None, hold(0), {}, [RiskRule.ORDER_VALUE]),
    "worth of a while ago": (
        RiskLimits(max_order_value=Decimal(10**9)), {"age_s": 5.1}, hold(0), {}, [RiskRule.ORDER_VALUE],
    ),
    "worth of the future": (
        RiskLimits(max_order_value=Decimal(10**9)), {"age_s": -5.1}, hold(0), {}, [RiskRule.ORDER_VALUE],
    ),
    "price of just now": (RiskLimits(max_order_value=Decimal(10**9)), {"age_s": 5}, hold(0), {}, []),
    "an older price where that is allowed": (
        RiskLimits(max_order_value=Decimal(10**9), price_max_age=MINUTE), {"age_s": 59}, hold(0), {}, [],
    ),
    "a limit near the average": (
        RiskLimits(fat_finger_percent=Decimal(1)), {}, hold(0),
        {"order_type": OrderType.LIMIT, "limit_price": Decimal("2525")}, [],
    ),
    "a fat finger": (
        RiskLimits(fat_finger_percent=Decimal(1)), {}, hold(0),
        {"order_type": OrderType.LIMIT, "limit_price": Decimal("2525.05")}, [RiskRule.FAT_FINGER],
    ),
    "no average": (
        RiskLimits(fat_finger_percent=Decimal(1)), {"minute_vwap": None}, hold(0), {}, [RiskRule.FAT_FINGER],
    ),
    "an average of a while ago": (
        RiskLimits(fat_finger_percent=Decimal(1)), {"age_s": 6}, hold(0), {}, [RiskRule.FAT_FINGER],
    ),
    "far from the circuits": (RiskLimits(circuit_percent=Decimal(1)), BAND, hold(0), {}, []),
    "near a circuit": (
        RiskLimits(circuit_percent=Decimal(4)), BAND, hold(0), {}, [RiskRule.CIRCUIT_BAND],
    ),
    "near a circuit and going out": (RiskLimits(circuit_percent=Decimal(5)), BAND, hold(100), SELL, []),
    "circuits unknown": (RiskLimits(circuit_percent=Decimal(1)), {}, hold(0), {}, [RiskRule.CIRCUIT_BAND]),
    "a loss that is borne": (LOSS, None, lose("-999.99"), {}, []),
    "a loss that is not": (LOSS, None, lose("-1000"), {}, [RiskRule.DAILY_LOSS]),
    "a loss, and an order that takes it down": (LOSS, None, both(lose("-1e9"), hold(100)), SELL, []),
    "a loss, and an order that turns it around": (
        LOSS, None, both(lose("-1e9"), hold(99)), SELL, [RiskRule.DAILY_LOSS],
    ),
    "a result that is not known": (LOSS, None, lose(None), {}, [RiskRule.DAILY_LOSS]),
    "a result of a while ago": (LOSS, None, lose("0", 31), {}, [RiskRule.DAILY_LOSS]),
    "no more positions": (
        RiskLimits(max_open_positions=1), None,
        lambda desk: desk.held.units.update({(OTHER, Product.MIS): -5}), {}, [RiskRule.OPEN_POSITIONS],
    ),
    "more of a position": (RiskLimits(max_open_positions=1), None, hold(7), {}, []),
    "a position that is flat over its products": (
        RiskLimits(max_open_positions=1), None,
        lambda desk: desk.held.units.update({(OTHER, Product.MIS): -5, (OTHER, Product.CNC): 5}), {}, [],
    ),
    "a contract that has expired is no position": (
        RiskLimits(max_open_positions=1), None,
        lambda desk: desk.held.units.update({(EXPIRED, Product.NRML): 75}), {}, [],
    ),
    "after the cut-off": (CUT, None, hold(0), {}, [RiskRule.CUT_OFF]),
    "after the cut-off, going out": (CUT, None, hold(-100), {}, []),
    "before the cut-off": (RiskLimits(cut_off=time(15, 0)), None, hold(0), {}, []),
    "to be sent until the cut-off": (NOON, None, hold(0), {"start_at": START, "split_config": HOURS}, []),
    "to be sent from the cut-off on": (
        NOON, None, hold(0), {"start_at": START + 150 * MINUTE}, [RiskRule.CUT_OFF],
    ),
    "to be sent beyond the cut-off": (
        NOON, None, hold(0), {"start_at": START + MINUTE, "split_config": HOURS}, [RiskRule.CUT_OFF],
    ),
    "to be sent on the morning after the cut-off": (
        CUT, None, hold(0), {"start_at": START + 23 * HOUR}, [],
    ),
    "in session": (RiskLimits(in_session_only=True), None, hold(0), {}, []),
    "in session until its end": (
        IN_SESSION, None, hold(0), {"start_at": START + 210 * MINUTE, "split_config": HOURS}, [],
    ),
    "to be sent beyond the session": (
        IN_SESSION, None, hold(0), {"start_at": START + 211 * MINUTE, "split_config": HOURS},
        [RiskRule.SESSION],
    ),
    "to be sent after the session": (
        IN_SESSION, None, hold(0), {"start_at": START + 10 * HOUR}, [RiskRule.SESSION],
    ),
    "a loss, and a short sale of another product than what is held": (
        LOSS, None, both(lose("-1e9"), hold(1000)), SELL | {"product": Product.MIS}, [RiskRule.DAILY_LOSS],
    ),
    "a loss, and an order that closes one of two products that are flat together": (
        LOSS, None,
        both(lose("-1e9"), lambda desk: desk.held.units.update(
            {(RELIANCE, Product.CNC): 100, (RELIANCE, Product.MIS): -100})), SELL, [],
    ),
    "a further product of what is held is no further position": (
        RiskLimits(max_open_positions=1), None, hold(7), {"product": Product.MIS}, [],
    ),
    "several at once": (
        RiskLimits(max_order_quantity=1, cut_off=time(9, 15)), None, hold(0), {},
        [RiskRule.CUT_OFF, RiskRule.ORDER_QUANTITY],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_every_rule_is_held_at_the_gate_and_told_in_a_preview(name: str) -> None:
    limits, price, step, request, expected = CASES[name]
    desk = GatedDesk(limits)
    if price is not None:
        await desk.show(**price)
    step(desk)

    assert await desk.rules(**request) == expected


WAIVERS: dict[str, tuple[RiskLimits, Callable[[GatedDesk], None], str]] = {
    "loss": (LOSS, both(lose("-1e9"), hold(100)), RiskRule.DAILY_LOSS),
    "unknown result": (LOSS, both(lose(None), hold(100)), RiskRule.DAILY_LOSS),
    "cut-off": (CUT, hold(100), RiskRule.CUT_OFF),
    "circuit": (RiskLimits(circuit_percent=Decimal(5)), hold(100), RiskRule.CIRCUIT_BAND),
}


@pytest.mark.parametrize("name", WAIVERS)
async def test_orders_that_close_pass_for_no_more_units_than_are_held(name: str) -> None:
    limits, step, rule = WAIVERS[name]
    desk = GatedDesk(limits)
    await desk.show(**BAND)
    step(desk)

    assert await desk.rules("one", total_quantity=60, **SELL) == []
    assert await desk.rules("too many", total_quantity=41, **SELL) == [rule]
    assert await desk.rules("the rest", total_quantity=40, strategy_tag="RSI", **SELL) == []
    assert await desk.rules("nothing left", total_quantity=1, **SELL) == [rule]


async def test_what_closes_and_is_done_makes_room_only_where_it_was_not_filled() -> None:
    desk = GatedDesk(LOSS)
    both(lose("-1e9"), hold(100))(desk)
    order_id = await desk.order("one", **SELL)
    [working] = await desk.claim()
    booking = await desk.send(working)
    assert isinstance(booking.event, ev.ExecutionAccepted)
    await desk.record([booking])
    sent = working.execution
    fill = ev.Fill(
        trade_id="T-1",
        broker_order_id=booking.event.broker_order_id,
        quantity=30,
        price=PRICE,
        at=desk.clock.now(),
    )
    ended = ev.ExecutionCancelled(seq=sent.seq, chunk=sent.chunk)
    for event in (ev.ExecutionFilled(seq=sent.seq, chunk=sent.chunk, fill=fill), ended):
        await desk.record([Booking(order_id=order_id, event=event)])

    # The gate has read its positions before the fill, the store counts after it.
    assert await desk.rules("two", total_quantity=71, **SELL) == [RiskRule.DAILY_LOSS]
    assert await desk.rules("three", total_quantity=70, **SELL) == []


async def test_what_closes_is_looked_at_closer_only_where_it_passes_a_rule_for_that() -> None:
    desk = GatedDesk(LOSS)
    assert isinstance(desk.store, CountingStore)
    hold(100)(desk)
    for number in range(3):
        assert await desk.rules(f"key-{number}", **SELL) == []

    assert (desk.held.looked_closer, desk.store.counted) == (0, 0)


async def test_the_refusal_of_what_closes_tells_what_is_open_already() -> None:
    desk = GatedDesk(LOSS)
    both(lose("-1000"), hold(100))(desk)
    await desk.rules("one", total_quantity=60, **SELL)

    with pytest.raises(RiskRejected) as raised:
        await desk.accept("two", total_quantity=50, **SELL)

    assert raised.value.details["reasons"] == [
        {
            "rule": "DAILY_LOSS",
            "reason": "the day's result is -1000.00 after charges;"
            " of 100 units to close, orders for 60 are open already",
            "stale": False,
        }
    ]


async def test_the_gate_is_shut_outside_the_session_and_where_the_calendar_ends() -> None:
    desk = GatedDesk(RiskLimits(in_session_only=True))
    await desk.pass_time(12 * 3600)
    evening = await desk.rules()
    await desk.pass_time(3 * 366 * 86_400)

    assert (evening, await desk.rules()) == ([RiskRule.SESSION], [RiskRule.SESSION])


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        (RiskLimits(max_open_orders=2), RiskRule.OPEN_ORDERS),
        (RiskLimits(max_orders=2), RiskRule.ORDER_RATE),
        (RiskLimits(duplicate_window=MINUTE), RiskRule.DUPLICATE_SIGNAL),
    ],
)
async def test_orders_are_counted_by_the_store(limits: RiskLimits, rule: str) -> None:
    desk = GatedDesk(limits)
    for number, quantity in enumerate((10, 20)):
        assert await desk.rules(f"key-{number}", total_quantity=quantity) == []

    assert await desk.rules("one too many", total_quantity=20) == [rule]


async def test_a_minute_later_the_rate_and_the_same_signal_are_forgotten() -> None:
    desk = GatedDesk(RiskLimits(max_orders=1, duplicate_window=MINUTE))
    assert await desk.rules("one") == []
    assert await desk.rules("two") == [RiskRule.DUPLICATE_SIGNAL, RiskRule.ORDER_RATE]

    await desk.pass_time(60)

    assert await desk.rules("two") == []


@pytest.mark.parametrize("source", [Source.TRADINGVIEW, Source.API, Source.STRATEGY, Source.TELEGRAM])
async def test_whoever_sends_an_order_it_passes_the_same_gate(source: Source) -> None:
    desk = GatedDesk(RiskLimits(max_order_quantity=10))
    command = AcceptCommand(
        client_id=CLIENT,
        order_unique_key=None if source is Source.TRADINGVIEW else "key",
        request=raw_request(strategy_tag="RSI"),
        source=source,
        body_digest="0" * 64,
    )

    with pytest.raises(RiskRejected) as raised:
        await desk.accept_order(command)

    assert raised.value.code == "RISK_REJECTED"
    assert raised.value.details["reasons"] == [
        {"rule": "ORDER_QUANTITY", "reason": "100 units, above 10", "stale": False}
    ]
    assert await desk.store.list_orders(None, limit=10) == []
    [(order, _)] = desk.refused
    assert (order.source, order.request.strategy_tag) == (source, "RSI")


async def test_a_rule_that_lacks_a_fact_says_so() -> None:
    desk = GatedDesk(RiskLimits(fat_finger_percent=Decimal(1)))

    with pytest.raises(RiskRejected) as raised:
        await desk.accept()

    [reason] = raised.value.details["reasons"]
    assert reason["stale"] is True


async def test_a_refusal_is_on_record() -> None:
    desk = GatedDesk(RiskLimits(max_order_quantity=10, duplicate_window=MINUTE))
    await desk.rules("one", strategy_tag="RSI")
    await desk.rules("two", total_quantity=10)
    await desk.rules("three", total_quantity=10)

    newest, oldest = await desk.audit.newest(10)
    assert (oldest.channel, oldest.actor, oldest.place) == ("risk", CLIENT, "api")
    assert (oldest.action, oldest.outcome) == ("order", "refused")
    for told in ("BUY 100 NSE:RELIANCE", "key one", "strategy RSI", "ORDER_QUANTITY: 100 units, above 10"):
        assert told in oldest.detail
    assert "DUPLICATE_SIGNAL" in newest.detail
    assert [order.key for order, _ in desk.refused] == ["one", "three"]


async def test_without_an_audit_log_an_order_is_refused_all_the_same() -> None:
    desk = GatedDesk(RiskLimits(max_order_quantity=10))
    desk.audit.down = True

    assert await desk.rules() == [RiskRule.ORDER_QUANTITY]
    assert [type(error) for error in desk.unheard] == [StorageUnavailable]


async def test_what_was_accepted_stays_accepted_when_the_gate_would_refuse_it_now() -> None:
    limits = RiskLimits(
        max_open_orders=1, max_orders=1, duplicate_window=MINUTE, max_order_value=Decimal(10**9)
    )
    desk = GatedDesk(limits)
    await desk.show()
    first = await desk.accept("key", digest=None)
    seen = GatedDesk(limits)
    await seen.show()
    webhook = await seen.accept(None, digest="a" * 64)
    for each in (desk, seen):
        await each.pass_time(10)  # the price is old now

    assert await desk.accept("key") == Accepted(order_id=first.order_id, order_unique_key="key", replayed=True)
    assert (await seen.accept(None, digest="a" * 64)).order_id == webhook.order_id
    with pytest.raises(DuplicateOrderUniqueKey):
        await desk.accept("key", total_quantity=1)
    assert desk.refused == []


async def test_only_what_a_rule_needs_is_asked_for() -> None:
    desk = GatedDesk(RiskLimits(max_order_quantity=1000, max_orders=1000))
    assert isinstance(desk.store, CountingStore)
    desk.prices.down = True

    await desk.accept()

    assert (desk.held.asked, desk.results.asked, desk.store.counted) == (0, 0, 0)


async def test_the_days_result_is_asked_for_once_in_a_while() -> None:
    desk = GatedDesk(LOSS)
    for number in range(10):
        assert await desk.rules(f"key-{number}") == []
    asked = desk.results.asked
    desk.results.net = Decimal(-5000)
    await desk.pass_time(2)

    assert (asked, await desk.rules("later")) == (1, [RiskRule.DAILY_LOSS])


async def test_a_fact_that_cannot_be_read_lets_nothing_pass() -> None:
    desk = GatedDesk(RiskLimits(max_order_value=Decimal(10**9)))
    desk.prices.down = True

    with pytest.raises(StorageUnavailable):
        await desk.accept()
    assert await desk.store.list_orders(None, limit=10) == []


async def test_without_a_board_or_a_calendar_what_needs_them_is_refused() -> None:
    desk = GatedDesk(RiskLimits())
    limits = RiskLimits(max_order_value=Decimal(10**9), in_session_only=True)
    gate = RiskGate(desk.store, None, desk.held, desk.results, None, desk.clock, limits, desk.audit)

    with pytest.raises(RiskRejected) as raised:
        await gate.check(raw_request().normalised())

    assert [reason["rule"] for reason in raised.value.details["reasons"]] == ["SESSION", "ORDER_VALUE"]
    assert all(reason["stale"] for reason in raised.value.details["reasons"])


async def test_facts_are_read_together_where_that_is_given() -> None:
    desk = GatedDesk(RiskLimits())
    limits = RiskLimits(max_order_value=Decimal(10**9), max_daily_loss=Decimal(1), in_session_only=True)
    sizes = []

    async def at_once(reads: Any) -> list[Any]:
        sizes.append(len(reads))
        return await asyncio.gather(*(read() for read in reads))

    gate = RiskGate(
        desk.store, desk.prices, desk.held, desk.results, SegmentCalendar(), desk.clock,
        limits, desk.audit, together=at_once,
    )  # fmt: skip
    await desk.show()

    await gate.check(raw_request().normalised())

    assert sizes == [4]


async def test_a_split_order_and_one_of_a_derivative_pass_as_any_other() -> None:
    desk = GatedDesk(RiskLimits(max_order_quantity=150, max_open_orders=2))
    split = SplitConfig(num_splits=2, duration_minutes=10)

    assert await desk.rules("one", split_config=split) == []
    assert await desk.rules("two", instrument=NIFTY, total_quantity=150) == []
    assert NIFTY.exchange is Exchange.NFO


async def test_a_kill_shuts_the_gate_until_a_person_resumes() -> None:
    desk = GatedDesk(RiskLimits(max_order_quantity=1000))
    await desk.kill("desk", "enough")
    with pytest.raises(TradingHalted):
        await desk.accept("during")

    await desk.resume("desk", "fine again")

    assert not (await desk.accept("after")).replayed


@pytest.mark.parametrize(
    ("limits", "is_on", "counts"),
    [
        (RiskLimits(), False, False),
        (RiskLimits(price_max_age=MINUTE, result_max_age=MINUTE, orders_window=3 * MINUTE), False, False),
        (RiskLimits(in_session_only=True), True, False),
        (RiskLimits(max_order_value=Decimal(1)), True, False),
        (RiskLimits(max_orders=1), True, True),
        (RiskLimits(max_open_orders=1), True, True),
        (RiskLimits(duplicate_window=MINUTE), True, True),
    ],
)
def test_limits_know_whether_any_is_set(limits: RiskLimits, is_on: bool, counts: bool) -> None:
    assert (limits.any_set, limits.by_count) == (is_on, counts)
