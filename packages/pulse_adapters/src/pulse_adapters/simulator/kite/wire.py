"""What the API sends, field by field. Prices in rupees as JSON numbers, times in India without an offset."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from pulse_domain.units import INDIA

Number = int | float


def number(value: Decimal) -> Number:
    """As the API writes it: without decimals where there are none."""
    whole = int(value)
    return whole if whole == value else float(value)


def stamp(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%Y-%m-%d %H:%M:%S")


def stamp_or_none(at: datetime | None) -> str | None:
    return None if at is None else stamp(at)


class Success(Struct, frozen=True, kw_only=True):
    status: str = "success"
    data: Any


class Failure(Struct, frozen=True, kw_only=True):
    status: str = "error"
    message: str
    error_type: str
    data: None = None


class OrderId(Struct, frozen=True):
    order_id: str


class ChildError(Struct, frozen=True):
    code: int
    error_type: str
    message: str
    data: None = None


class RefusedChild(Struct, frozen=True):
    error: ChildError


class Autosliced(Struct, frozen=True):
    order_id: str
    children: list[OrderId | RefusedChild]


class _OrderFields(Struct, frozen=True, kw_only=True):
    """What every message about an order has."""

    placed_by: str
    order_id: str
    exchange_order_id: str | None
    parent_order_id: str | None
    status: str
    status_message: str | None
    order_timestamp: str
    exchange_timestamp: str | None
    variety: str
    exchange: str
    tradingsymbol: str
    instrument_token: int
    order_type: str
    transaction_type: str
    validity: str
    product: str
    quantity: int
    disclosed_quantity: int
    price: Number
    trigger_price: Number
    average_price: Number
    filled_quantity: int
    pending_quantity: int
    cancelled_quantity: int
    tag: str | None


class OrderRow(_OrderFields, frozen=True, kw_only=True):
    """A row of the order book."""

    account_id: str
    status_message_raw: str | None
    exchange_update_timestamp: str | None
    modified: bool
    validity_ttl: int
    market_protection: int = 0
    meta: dict[str, Any]
    guid: str | None
    tags: list[str] | UnsetType = UNSET
    auction_number: str | UnsetType = UNSET
    terminal_id: str | UnsetType = UNSET


class HistoryRow(_OrderFields, frozen=True, kw_only=True):
    """A state that an order has been in."""

    modified: bool


class Postback(_OrderFields, frozen=True, kw_only=True):
    """An order as it is posted to the app, and as the ticker sends it."""

    user_id: str
    unfilled_quantity: int
    app_id: int
    checksum: str
    status_message_raw: str | None
    exchange_update_timestamp: str | None
    market_protection: int = 0
    meta: dict[str, Any]
    guid: str | None
    tags: list[str] | UnsetType = UNSET


class TradeRow(Struct, frozen=True, kw_only=True):
    """`order_timestamp` is a time of day only."""

    trade_id: str
    order_id: str
    exchange_order_id: str | None
    exchange: str
    tradingsymbol: str
    instrument_token: int
    product: str
    average_price: Number
    quantity: int
    transaction_type: str
    fill_timestamp: str
    order_timestamp: str
    exchange_timestamp: str


class PositionRow(Struct, frozen=True, kw_only=True):
    tradingsymbol: str
    exchange: str
    instrument_token: int
    product: str
    quantity: int
    overnight_quantity: int
    multiplier: int
    average_price: Number
    close_price: Number
    last_price: Number
    value: Number
    pnl: Number
    m2m: Number
    unrealised: Number
    realised: Number
    buy_quantity: int
    buy_price: Number
    buy_value: Number
    buy_m2m: Number
    sell_quantity: int
    sell_price: Number
    sell_value: Number
    sell_m2m: Number
    day_buy_quantity: int
    day_buy_price: Number
    day_buy_value: Number
    day_sell_quantity: int
    day_sell_price: Number
    day_sell_value: Number


class Positions(Struct, frozen=True):
    net: list[PositionRow]
    day: list[PositionRow]


class Mtf(Struct, frozen=True, kw_only=True):
    quantity: int = 0
    used_quantity: int = 0
    average_price: Number = 0
    value: Number = 0
    initial_margin: Number = 0


class _HoldingFields(Struct, frozen=True, kw_only=True):
    tradingsymbol: str
    exchange: str
    instrument_token: int
    isin: str
    product: str = "CNC"
    price: Number = 0
    quantity: int
    t1_quantity: int
    realised_quantity: int
    authorised_quantity: int = 0
    authorised_date: str
    opening_quantity: int
    collateral_quantity: int = 0
    collateral_type: str = ""
    discrepancy: bool = False
    average_price: Number
    last_price: Number
    close_price: Number
    pnl: Number
    day_change: Number
    day_change_percentage: Number


class HoldingRow(_HoldingFields, frozen=True, kw_only=True):
    used_quantity: int
    authorisation: dict[str, Any] = field(default_factory=dict)
    short_quantity: int = 0
    mtf: Mtf = Mtf()


class AuctionRow(_HoldingFields, frozen=True, kw_only=True):
    auction_number: str


class CompactHolding(Struct, frozen=True):
    exchange: str
    tradingsymbol: str
    instrument_token: int
    t1_quantity: int
    quantity: int


class HoldingsSummary(Struct, frozen=True):
    total_pnl: Number
    total_pnl_percent: Number
    today_pnl: Number
    today_pnl_percent: Number
    invested_amount: Number
    current_value: Number


class Available(Struct, frozen=True, kw_only=True):
    adhoc_margin: Number = 0
    cash: Number
    opening_balance: Number
    live_balance: Number
    collateral: Number = 0
    intraday_payin: Number = 0


class Utilised(Struct, frozen=True, kw_only=True):
    debits: Number
    exposure: Number
    m2m_realised: Number
    m2m_unrealised: Number = 0
    option_premium: Number = 0
    payout: Number = 0
    span: Number = 0
    holding_sales: Number = 0
    turnover: Number = 0
    liquid_collateral: Number = 0
    stock_collateral: Number = 0
    delivery: Number = 0


class Margins(Struct, frozen=True, kw_only=True):
    enabled: bool = True
    net: Number
    available: Available
    utilised: Utilised


class Gst(Struct, frozen=True, kw_only=True):
    igst: Number = 0
    cgst: Number = 0
    sgst: Number = 0
    total: Number = 0


class Charges(Struct, frozen=True, kw_only=True):
    transaction_tax: Number = 0
    transaction_tax_type: str = ""
    exchange_turnover_charge: Number = 0
    sebi_turnover_charge: Number = 0
    brokerage: Number = 0
    stamp_duty: Number = 0
    gst: Gst = Gst()
    total: Number = 0


class Pnl(Struct, frozen=True, kw_only=True):
    realised: Number = 0
    unrealised: Number = 0


class OrderMargin(Struct, frozen=True, kw_only=True):
    type: str = ""
    tradingsymbol: str = ""
    exchange: str = ""
    span: Number = 0
    exposure: Number = 0
    option_premium: Number = 0
    additional: Number = 0
    bo: Number = 0
    cash: Number = 0
    var: Number = 0
    pnl: Pnl = Pnl()
    leverage: Number = 0
    charges: Charges = Charges()
    total: Number = 0


class BasketMargin(Struct, frozen=True, kw_only=True):
    initial: OrderMargin
    final: OrderMargin
    orders: list[OrderMargin]
    charges: Charges


class ContractNoteRow(Struct, frozen=True, kw_only=True):
    transaction_type: str
    tradingsymbol: str
    exchange: str
    variety: str
    product: str
    order_type: str
    quantity: int
    price: Number
    charges: Charges


class Ohlc(Struct, frozen=True):
    open: Number
    high: Number
    low: Number
    close: Number


class DepthLevel(Struct, frozen=True):
    price: Number = 0
    quantity: int = 0
    orders: int = 0


class Depth(Struct, frozen=True):
    buy: list[DepthLevel]
    sell: list[DepthLevel]


class FullQuote(Struct, frozen=True, kw_only=True):
    instrument_token: int
    timestamp: str
    last_trade_time: str
    last_price: Number
    last_quantity: int
    buy_quantity: int
    sell_quantity: int
    volume: int
    average_price: Number
    oi: int
    oi_day_high: int
    oi_day_low: int
    net_change: Number
    lower_circuit_limit: Number
    upper_circuit_limit: Number
    ohlc: Ohlc
    depth: Depth


class OhlcQuote(Struct, frozen=True):
    instrument_token: int
    last_price: Number
    ohlc: Ohlc


class LtpQuote(Struct, frozen=True):
    instrument_token: int
    last_price: Number


class TriggerRange(Struct, frozen=True):
    instrument_token: int
    lower: Number
    upper: Number


class Candles(Struct, frozen=True):
    candles: list[list[str | Number]]


class ProfileMeta(Struct, frozen=True):
    demat_consent: str = "consent"


class Profile(Struct, frozen=True, kw_only=True):
    user_id: str
    user_type: str = "individual"
    email: str
    user_name: str
    user_shortname: str
    broker: str = "ZERODHA"
    exchanges: list[str]
    products: list[str]
    order_types: list[str]
    avatar_url: str | None = None
    meta: ProfileMeta = ProfileMeta()


class SessionData(Profile, frozen=True, kw_only=True):
    """The answer to a login; shown nowhere else."""

    api_key: str
    access_token: str
    public_token: str
    enctoken: str
    refresh_token: str = ""
    silo: str = ""
    login_time: str

    def __repr__(self) -> str:
        return "SessionData(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class BankAccount(Struct, frozen=True):
    name: str
    branch: str
    account: str


class FullProfileMeta(Struct, frozen=True, kw_only=True):
    poa: str = "physical"
    silo: str = ""
    account_blocks: list[str] = field(default_factory=list)


class FullProfile(Struct, frozen=True, kw_only=True):
    user_id: str
    twofa_type: str = "totp"
    user_name: str
    user_type: str = "individual"
    email: str
    phone: str = "*0000"
    broker: str = "ZERODHA"
    bank_accounts: list[BankAccount]
    dp_ids: list[str]
    products: list[str]
    order_types: list[str]
    exchanges: list[str]
    pan: str = "*000X"
    user_shortname: str
    avatar_url: str | None = None
    tags: list[str] = field(default_factory=list)
    password_timestamp: str = "1970-01-01 00:00:00"  # noqa: S105  # a time
    twofa_timestamp: str = "1970-01-01 00:00:00"
    meta: FullProfileMeta = FullProfileMeta()
