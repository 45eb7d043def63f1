"""The risk gate: gathers what the rules that are on need to know of an order, and lets it pass or not.

Rules that count orders are judged by the store, in the step that stores the order: so of orders that come at
once none can take another's place. All others are judged here, just before; where an order passes one only as
it takes a position down, the store holds it to that in the same step. The kill switch is the store's too: it
halts, and a halt that was answered lets nothing be stored.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.errors import CalendarUnknown, RiskRejected, StorageRejected, StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.market import PhaseKind
from pulse_domain.orders.execution import trading_day
from pulse_domain.orders.ids import ClientId
from pulse_domain.orders.model import OrderRequest, Product, Source
from pulse_domain.ports.audit_log import AuditEntry, AuditLog
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.ports.trading_calendar import TradingCalendar
from pulse_domain.risk import (
    PriceFacts,
    ResultFacts,
    RiskFacts,
    RiskLimits,
    Waiver,
    check_counts,
    check_risk,
    refusal,
    waived,
)

CHANNEL = "risk"
# How long the day's result may be told again: it is made of all fills, and orders come in bursts.
_RESULT_KEPT_S = 2.0


class Positions(Protocol):
    async def held_by_all(self, at: datetime | None = None) -> Mapping[tuple[Instrument, Product], int]:
        """Net units over all strategies, zeros left out; `at` tells the trading day."""
        ...

    async def carried(self, instrument: Instrument, product: Product) -> tuple[datetime, int]:
        """When the trading day began, and the net units over all strategies that were held then."""
        ...


class TellsResult(Protocol):
    @property
    def facts(self) -> ResultFacts | None: ...


class DayResults(Protocol):
    async def __call__(self, at: datetime, /) -> TellsResult: ...


Reads = Sequence[Callable[[], Awaitable[Any]]]


async def in_turn(reads: Reads) -> list[Any]:
    return [await read() for read in reads]


class RefusedOrder(Struct, frozen=True, kw_only=True):
    client_id: ClientId
    key: str
    source: Source
    request: OrderRequest


class RiskGate:
    """limits: at least one rule is on; where none is, there is no gate.
    prices, calendar: None where there are none: rules that need them refuse.
    on_refused: told of every refusal; must not raise.
    unheard: called where the audit log did not take a refusal; the order is refused all the same.
    together: how several facts are read, their results in order; one after another, unless told otherwise.
    """

    def __init__(
        self,
        store: OrderStore,
        prices: PriceBoard | None,
        positions: Positions,
        results: DayResults,
        calendar: TradingCalendar | None,
        clock: Clock,
        limits: RiskLimits,
        audit: AuditLog,
        *,
        on_refused: Callable[[RefusedOrder, RiskRejected], object] = lambda order, error: None,
        unheard: Callable[[Exception], object] = lambda error: None,
        together: Callable[[Reads], Awaitable[Sequence[Any]]] = in_turn,
    ) -> None:
        self._store = store
        self._prices = prices
        self._positions = positions
        self._results = results
        self._calendar = calendar
        self._clock = clock
        self.limits = limits
        self._own = limits.without_counts()
        self._audit = audit
        self._on_refused = on_refused
        self._unheard = unheard
        self._together = together
        self._result: tuple[float, ResultFacts | None] | None = None

    async def check(self, request: OrderRequest, sends: tuple[datetime, datetime] | None = None) -> RiskLimits:
        """Judge a normalised request by all rules but those that the store holds when it stores the order.

        sends: the first and the last instant at which something of it is to be sent; None: now.

        Returns: what the store is to hold the order to.

        Raises:
            RiskRejected: at least one refuses; `details` carry them all.
            StorageUnavailable: what must be known cannot be read.
        """
        facts = await self._facts(request, sends)
        if breaches := check_risk(request, facts, self._own):
            raise refusal(breaches)
        return await self._held_to(request, facts)

    async def foretell(
        self,
        request: OrderRequest,
        client_id: ClientId | None,
        sends: tuple[datetime, datetime] | None = None,
    ) -> None:
        """Judge a request by all rules, as things stand now. Raises as `check` does."""
        facts = await self._facts(request, sends)
        breaches = check_risk(request, facts, self._own)
        limits = await self._held_to(request, facts)
        if limits.by_count:
            counts = await self._store.count_orders(client_id, request, limits)
            breaches += check_counts(request, counts, limits)
        if breaches:
            raise refusal(breaches)

    async def _held_to(self, request: OrderRequest, facts: RiskFacts) -> RiskLimits:
        breaches = waived(request, facts, self._own)
        if not breaches:
            return self.limits
        assert request.product is not None, "the request is normalised"
        since, carried = await self._positions.carried(request.instrument, request.product)
        return replace(self.limits, waiver=Waiver(breaches=breaches, since=since, carried=carried))

    async def note(self, order: RefusedOrder, error: RiskRejected) -> None:
        """Put a refusal on record."""
        self._on_refused(order, error)
        request = order.request
        told = f"{request.side} {request.total_quantity} {request.instrument} {request.order_type}"
        try:
            await self._audit.record(
                AuditEntry(
                    channel=CHANNEL,
                    actor=order.client_id,
                    place=order.source,
                    action="order",
                    outcome="refused",
                    detail=f"{told}, key {order.key}, strategy {request.strategy_tag or '-'}: {error.message}",
                )
            )
        except (StorageUnavailable, StorageRejected) as failure:
            self._unheard(failure)

    async def _facts(self, request: OrderRequest, sends: tuple[datetime, datetime] | None) -> RiskFacts:
        own, instrument = self._own, request.instrument
        now = self._clock.now()
        # An instant that has passed is sent now.
        begins, ends = (now, now) if sends is None else (max(now, sends[0]), max(now, sends[1]))
        needs: dict[str, Callable[[], Awaitable[Any]]] = {}
        by_price = (own.fat_finger_percent, own.circuit_percent, own.max_order_value)
        if any(limit is not None for limit in by_price):
            needs["price"] = lambda: self._price(instrument)
        # Orders that take a position down pass some rules that others do not.
        by_position = (own.max_open_positions, own.cut_off, own.max_daily_loss, own.circuit_percent)
        if any(limit is not None for limit in by_position):
            needs["held"] = lambda: self._positions.held_by_all(now)
        if own.max_daily_loss is not None:
            needs["result"] = self._day_result
        if own.in_session_only:
            needs["session"] = lambda: self._session_open(instrument, begins, ends)
        reads = list(needs.values())
        told = dict(zip(needs, await self._together(reads) if reads else [], strict=True))
        assert request.product is not None, "the request is normalised"
        held: Mapping[tuple[Instrument, Product], int] | None = told.get("held")
        net: dict[Instrument, int] = {}
        for (each, _), units in (held or {}).items():
            net[each] = net.get(each, 0) + units
        return RiskFacts(
            now=self._clock.now(),
            sends=(begins, ends),
            killed=False,  # the store's own step looks, under the halt's lock
            price=told.get("price"),
            result=told.get("result"),
            position=None if held is None else held.get((instrument, request.product), 0),
            net_position=None if held is None else net.get(instrument, 0),
            open_positions=(
                None if held is None or own.max_open_positions is None else _count_open(net, trading_day(now))
            ),
            session_open=told.get("session"),
        )

    async def _price(self, instrument: Instrument) -> PriceFacts | None:
        return None if self._prices is None else await self._prices.price(instrument)

    async def _day_result(self) -> ResultFacts | None:
        if self._result is not None and self._clock.monotonic() < self._result[0]:
            return self._result[1]
        facts = (await self._results(self._clock.now())).facts
        self._result = (self._clock.monotonic() + _RESULT_KEPT_S, facts)
        return facts

    async def _session_open(self, instrument: Instrument, begins: datetime, ends: datetime) -> bool | None:
        if self._calendar is None:
            return None
        sessions = await self._calendar.sessions(instrument)
        try:
            session = sessions.session_at(begins)
        except CalendarUnknown:
            return None
        return session is not None and session.kind is PhaseKind.CONTINUOUS and ends <= session.ends_at


def _count_open(net: Mapping[Instrument, int], day: date) -> int:
    """Contracts that have expired are no positions any more, whatever our fills say."""
    return sum(units != 0 and not instrument.has_expired(day) for instrument, units in net.items())
