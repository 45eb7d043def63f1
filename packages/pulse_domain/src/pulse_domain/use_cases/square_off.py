"""Close positions after a kill, once nothing of ours can change them: each by one order that reduces it.

A wrong order is worse than none. So an instrument is left alone while an order of ours there is not done or its
fate is not known; nothing is closed beyond what the broker itself shows, where it can be asked; each position
gets one order for each kill at most, whatever became of that; and after a few minutes the rest is left to a
person, who may have begun to close by hand.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from msgspec import Struct

from pulse_domain.errors import (
    BrokerUnavailable,
    Conflict,
    DomainError,
    MarketClosed,
    StorageRejected,
    StorageUnavailable,
    TradingHalted,
)
from pulse_domain.instruments import Instrument
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import NewOrder, OrderRequest, Product, Side, Source
from pulse_domain.orders.plan import check_feasible
from pulse_domain.ports.audit_log import AuditEntry, AuditLog
from pulse_domain.ports.broker_reads import BrokerReads
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.order_store import OrderStore, TradingState
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue
from pulse_domain.risk import RiskFacts, RiskLimits, check_risk, refusal
from pulse_domain.splitting import PaceLimits
from pulse_domain.use_cases.market_gate import MarketGate
from pulse_domain.use_cases.risk_gate import CHANNEL, Positions

# Whose orders they are.
CLIENT = ClientId("kill-switch")
_WITHIN = timedelta(minutes=5)


class Closing(Struct, frozen=True, kw_only=True):
    """An order that closes a position; `units` are those of the position, negative when short."""

    instrument: Instrument
    product: Product
    units: int
    order_id: OrderId


class LeftOpen(Struct, frozen=True, kw_only=True):
    """A position that no order closes, or not all of it."""

    instrument: Instrument
    product: Product
    units: int
    why: str


class SquareOffReport(Struct, frozen=True, kw_only=True):
    """ordered: what this look has sent. waiting: what a later look may close. left: what is for a person."""

    kill_id: str
    ordered: tuple[Closing, ...] = ()
    waiting: tuple[LeftOpen, ...] = ()
    left: tuple[LeftOpen, ...] = ()


class SquareOff:
    """reads: the account at the broker; None where the broker has none but what our orders made of it."""

    def __init__(
        self,
        store: OrderStore,
        positions: Positions,
        master: InstrumentMaster,
        queue: WorkQueue,
        ids: Ids,
        limits: PaceLimits,
        gate: MarketGate,
        audit: AuditLog,
        reads: BrokerReads | None = None,
    ) -> None:
        self._store = store
        self._positions = positions
        self._master = master
        self._queue = queue
        self._ids = ids
        self._limits = limits
        self._gate = gate
        self._audit = audit
        self._reads = reads
        # The kill that the last look was for, and what has been left to a person then.
        self._kill_id: str | None = None
        self._left = frozenset[tuple[Instrument, Product]]()

    async def __call__(self) -> SquareOffReport | None:
        """Look once, as often as one likes; None while no kill is in force that squares off.

        A kill that has ended since the last look is reported once more, with what it leaves open.

        Raises:
            StorageUnavailable: some orders may have been stored; look again.
        """
        state = await self._store.trading_state()
        if state.kill_id is not None:
            if state.kill_id != self._kill_id:
                self._kill_id, self._left = state.kill_id, frozenset()
            report = await self._look(state, state.kill_id)
            self._left = frozenset((each.instrument, each.product) for each in report.left)
            return report
        if self._kill_id is None:
            return None
        report = await self._ended(state, self._kill_id)
        self._kill_id = None
        return report

    async def _ended(self, state: TradingState, kill_id: str) -> SquareOffReport:
        """What is open when something else has ended a kill."""
        unsettled = await self._store.unsettled()
        why = f"the kill ended first, {'halted' if state.halted else 'resumed'} by {state.changed_by}"
        left = []
        for (instrument, product), units in sorted((await self._positions.held_by_all()).items()):
            if (instrument, product) not in self._left:
                still = "; an order of ours may still change it" if instrument in unsettled else ""
                one = LeftOpen(instrument=instrument, product=product, units=units, why=why + still)
                left.append(one)
        return SquareOffReport(kill_id=kill_id, left=tuple(left))

    async def _look(self, state: TradingState, kill_id: str) -> SquareOffReport:
        # In this order: what is settled before the fills are read has all of its fills among them.
        unsettled = await self._store.unsettled()
        held = await self._positions.held_by_all()
        if not held:
            return SquareOffReport(kill_id=kill_id)
        is_late = state.changed_at is None or await self._store.now() - state.changed_at > _WITHIN
        try:
            account = None if self._reads is None else await _account(self._reads)
        except BrokerUnavailable as error:
            why = f"the broker does not show its positions: {error.reason_code}"
            every = tuple(
                LeftOpen(instrument=instrument, product=product, units=units, why=why)
                for (instrument, product), units in sorted(held.items())
            )
            if is_late:
                return SquareOffReport(kill_id=kill_id, left=every)
            return SquareOffReport(kill_id=kill_id, waiting=every)
        ordered, waiting, left = list[Closing](), list[LeftOpen](), list[LeftOpen]()
        for (instrument, product), units in sorted(held.items()):
            one = LeftOpen(instrument=instrument, product=product, units=units, why="")
            if instrument in unsettled:
                (left if is_late else waiting).append(_why(one, "an order of ours may still change it"))
            elif is_late:
                left.append(_why(one, "it was not closed in time"))
            else:
                done = await self._close(state, one, account)
                ordered += [done] if isinstance(done, Closing) else []
                left += [done] if isinstance(done, LeftOpen) else []
        return SquareOffReport(
            kill_id=kill_id, ordered=tuple(ordered), waiting=tuple(waiting), left=tuple(left)
        )

    async def _close(
        self, state: TradingState, one: LeftOpen, account: Mapping[tuple[Instrument, str], int] | None
    ) -> Closing | LeftOpen | None:
        assert state.kill_id is not None, "a kill is in force"
        key = key_of(state.kill_id, one.instrument, one.product)
        if await self._store.find_accepted(CLIENT, key) is not None:
            return _why(one, "the order that was to close it has not")
        units = one.units
        if account is not None:
            shown = account.get((one.instrument, one.product), 0)
            # Whoever has closed by hand is not to be closed again.
            units = max(0, min(units, shown)) if units > 0 else min(0, max(units, shown))
            if not units:
                return _why(one, f"the broker shows {shown}")
        try:
            new = await self._order(state, key, one, units)
            accepted = await self._store.accept(new)
        except TradingHalted:
            return None  # that kill is over
        except (DomainError, Conflict, StorageRejected) as error:
            return _why(one, error.message)
        if accepted.replayed:
            return None
        self._queue.enqueue(Job(JobKind.SPLIT_ORDER, accepted.order_id))
        await self._note(state.kill_id, new)
        return Closing(instrument=one.instrument, product=one.product, units=units, order_id=accepted.order_id)

    async def _order(self, state: TradingState, key: str, one: LeftOpen, units: int) -> NewOrder:
        request = OrderRequest(
            instrument=one.instrument,
            side=Side.SELL if units > 0 else Side.BUY,
            total_quantity=abs(units),
            product=one.product,
        ).normalised()
        now = await self._store.now()
        facts = RiskFacts(now=now, killed=True, position=one.units)
        if breaches := check_risk(request, facts, RiskLimits(), squares_off=True):
            raise refusal(breaches)
        request.check_shape()
        terms = await self._master.terms(one.instrument)
        request.check_terms(terms)
        self._gate.check_offered(request, now)
        if await self._gate.fit(request, now) is not None:
            raise MarketClosed("the market is shut")
        check_feasible(request, terms, self._limits)
        return NewOrder(
            order_id=self._ids.order_id(),
            client_id=CLIENT,
            order_unique_key=key,
            request=request,
            terms=terms,
            source=Source.API,
            fingerprint=request.fingerprint(),
            kill_id=state.kill_id,
        )

    async def _note(self, kill_id: str, new: NewOrder) -> None:
        request = new.request
        told = f"{request.side} {request.total_quantity} {request.instrument} {request.product}"
        entry = AuditEntry(
            channel=CHANNEL,
            actor=CLIENT,
            place=kill_id,
            action="square-off",
            outcome="asked",
            detail=f"{told}: {new.order_id}",
        )
        # The order itself has its journal, in the same store.
        with suppress(StorageUnavailable, StorageRejected):
            await self._audit.record(entry)


def key_of(kill_id: str, instrument: Instrument, product: Product) -> str:
    """The key of the only order by which a kill closes a position."""
    place = hashlib.sha256(f"{instrument} {product}".encode()).hexdigest()[:16]
    return f"kill-{kill_id}-{place}"


async def _account(reads: BrokerReads) -> dict[tuple[Instrument, str], int]:
    """Units by instrument and the broker's word for the product; what is owned counts as delivery."""
    found: dict[tuple[Instrument, str], int] = {}
    for position in await reads.positions():
        key = (position.instrument, position.product)
        found[key] = found.get(key, 0) + position.quantity
    for holding in await reads.holdings():
        key = (holding.instrument, str(Product.CNC))
        found[key] = found.get(key, 0) + holding.quantity
    return found


def _why(one: LeftOpen, why: str) -> LeftOpen:
    return LeftOpen(instrument=one.instrument, product=one.product, units=one.units, why=why)
