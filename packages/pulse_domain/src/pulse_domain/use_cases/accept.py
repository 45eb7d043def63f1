"""Accept an order: check it, store it exactly once, wake the splitter."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from pulse_domain.errors import DomainError, DuplicateOrderUniqueKey, InvalidOrder, RiskRejected
from pulse_domain.orders.ids import ClientId
from pulse_domain.orders.model import NewOrder, OrderRequest, Source, check_start
from pulse_domain.orders.model import window as asked_window
from pulse_domain.orders.plan import check_feasible
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.order_store import Accepted, OrderStore
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue
from pulse_domain.risk import RiskLimits
from pulse_domain.splitting import PaceLimits
from pulse_domain.use_cases.market_gate import MarketGate, seconds_of
from pulse_domain.use_cases.risk_gate import RefusedOrder, RiskGate


class AcceptCommand(Struct, frozen=True, kw_only=True):
    """`order_unique_key` may only be left out where `body_digest` tells a resend from a new order."""

    client_id: ClientId
    order_unique_key: str | None
    request: OrderRequest
    source: Source
    request_id: str = ""
    trace_id: str = ""
    body_digest: str | None = None


# Accepts an order and has it sent by this process, at once; None: it is to be accepted as any other. Raises as
# `OrderStore.accept` does.
SendAtOnce = Callable[[NewOrder, RiskLimits | None], Awaitable[Accepted | None]]


class AcceptOrder:
    """on_new: told of every order that is new. send_at_once: of a process that sends orders itself."""

    def __init__(
        self,
        store: OrderStore,
        master: InstrumentMaster,
        queue: WorkQueue,
        clock: Clock,
        ids: Ids,
        limits: PaceLimits,
        gate: MarketGate | None = None,
        risk: RiskGate | None = None,
        on_new: Callable[[NewOrder], None] = lambda new: None,
        send_at_once: SendAtOnce | None = None,
    ) -> None:
        self._store = store
        self._master = master
        self._queue = queue
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._gate = gate or MarketGate()
        self._risk = risk
        self._on_new = on_new
        self._send_at_once = send_at_once

    async def __call__(self, command: AcceptCommand) -> Accepted:
        """Accept an order, or find the one that the same request made before.

        Raises:
            InvalidOrder, CannotSplit, LimitsExceeded, MarketClosed, RiskRejected: nothing is stored; `details`
                say why.
            DuplicateOrderUniqueKey: the key stands for another request.
            TradingHalted: trading is halted.
            StorageUnavailable: the order is not known to be stored; the same request may be sent again.
        """
        if command.order_unique_key is None and command.body_digest is None:
            raise InvalidOrder("order_unique_key is missing", field="order_unique_key")
        command.request.check_shape()
        request = command.request.normalised()
        fingerprint = request.fingerprint()
        limits: RiskLimits | None = None
        try:
            terms = await self._master.terms(request.instrument)
            request.check_terms(terms)
            now = self._clock.now()
            check_start(request, now)
            self._gate.check_offered(request, now)
            window = await self._gate.fit(request, now)
            check_feasible(request, terms, self._limits, seconds_of(window))
            if self._risk is not None:
                limits = await self._risk.check(request, window or asked_window(request, now))
        except DomainError as error:
            # What was accepted once stays accepted, though time, terms or prices have moved on since.
            known = await self._find(command, fingerprint)
            if known is None:
                await self._note(command, request, error)
                raise
            return known
        order_id = self._ids.order_id()
        new = NewOrder(
            order_id=order_id,
            client_id=command.client_id,
            order_unique_key=command.order_unique_key or f"wh_{order_id[4:]}",
            request=request,
            terms=terms,
            source=command.source,
            fingerprint=fingerprint,
            request_id=command.request_id,
            trace_id=command.trace_id,
            body_digest=None if command.order_unique_key else command.body_digest,
            window=window,
        )
        try:
            accepted = await self._accept(new, limits)
        except RiskRejected as error:
            await self._note(command, request, error)
            raise
        if not accepted.replayed:
            self._on_new(new)
            if accepted.claim is None:
                self._queue.enqueue(Job(JobKind.SPLIT_ORDER, accepted.order_id))
        return accepted

    async def _accept(self, new: NewOrder, limits: RiskLimits | None) -> Accepted:
        if self._send_at_once is not None:
            accepted = await self._send_at_once(new, limits)
            if accepted is not None:
                return accepted
        return await self._store.accept(new, limits)

    async def _note(self, command: AcceptCommand, request: OrderRequest, error: DomainError) -> None:
        if self._risk is not None and isinstance(error, RiskRejected):
            key = command.order_unique_key or f"body {command.body_digest}"
            refused = RefusedOrder(client_id=command.client_id, key=key, source=command.source, request=request)
            await self._risk.note(refused, error)

    async def _find(self, command: AcceptCommand, fingerprint: str) -> Accepted | None:
        if command.order_unique_key is None:
            assert command.body_digest is not None, "one of the two is there"
            return await self._store.find_sighted(command.client_id, command.body_digest)
        known = await self._store.find_accepted(command.client_id, command.order_unique_key)
        if known is None:
            return None
        if known[1] != fingerprint:
            raise DuplicateOrderUniqueKey(known[0])
        return Accepted(order_id=known[0], order_unique_key=command.order_unique_key, replayed=True)
