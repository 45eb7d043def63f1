from decimal import Decimal

from pulse_background.alerts import Alerts
from pulse_background.wakeup import Wakeup
from pulse_background.workers.broker_sync import BrokerSync
from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_background.workers.timeout_monitor import TimeoutMonitor
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.ports.notifier import NotificationKind as Kind
from pulse_domain.ports.notifier import Severity
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.memory_notifier import RecordingNotifier
from pulse_domain.testing.scripted_broker import Rejects
from pulse_domain.traffic import BreakerState
from pulse_domain.use_cases.book_facts import BookFacts
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from pulse_domain.use_cases.monitor import MonitorReport, MonitorTimeouts
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileSettings
from pulse_domain.use_cases.record_outcome import RecordOutcomes
from pulse_domain.use_cases.review import InspectBook
from tests.unit.workers.floor import Floor, running


class Told:
    """A floor whose broker is followed, and what people hear of it."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.notifier = RecordingNotifier()
        self.alerts = Alerts(self.notifier.notify)
        facts = BookFacts(floor.store, floor.broker, TAG_PREFIX, on_booked=self.alerts.booked)
        self.sync = BrokerSync(
            floor.broker,
            facts,
            Reconcile(floor.store, floor.broker, facts, floor.clock, ReconcileSettings()),
            InspectBook(floor.store, "worker-1"),
            floor.clock,
            Wakeup(floor.clock),
            interval_s=5.0,
            alerts=self.alerts,
        )
        self.recorder = OutcomeRecorder(
            RecordOutcomes(floor.store, lambda: None), floor.clock, self.alerts.booked
        )

    async def send(self) -> str:
        """Send an order; its broker order id."""
        order = await self.floor.order()
        [claim] = await self.floor.store.claim_executions(1, "executor-1", 120.0)
        execute = ExecuteSlice(self.floor.broker, self.floor.clock, ExecuteSettings(executor="executor-1"))
        self.recorder.add(await execute(claim, self.floor.clock.monotonic()), claim.order)
        await self.recorder.flush()
        [part] = await self.floor.store.slices(order)
        return part.executions[0].broker_order_id or ""

    def kinds(self) -> list[Kind]:
        return [each.kind for each in self.notifier.told]


async def test_each_fill_is_told_once_with_its_figures(floor: Floor) -> None:
    told = Told(floor)
    broker_order_id = await told.send()
    floor.broker.fill(broker_order_id, 60, "1402.35")

    async with running(told.sync.run()):
        await floor.clock.advance(20)
        floor.broker.fill(broker_order_id, 40, "1402.40")
        await floor.clock.advance(20)

    assert told.kinds() == [Kind.FILL, Kind.FILL]
    first = told.notifier.told[0]
    assert (first.severity, first.about) == (Severity.LOW, "NSE:RELIANCE")
    assert (first.parts["side"], first.parts["quantity"], first.parts["price"]) == (
        "BUY", 60, Decimal("1402.35"),
    )  # fmt: skip


async def test_rejection_is_told_where_it_is_recorded(floor: Floor) -> None:
    told = Told(floor)
    floor.broker.on_place(Rejects("FUNDS"))

    await told.send()

    [note] = told.notifier.told
    assert (note.kind, note.severity) == (Kind.REJECT, Severity.HIGH)
    assert "FUNDS" in str(note.parts["reason"])


async def test_stranger_is_told_once_however_often_the_book_is_read(floor: Floor) -> None:
    told = Told(floor)
    await told.sync.first_read()
    floor.broker.foreign(
        instrument=Instrument.parse("NSE:TCS"), side=Side.SELL, quantity=5, tags=(f"{TAG_PREFIX}{'X' * 18}",)
    )

    async with running(told.sync.run()):
        await floor.clock.advance(60)

    assert told.kinds() == [Kind.ANOMALY]
    assert told.notifier.told[0].about == "NSE:TCS"


async def test_late_fill_is_told_as_a_fill_and_as_an_anomaly(floor: Floor) -> None:
    told = Told(floor)
    broker_order_id = await told.send()
    floor.broker.end(broker_order_id, BrokerOrderStatus.CANCELLED)
    async with running(told.sync.run()):
        await floor.clock.advance(10)
        floor.broker.fill(broker_order_id, 10)
        await floor.clock.advance(10)

    assert set(told.kinds()) == {Kind.FILL, Kind.ANOMALY}
    [anomaly] = [each for each in told.notifier.told if each.kind is Kind.ANOMALY]
    assert "LATE_FILL" in str(anomaly.parts)


async def test_what_was_not_sent_in_time_is_told(floor: Floor) -> None:
    told = Told(floor)
    await floor.order()
    await floor.clock.advance(24 * 3600)
    monitor = TimeoutMonitor(
        MonitorTimeouts(floor.store, floor.cancel),
        Wakeup(floor.clock),
        interval_s=30,
        on_report=told.alerts.monitored,
    )

    async with running(monitor.run()):
        await settle()

    assert told.kinds() == [Kind.UNSENT]


def test_routine_is_not_told() -> None:
    notifier = RecordingNotifier()
    alerts = Alerts(notifier.notify)

    alerts.monitored(MonitorReport(cancelled=3))
    alerts.breaker(BreakerState.HALF_OPEN)
    alerts.clock(True)

    assert notifier.told == []


def test_line_and_clock_are_told_when_they_change() -> None:
    notifier = RecordingNotifier()
    alerts = Alerts(notifier.notify)

    alerts.breaker(BreakerState.OPEN)
    alerts.breaker(BreakerState.CLOSED)
    for is_right in (True, False, False, True):
        alerts.clock(is_right)

    assert [(each.kind, each.severity) for each in notifier.told] == [
        (Kind.BREAKER, Severity.HIGH),
        (Kind.BREAKER, Severity.LOW),
        (Kind.CLOCK, Severity.HIGH),
        (Kind.CLOCK, Severity.LOW),
    ]
