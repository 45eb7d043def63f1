"""The order as it is asked for and as it is stored."""

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec import Struct

from pulse_domain.errors import (
    InvalidOrder,
    InvalidPrice,
    InvalidQuantity,
    InvalidSplitConfig,
    OffLot,
    OffTick,
)
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.status import OrderQueueStatus

QUANTITY_MAX = 1_000_000_000
PRICE_MAX = Decimal(100_000_000)
SPLITS_MIN, SPLITS_MAX = 2, 100
DURATION_MINUTES_MIN, DURATION_MINUTES_MAX = 1, 1440
START_AHEAD_MAX = timedelta(days=7)
# How long after its instant a start still counts as now: clocks differ and requests take time.
START_LATE_MAX = timedelta(seconds=60)

# TradingView resends after 5, 10 and 15 seconds; what comes later is a new signal.
REPLAY_WINDOW_S = 30.0

FINGERPRINT_VERSION = 1


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    __hash__ = str.__hash__  # faster than the enum's own, which is a Python function


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"  # rests until the trigger, then a LIMIT
    SL_M = "SL-M"  # rests until the trigger, then a MARKET

    @property
    def has_limit(self) -> bool:
        return self is OrderType.LIMIT or self is OrderType.SL

    @property
    def has_trigger(self) -> bool:
        return self is OrderType.SL or self is OrderType.SL_M


class Product(StrEnum):
    CNC = "CNC"
    MIS = "MIS"
    NRML = "NRML"

    __hash__ = str.__hash__


class Validity(StrEnum):
    DAY = "DAY"
    IOC = "IOC"


class Source(StrEnum):
    TRADINGVIEW = "tradingview"
    API = "api"
    STRATEGY = "strategy"
    TELEGRAM = "telegram"
    BACKTEST = "backtest"


class SplitConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    num_splits: int
    duration_minutes: int
    randomize: bool = True


class OrderRequest(Struct, frozen=True, kw_only=True, gc=False):
    """What a client asks for, defaults filled in. Equal requests have equal fingerprints."""

    instrument: Instrument
    side: Side
    total_quantity: int
    split_config: SplitConfig | None = None
    start_at: datetime | None = None
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    product: Product | None = None
    validity: Validity = Validity.DAY
    strategy_tag: str | None = None

    def normalised(self) -> "OrderRequest":
        """Fill in the product by segment and write equal prices and instants alike."""
        product = self.product or (Product.CNC if self.instrument.exchange.is_cash else Product.NRML)
        return msgspec.structs.replace(
            self,
            product=product,
            limit_price=_plain(self.limit_price),
            trigger_price=_plain(self.trigger_price),
        )

    def fingerprint(self) -> str:
        """Identify a normalised request; compare only fingerprints of the same FINGERPRINT_VERSION."""
        start = None if self.start_at is None else int(self.start_at.timestamp() * 1_000_000)
        parts = (
            str(self.instrument), self.side, self.total_quantity, self.split_config, start, self.order_type,
            self.limit_price, self.trigger_price, self.product, self.validity, self.strategy_tag,
        )  # fmt: skip
        return hashlib.sha256(_encode(parts)).hexdigest()

    def check_shape(self) -> None:
        """Check what needs no instrument data.

        Raises:
            InvalidOrder: a field is out of range or does not go with the order type; `details` names it.
        """
        # Text that reads like a member of an enum is none: it would be taken for any other.
        if not (
            type(self.total_quantity) is int
            and type(self.side) is Side
            and type(self.order_type) is OrderType
            and type(self.validity) is Validity
            and (type(self.product) is Product or self.product is None)
            and type(self.instrument) is Instrument
        ):
            self._refuse_types()
        if not 1 <= self.total_quantity <= QUANTITY_MAX:
            raise InvalidQuantity(
                f"total_quantity must be between 1 and {QUANTITY_MAX}",
                field="total_quantity", min=1, max=QUANTITY_MAX,
            )  # fmt: skip
        kind = self.order_type
        if kind is not OrderType.MARKET or self.limit_price is not None or self.trigger_price is not None:
            _check_price("limit_price", self.limit_price, kind.has_limit, kind)
            _check_price("trigger_price", self.trigger_price, kind.has_trigger, kind)
        start_at: object = self.start_at
        if start_at is not None and (not isinstance(start_at, datetime) or start_at.tzinfo is None):
            raise InvalidOrder("start_at must carry a UTC offset", field="start_at")
        if self.product is Product.CNC and not self.instrument.exchange.is_cash:
            raise InvalidOrder("product CNC is for NSE and BSE only; use NRML or MIS", field="product")
        if self.product is Product.NRML and self.instrument.exchange.is_cash:
            raise InvalidOrder("product NRML is for derivatives only; use CNC or MIS", field="product")
        if self.split_config is not None:
            if type(self.split_config) is not SplitConfig:
                self._refuse_types()
            self._check_split(self.split_config)

    def _refuse_types(self) -> None:
        if type(self.total_quantity) is not int:
            raise InvalidQuantity(
                f"total_quantity must be a whole number, not {self.total_quantity!r}", field="total_quantity"
            )
        for field, kind in (
            ("side", Side), ("order_type", OrderType), ("validity", Validity), ("product", Product),
            ("instrument", Instrument), ("split_config", SplitConfig),
        ):  # fmt: skip
            value = getattr(self, field)
            if type(value) is not kind and not (value is None and field in ("product", "split_config")):
                raise InvalidOrder(f"{field} must be a {kind.__name__}, not {value!r}", field=field)

    def _check_split(self, split: SplitConfig) -> None:
        for field, value, low, high in (
            ("num_splits", split.num_splits, SPLITS_MIN, SPLITS_MAX),
            ("duration_minutes", split.duration_minutes, DURATION_MINUTES_MIN, DURATION_MINUTES_MAX),
        ):
            if type(value) is not int or not low <= value <= high:
                raise InvalidSplitConfig(
                    f"{field} must be between {low} and {high}",
                    field=f"split_config.{field}",
                    min=low,
                    max=high,
                )  # fmt: skip
        if self.order_type.has_trigger:
            raise InvalidSplitConfig(
                f"an {self.order_type} order cannot be split; leave split_config out", field="split_config"
            )

    def check_terms(self, terms: InstrumentTerms) -> None:
        """Check quantity against the lot and prices against the tick.

        Raises:
            OffLot: not a whole number of lots.
            OffTick: off the tick grid; `details` carry the nearest prices.
        """
        if self.total_quantity % terms.lot_size:
            raise OffLot(
                f"total_quantity must be a multiple of the lot size {terms.lot_size}",
                field="total_quantity", lot_size=terms.lot_size,
            )  # fmt: skip
        if self.limit_price is not None:
            _check_tick("limit_price", self.limit_price, terms.tick_size)
        if self.trigger_price is not None:
            _check_tick("trigger_price", self.trigger_price, terms.tick_size)


class NewOrder(Struct, frozen=True, kw_only=True):
    """A checked request on its way into the store."""

    order_id: OrderId
    client_id: ClientId
    order_unique_key: str
    request: OrderRequest
    terms: InstrumentTerms
    source: Source
    fingerprint: str
    request_id: str = ""
    trace_id: str = ""
    # A webhook without a key is known by its sender and body for REPLAY_WINDOW_S from first sight.
    body_digest: str | None = None
    # The first and the last instant of sending, where the market's hours have moved them.
    window: tuple[datetime, datetime] | None = None
    # The kill whose positions it squares off: it passes the halt of that kill, and no other.
    kill_id: str | None = None


class Order(Struct, frozen=True, kw_only=True):
    """A stored order. All instants are aware."""

    order_id: OrderId
    client_id: ClientId
    order_unique_key: str
    request: OrderRequest
    terms: InstrumentTerms
    source: Source
    request_id: str
    trace_id: str
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    queue_status: OrderQueueStatus = OrderQueueStatus.PENDING
    skip_reason: str | None = None
    failure: str | None = None
    split_attempt: int = 0
    cancel_requested_at: datetime | None = None
    paused_at: datetime | None = None
    kill_id: str | None = None


def check_start(request: OrderRequest, now: datetime) -> None:
    """Check when the order is to begin.

    Raises:
        InvalidOrder: the start has passed, or is too far ahead.
    """
    start_at = request.start_at
    if start_at is not None and not now - START_LATE_MAX <= start_at <= now + START_AHEAD_MAX:
        raise InvalidOrder(
            "start_at must not be in the past or more than 7 days ahead", field="start_at", now=now.isoformat()
        )


def window(request: OrderRequest, created_at: datetime) -> tuple[datetime, datetime]:
    """The instants of the first and the last slice."""
    start = request.start_at or created_at
    minutes = request.split_config.duration_minutes if request.split_config else 0
    return start, start + timedelta(minutes=minutes)


def _check_price(field: str, price: Decimal | None, wanted: bool, order_type: OrderType) -> None:
    if price is None:
        if wanted:
            raise InvalidPrice(f"{field} is required for {order_type}", field=field)
        return
    if not wanted:
        raise InvalidPrice(f"{field} does not go with {order_type}; leave it out", field=field)
    if type(price) is not Decimal:
        raise InvalidPrice(f"{field} must be a Decimal, not {price!r}", field=field)
    if not price.is_finite() or not 0 < price <= PRICE_MAX:
        raise InvalidPrice(f"{field} must be above 0 and at most {PRICE_MAX}", field=field)
    if price != price.quantize(Decimal("0.0001")):
        raise InvalidPrice(f"{field} has more than 4 decimals", field=field)


def _check_tick(field: str, price: Decimal, tick_size: Decimal) -> None:
    if price % tick_size:
        below = price // tick_size * tick_size
        raise OffTick(
            f"{field} must be a multiple of the tick size {tick_size}",
            field=field, tick_size=str(tick_size),
            nearest=[str(near) for near in (below, below + tick_size) if near],
        )  # fmt: skip


def _plain(price: Decimal | None) -> Decimal | None:
    # 1500, 1500.0 and 1.5E+3 are one price: the fingerprint must not tell them apart. Prices that
    # check_shape will refuse are left alone: writing out 1E+999999 would be a million digits.
    if price is None or not price.is_finite() or not 0 < price <= PRICE_MAX:
        return price
    plain = price.normalize()
    if plain != price:
        return price
    return plain.quantize(Decimal(1)) if int(plain.as_tuple().exponent) > 0 else plain


_encode = msgspec.json.Encoder(order="deterministic").encode
