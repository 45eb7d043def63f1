"""The whole domain on its doubles, and the verbs that a story needs."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pulse_domain.errors import UnknownInstrument
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import OrderRequest, Side, Source
from pulse_domain.ports.broker import BrokerOrder
from pulse_domain.ports.order_store import Accepted, Booked, Booking, Claim, OrderView
from pulse_domain.splitting import PaceLimits
from pulse_domain.testing.factories import CLIENT, TAG_PREFIX
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_queue import RecordingQueue
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.scripted_broker import ScriptedBroker
from pulse_domain.testing.sequential_ids import SequentialIds
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder
from pulse_domain.use_cases.book_facts import BookFacts
from pulse_domain.use_cases.cancel import CancelExecutions, RequestCancel
from pulse_domain.use_cases.catch_up import CatchUp
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from pulse_domain.use_cases.halt import HaltTrading, ResumeTrading
from pulse_domain.use_cases.monitor import MonitorTimeouts
from pulse_domain.use_cases.preview import PreviewOrder
from pulse_domain.use_cases.read import ReadOrders
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileSettings
from pulse_domain.use_cases.record_outcome import RecordOutcomes
from pulse_domain.use_cases.split import SplitOrders, SplitSettings

RELIANCE = Instrument.parse("NSE:RELIANCE")
NIFTY = Instrument.parse("NFO:NIFTY26JANFUT")

LEASE_S = 120.0
GRACE_S = 60.0
SETTLE_S = 120.0
GIVE_UP_S = 1800.0


class TinyMaster:
    """Two instruments, whose terms a test may change."""

    def __init__(self) -> None:
        self.listed = {
            RELIANCE: InstrumentTerms(),
            NIFTY: InstrumentTerms(lot_size=75, tick_size=Decimal("0.10"), freeze_quantity=1800),
        }

    async def terms(self, instrument: Instrument) -> InstrumentTerms:
        if instrument not in self.listed:
            raise UnknownInstrument(f"{instrument} is not traded today", field="instrument")
        return self.listed[instrument]


class Desk:
    def __init__(self, store: type[InMemoryOrderStore] = InMemoryOrderStore) -> None:
        self.clock = FakeClock()
        self.store = store(self.clock)
        self.broker = ScriptedBroker(self.clock)
        self.queue = RecordingQueue()
        self.ids = SequentialIds()
        self.master = TinyMaster()
        self.limits = PaceLimits()
        self.accept_order = AcceptOrder(self.store, self.master, self.queue, self.clock, self.ids, self.limits)
        self.preview = PreviewOrder(self.master, self.clock, self.ids, self.limits)
        self.split = SplitOrders(
            self.store, SplitSettings(executor="splitter-1", tag_prefix=TAG_PREFIX, grace_s=GRACE_S)
        )
        self.execute = ExecuteSlice(
            self.broker, self.clock, ExecuteSettings(executor="executor-1", lease_s=LEASE_S)
        )
        self.cancel_executions = CancelExecutions(self.store, self.broker, self.clock)
        self._to_cancel: list[None] = []
        self._record = RecordOutcomes(self.store, lambda: self._to_cancel.append(None))
        self.request_cancel = RequestCancel(self.store, self.queue)
        self.facts = BookFacts(self.store, self.broker, TAG_PREFIX)
        self.reconcile = self.new_reconcile()
        self.catch_up = CatchUp(self.store)
        self.monitor = MonitorTimeouts(self.store, self.cancel_executions)
        self.halt = HaltTrading(self.store, self.clock)
        self.resume = ResumeTrading(self.store)
        self.read = ReadOrders(self.store)

    def new_reconcile(self) -> Reconcile:
        """As a process has it that has just been started."""
        settings = ReconcileSettings(settle_s=SETTLE_S, give_up_s=GIVE_UP_S)
        return Reconcile(self.store, self.broker, self.facts, self.clock, settings)

    # --- verbs

    async def record(self, bookings: Sequence[Booking]) -> list[Booked]:
        """Record outcomes, and have the canceller woken where that is asked for."""
        booked = await self._record(bookings)
        while self._to_cancel:
            self._to_cancel.pop()
            await self.cancel_executions()
        return booked

    async def accept(self, key: str | None = "key-1", *, digest: str | None = None, **request: Any) -> Accepted:
        return await self.accept_order(
            AcceptCommand(
                client_id=CLIENT,
                order_unique_key=key,
                request=raw_request(**request),
                source=Source.API,
                body_digest=digest,
            )
        )

    async def order(self, key: str = "key-1", **request: Any) -> OrderId:
        """Accept an order and split it."""
        accepted = await self.accept(key, **request)
        await self.split()
        return accepted.order_id

    async def claim(self) -> list[Claim]:
        """Claim what is due, as an executor does: what is late gets its new instant first."""
        await self.catch_up()
        return await self.store.claim_executions(100, "executor-1", LEASE_S)

    async def send(self, claim: Claim) -> Booking:
        return await self.execute(claim, self.clock.monotonic())

    async def send_due(self) -> list[Booked]:
        """Claim what is due, send it and record what came of it."""
        bookings = [await self.send(claim) for claim in await self.claim()]
        return await self.record(bookings) if bookings else []

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    # --- looking

    async def view(self, order_id: OrderId) -> OrderView:
        return await self.read.get(order_id, None)

    async def executions(self, order_id: OrderId) -> list[Execution]:
        return [e for slice_ in await self.store.slices(order_id) for e in slice_.executions]

    async def execution(self, order_id: OrderId) -> Execution:
        """The only execution of an order."""
        [execution] = await self.executions(order_id)
        return execution

    def row(self, tag: str) -> BrokerOrder:
        """The only row of the broker's book that carries a tag."""
        [row] = self.broker.rows(tag)
        return row


def raw_request(**over: Any) -> OrderRequest:
    """A request as a client writes it: nothing is filled in."""
    fields: dict[str, Any] = {"instrument": RELIANCE, "side": Side.BUY, "total_quantity": 100}
    return OrderRequest(**fields | over)
