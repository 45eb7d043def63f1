"""What each broker takes at each exchange segment: products, order types, validities, as dated tables.

A broker calls NSE, NFO, MCX ... its segments. What the tables leave out is refused at acceptance, instead of
by the broker in the middle of a schedule.

Sources, read on 2026-11-20: Kite Connect documents "Orders" and its changelog; Kotak Neo `trading-apis.md` and
`static-ip-whitelisting.md`, live notes of 2026-07-28; exchange rules for algo orders as reported (reference
documents kite.md 3, kotak.md 3, indian-markets.md 5.2). Plain MARKET orders are barred for API clients since
2026-04-01: both brokers' adapters send them with a protection band, so MARKET stays on offer.
"""

from collections.abc import Mapping
from datetime import date

from msgspec import Struct

from pulse_domain.errors import NotOffered
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Validity

# Trade for trade: every trade is delivered (general market knowledge, unverified; hence configurable).
DELIVERY_ONLY_SERIES = frozenset({"BE", "BZ"})


class Capability(Struct, frozen=True, kw_only=True):
    products: frozenset[Product]
    order_types: frozenset[OrderType] = frozenset(OrderType)
    validities: frozenset[Validity] = frozenset(Validity)


class CapabilityTable(Struct, frozen=True, kw_only=True):
    """From a day on; a segment that is not named takes no orders."""

    effective_from: date
    offers: Mapping[Exchange, Capability]


class BrokerCapabilities(Struct, frozen=True, kw_only=True):
    broker: str
    tables: tuple[CapabilityTable, ...]

    def offer(self, exchange: Exchange, day: date) -> Capability:
        """What is taken on a day.

        Raises:
            NotOffered: no orders at all.
        """
        in_force = [table for table in self.tables if table.effective_from <= day]
        table = max(in_force, key=lambda table: table.effective_from, default=None)
        capability = None if table is None else table.offers.get(exchange)
        if capability is None:
            raise NotOffered(
                f"{self.broker} takes no orders for {exchange}",
                field="instrument", broker=self.broker, exchange=exchange,
            )  # fmt: skip
        return capability

    def check(
        self,
        request: OrderRequest,
        day: date,
        *,
        delivery_only_series: frozenset[str] = DELIVERY_ONLY_SERIES,
    ) -> None:
        """Check a normalised request.

        Raises:
            NotOffered: the broker does not take such an order; `details` name the field and what is allowed.
        """
        exchange = request.instrument.exchange
        capability = self.offer(exchange, day)
        assert request.product is not None, "the request is normalised"
        self._check("product", request.product, capability.products, exchange)
        self._check("order_type", request.order_type, capability.order_types, exchange)
        self._check("validity", request.validity, capability.validities, exchange)
        series = cash_series(request.instrument)
        if request.product is Product.MIS and series in delivery_only_series:
            raise NotOffered(
                f"series {series} is trade for trade: product MIS is not possible",
                field="product", allowed=[Product.CNC],
            )  # fmt: skip

    def _check(
        self,
        field: str,
        value: Product | OrderType | Validity,
        allowed: frozenset[Product] | frozenset[OrderType] | frozenset[Validity],
        exchange: Exchange,
    ) -> None:
        if value not in allowed:
            raise NotOffered(
                f"{self.broker} does not take {field} {value} at {exchange};"
                f" allowed: {', '.join(sorted(allowed))}",
                field=field, allowed=sorted(allowed), broker=self.broker, exchange=exchange,
            )  # fmt: skip


def cash_series(instrument: Instrument) -> str:
    """The series that a share's symbol ends with: BE of `NSE:XYZ-BE`, empty for the main one."""
    if not instrument.exchange.is_cash:
        return ""
    _, dash, series = instrument.symbol.rpartition("-")
    return series if dash and len(series) == 2 else ""


_BEGIN = date(2016, 1, 1)
# SEBI's framework for retail algo orders applies in full.
_ALGO_RULES = date(2026, 4, 1)

_DERIVATIVE = frozenset({Product.NRML, Product.MIS})
_ALL = {
    Exchange.NSE: Capability(products=frozenset({Product.CNC, Product.MIS})),
    Exchange.BSE: Capability(products=frozenset({Product.CNC, Product.MIS})),
    Exchange.NFO: Capability(products=_DERIVATIVE),
    Exchange.BFO: Capability(products=_DERIVATIVE),
    Exchange.MCX: Capability(products=_DERIVATIVE),
    Exchange.CDS: Capability(products=_DERIVATIVE),
}
_DAY_ONLY = frozenset({Validity.DAY})
_NO_SL_M = frozenset(OrderType) - {OrderType.SL_M}

VIRTUAL = BrokerCapabilities(broker="virtual", tables=(CapabilityTable(effective_from=date.min, offers=_ALL),))

ZERODHA = BrokerCapabilities(
    broker="zerodha",
    tables=(
        CapabilityTable(effective_from=_BEGIN, offers=_ALL),
        # MCX takes no IOC in the algo segment.
        CapabilityTable(
            effective_from=_ALGO_RULES,
            offers={**_ALL, Exchange.MCX: Capability(products=_DERIVATIVE, validities=_DAY_ONLY)},
        ),
    ),
)

# SL-M is rejected outright: "Market order with Algo Id not allowed". MCX takes DAY only, and the SDK refuses
# orders for currency (cde_fo). What held before is not documented.
KOTAK = BrokerCapabilities(
    broker="kotak",
    tables=(
        CapabilityTable(
            effective_from=_ALGO_RULES,
            offers={
                exchange: Capability(
                    products=offer.products,
                    order_types=_NO_SL_M,
                    validities=_DAY_ONLY if exchange is Exchange.MCX else offer.validities,
                )
                for exchange, offer in _ALL.items()
                if exchange is not Exchange.CDS
            },
        ),
    ),
)

CAPABILITIES = {each.broker: each for each in (VIRTUAL, ZERODHA, KOTAK)}
