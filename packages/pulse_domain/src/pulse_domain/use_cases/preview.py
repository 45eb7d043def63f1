"""Show the schedule an order would get, and store nothing."""

from datetime import datetime

from msgspec import Struct

from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders.events import PlannedSlice
from pulse_domain.orders.ids import ClientId
from pulse_domain.orders.model import OrderRequest, check_start, window
from pulse_domain.orders.plan import check_feasible, plan_order
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.splitting import PaceLimits
from pulse_domain.use_cases.market_gate import MarketGate, seconds_of
from pulse_domain.use_cases.risk_gate import RiskGate


class Preview(Struct, frozen=True, kw_only=True):
    """A randomised schedule is an example: the order's own is drawn from its order id."""

    request: OrderRequest
    terms: InstrumentTerms
    starts_at: datetime
    ends_at: datetime
    slices: tuple[PlannedSlice, ...]


class PreviewOrder:
    def __init__(
        self,
        master: InstrumentMaster,
        clock: Clock,
        ids: Ids,
        limits: PaceLimits,
        gate: MarketGate | None = None,
        risk: RiskGate | None = None,
    ) -> None:
        self._master = master
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._gate = gate or MarketGate()
        self._risk = risk

    async def __call__(self, request: OrderRequest, client_id: ClientId | None = None) -> Preview:
        """Plan a request that is not an order.

        Raises:
            InvalidOrder, CannotSplit, LimitsExceeded, MarketClosed, RiskRejected: as acceptance would.
            StorageUnavailable: what the risk gate asks for cannot be read.
        """
        request.check_shape()
        request = request.normalised()
        terms = await self._master.terms(request.instrument)
        request.check_terms(terms)
        now = self._clock.now()
        check_start(request, now)
        self._gate.check_offered(request, now)
        moved = await self._gate.fit(request, now)
        check_feasible(request, terms, self._limits, seconds_of(moved))
        starts_at, ends_at = moved or window(request, now)
        if self._risk is not None:
            await self._risk.foretell(request, client_id, (starts_at, ends_at))
        slices = plan_order(self._ids.order_id(), request, terms, starts_at, "", ends_at)
        return Preview(request=request, terms=terms, starts_at=starts_at, ends_at=ends_at, slices=slices)
