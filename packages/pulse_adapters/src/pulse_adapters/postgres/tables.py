"""The tables, declared once: migrations create them, statements name their columns.

Slices, executions, fills and journal rows have no foreign keys: each is only ever written by a
statement that holds the row lock of its order, and a key per row would cost a third of the split step.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import BigInteger, UserDefinedType

from pulse_domain.instruments import ListingKind
from pulse_domain.orders.status import (
    ExecutionStatus,
    OrderQueueStatus,
    Phase,
    SliceOutcome,
    SliceStage,
    TerminalReason,
)
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# Ids are ASCII and compared bytewise: sorting them by a language's rules would only cost time.
_ID = String(collation="C")
_INSTANT = DateTime(timezone=True)


class _Xid8(UserDefinedType[int]):
    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return "xid8"


def _one_of(name: str, values: type, *, nullable: bool = False) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)  # type: ignore[attr-defined]  # an enum class
    return CheckConstraint(f"{name} IN ({allowed})" + (f" OR {name} IS NULL" if nullable else ""), name=name)


def _the_only() -> Column[bool]:
    """The key of a table that has one row."""
    check = CheckConstraint("the_only", name="the_only")
    return Column("the_only", Boolean, check, primary_key=True, server_default="true")


orders = Table(
    "orders",
    metadata,
    Column("order_id", _ID, primary_key=True),
    Column("client_id", _ID, nullable=False),
    Column("order_unique_key", _ID, nullable=False),
    Column("fingerprint", _ID, nullable=False),
    Column("fingerprint_version", SmallInteger, nullable=False),
    Column("instrument", _ID, nullable=False),
    Column("side", _ID, nullable=False),
    Column("total_quantity", Integer, CheckConstraint("total_quantity > 0", name="quantity"), nullable=False),
    Column("order_type", _ID, nullable=False),
    Column("limit_price", Numeric),
    Column("trigger_price", Numeric),
    Column("product", _ID, nullable=False),
    Column("validity", _ID, nullable=False),
    Column("strategy_tag", String),
    Column("num_splits", SmallInteger),
    Column("duration_minutes", SmallInteger),
    Column("randomize", Boolean),
    Column("start_at", _INSTANT),
    Column("starts_at", _INSTANT, nullable=False),
    Column("ends_at", _INSTANT, nullable=False),
    Column("lot_size", Integer, nullable=False),
    Column("tick_size", Numeric, nullable=False),
    Column("freeze_quantity", Integer),
    Column("units_per_broker_quantity", Integer, nullable=False),
    Column("source", _ID, nullable=False),
    Column("request_id", _ID, nullable=False),
    Column("trace_id", _ID, nullable=False),
    Column("created_at", _INSTANT, nullable=False),
    Column("order_queue_status", _ID, nullable=False),
    Column("order_queue_skip_reason", String),
    Column("failure", String),
    Column("split_attempt", Integer, nullable=False, server_default="0"),
    Column("split_executor", _ID),
    Column("split_lease_until", _INSTANT),
    Column("cancel_requested_at", _INSTANT),
    # The journal's last row; incremented under this row's lock, so the journal has no gaps.
    Column("last_seq", Integer, nullable=False),
    Column("paused_at", _INSTANT),
    # The kill whose positions it squares off.
    Column("kill_id", _ID),
    UniqueConstraint("client_id", "order_unique_key"),
    _one_of("order_queue_status", OrderQueueStatus),
    Index("ix_orders_client", "client_id", "order_id"),
    Index("ix_orders_pending", "order_id", postgresql_where=text("order_queue_status = 'PENDING'")),
    Index("ix_orders_splitting", "order_id", postgresql_where=text("order_queue_status = 'IN_PROGRESS'")),
    Index("ix_orders_cancelled", "order_id", postgresql_where=text("cancel_requested_at IS NOT NULL")),
    # Room for the updates of a life: they stay on their page and touch no index (HOT).
    postgresql_with={"fillfactor": 70},
)

order_slices = Table(
    "order_slices",
    metadata,
    Column("order_id", _ID, primary_key=True),
    Column("seq", SmallInteger, primary_key=True, autoincrement=False),
    Column("quantity", Integer, nullable=False),
    Column("scheduled_at", _INSTANT, nullable=False),
    Column("chunks", SmallInteger, nullable=False),
    Column("stage", _ID, nullable=False),
    Column("outcome", _ID),
    # Compared and incremented by every step that changes an execution of the slice.
    Column("version", Integer, nullable=False, server_default="0"),
    _one_of("stage", SliceStage),
    _one_of("outcome", SliceOutcome, nullable=True),
    postgresql_with={"fillfactor": 70},
)

order_ledger = Table(
    "order_ledger",
    metadata,
    Column("order_id", _ID, primary_key=True),
    Column("seq", SmallInteger, primary_key=True, autoincrement=False),
    Column("chunk", SmallInteger, primary_key=True, autoincrement=False),
    Column("internal_id", Uuid, nullable=False),
    Column("tag", _ID, nullable=False),
    Column("strategy_tag", String),
    Column("exchange_id", _ID),
    # OPEN, TRADED, REJECTED or CANCELLED: the ledger's coarse words for execution_status.
    Column(
        "status",
        _ID,
        Computed(
            "CASE execution_status WHEN 'FILLED' THEN 'TRADED' WHEN 'REJECTED' THEN 'REJECTED'"
            " WHEN 'CANCELLED' THEN 'CANCELLED' WHEN 'EXPIRED' THEN 'CANCELLED' ELSE 'OPEN' END",
            persisted=True,
        ),
        nullable=False,
    ),
    Column("execution_status", _ID, nullable=False),
    Column("phase", _ID, nullable=False),
    Column("planned_quantity", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("cumulative_quantity", Integer, nullable=False, server_default="0"),
    Column("due_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("executor", _ID),
    Column("lease_until", _INSTANT),
    Column("unanswered", Boolean, nullable=False, server_default="false"),
    Column("call_ended_at", _INSTANT),
    Column("absences", Integer, nullable=False, server_default="0"),
    Column("last_absence_at", _INSTANT),
    Column("trigger_pending", Boolean, nullable=False, server_default="false"),
    Column("provisional_quantity", Integer, nullable=False, server_default="0"),
    Column("provisional_price", Numeric),
    Column("cancel_requested", Boolean, nullable=False, server_default="false"),
    Column("pending_replace", JSONB),
    Column("terminal", _ID),
    Column("reason_code", String),
    Column("reason", String),
    Column("flags", ARRAY(String), nullable=False, server_default="{}"),
    Column("busted", ARRAY(String), nullable=False, server_default="{}"),
    Column("metadata", JSONB, nullable=False, server_default="{}"),
    UniqueConstraint("tag"),
    _one_of("execution_status", ExecutionStatus),
    _one_of("phase", Phase),
    _one_of("terminal", TerminalReason, nullable=True),
    # In the order in which they are claimed: many are due at the same instant, when a market opens. It is the
    # only index of planned executions: of another one the planner, which thinks that there are none, reads all
    # and sorts it.
    Index(
        "ix_order_ledger_due", "due_at", "order_id", "seq", "chunk", postgresql_where=text("phase = 'PLANNED'")
    ),
    Index(
        "ix_order_ledger_open",
        "phase",
        "due_at",
        postgresql_where=text(
            "phase IN ('CLAIMED', 'UNKNOWN') OR (phase = 'LIVE' AND execution_status <> 'FILLED')"
        ),
    ),
    # Few: those of which the broker once told more than its trades explain.
    Index("ix_order_ledger_provisional", "order_id", postgresql_where=text("provisional_quantity > 0")),
    # Few at any time: for a person.
    Index(
        "ix_order_ledger_in_doubt",
        "due_at",
        postgresql_where=text(
            "phase = 'UNKNOWN' OR terminal = 'UNRESOLVED' OR 'UNPLANNED' = ANY (flags)"
            " OR 'FOUND_BY_HAND' = ANY (flags)"
        ),
    ),
    Index(
        "ix_order_ledger_placed",
        "due_at",
        postgresql_include=["exchange_id"],
        postgresql_where=text("exchange_id IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": 70},
)

fills = Table(
    "fills",
    metadata,
    Column("exchange", _ID, primary_key=True),
    Column("broker_order_id", _ID, primary_key=True),
    Column("trade_id", _ID, primary_key=True),
    Column("trade_day", Date, primary_key=True),
    Column("order_id", _ID, nullable=False),
    Column("seq", SmallInteger, nullable=False),
    Column("chunk", SmallInteger, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("filled_at", _INSTANT, nullable=False),
    # The order in which they became known.
    Column("entry", BigInteger, Identity(always=True), nullable=False),
    # A trade that the exchange took back stays on record.
    Column("busted", Boolean, nullable=False, server_default="false"),
    Index("ix_fills_execution", "order_id", "seq", "chunk"),
    # For those of a day.
    Index("ix_fills_filled_at", "filled_at"),
)

broker_events = Table(
    "broker_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", _ID, nullable=False),
    Column("seq", SmallInteger, nullable=False),
    Column("chunk", SmallInteger, nullable=False),
    Column("broker", _ID, nullable=False),
    Column("operation", _ID, nullable=False),
    Column("began_at", _INSTANT, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("request", JSONB, nullable=False),
    Column("answer", JSONB),
    Column("error", String),
    # A call is on record once, though its outcome may be booked again where the answer to the first was lost.
    UniqueConstraint("order_id", "seq", "chunk", "operation", "began_at", name="uq_broker_events_call"),
    # Rows come in the order of their instants, or nearly: a summary per range of pages finds those of a day.
    Index("ix_broker_events_began_at", "began_at", postgresql_using="brin"),
)

order_events = Table(
    "order_events",
    metadata,
    Column("order_id", _ID, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", _INSTANT, nullable=False),
    Column("kind", _ID, nullable=False),
    Column("data", JSONB, nullable=False),
    # For a stream over all orders: rows of transactions that may still be open are left for later.
    Column("position", BigInteger, Identity(always=True), nullable=False),
    Column("txid", _Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
)

# Orders that have been done for long, each with all that belonged to it as it stood in the tables above.
order_archive = Table(
    "order_archive",
    metadata,
    Column("order_id", _ID, primary_key=True),
    Column("client_id", _ID, nullable=False),
    # Free again: the same key may stand here more than once.
    Column("order_unique_key", _ID, nullable=False),
    Column("created_at", _INSTANT, nullable=False),
    Column("done_at", _INSTANT, nullable=False),
    Column("archived_at", _INSTANT, nullable=False),
    # order, slices, ledger, fills, journal and broker_events: rows as objects.
    Column("data", JSONB, nullable=False),
    Index("ix_order_archive_key", "client_id", "order_unique_key"),
)

# Append-only: what counts of the fills of archived orders. Positions are folded from these and the fills above.
archived_fills = Table(
    "archived_fills",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", _ID, nullable=False),
    Column("seq", SmallInteger, nullable=False),
    Column("chunk", SmallInteger, nullable=False),
    # Empty where it is the part of the broker's running total that no trade explains.
    Column("trade_id", _ID, nullable=False),
    Column("client_id", _ID, nullable=False),
    Column("strategy_tag", String),
    Column("instrument", _ID, nullable=False),
    Column("product", _ID, nullable=False),
    Column("side", _ID, nullable=False),
    Column("source", _ID, nullable=False),
    Column("quantity", Integer, nullable=False),
    # Price x quantity; null where nobody knew the price.
    Column("value", Numeric),
    Column("filled_at", _INSTANT, nullable=False),
    Index("ix_archived_fills_filled_at", "filled_at"),
)

# Append-only; the newest row says whether trading is halted.
trading_halts = Table(
    "trading_halts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("halted", Boolean, nullable=False),
    Column("changed_by", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("changed_at", _INSTANT, nullable=False),
    # Only a confirmed reconcile ends the halt, whatever rows came in between: each takes it over from the last.
    Column("needs_reconcile", Boolean, nullable=False, server_default="false"),
    # The kill that the halt is of, where its positions are to be squared off.
    Column("kill_id", _ID),
)

# One row: what the last look at the broker's order book came to.
book_findings = Table(
    "book_findings",
    metadata,
    _the_only(),
    Column("complete", Boolean, nullable=False),
    Column("strangers", JSONB, nullable=False),
    # Broker order ids of strangers that a confirmed reconcile has passed.
    Column("known", ARRAY(String), nullable=False, server_default="{}"),
    Column("noted_at", _INSTANT, nullable=False),
)

# One row: which database this was when somebody last looked. A backup that is restored brings another one's.
store_identity = Table(
    "store_identity",
    metadata,
    _the_only(),
    Column("identity", String, nullable=False),
    Column("noted_at", _INSTANT, nullable=False),
)

# The first sight of a webhook body that carries no key of its own.
webhook_sightings = Table(
    "webhook_sightings",
    metadata,
    Column("client_id", _ID, primary_key=True),
    Column("body_digest", _ID, primary_key=True),
    Column("order_id", _ID, nullable=False),
    Column("first_seen_at", _INSTANT, nullable=False),
    Index("ix_webhook_sightings_first_seen", "first_seen_at"),
)

# Who has claimed, each with the session lock that it holds as long as it lives. Not logged, so that a server
# that crashed, and lost all locks, has forgotten whose they were.
executors = Table(
    "executors",
    metadata,
    Column("executor", _ID, primary_key=True),
    Column("lock_key", BigInteger, nullable=False),
    Column("server_started_at", _INSTANT, nullable=False),
    Column("seen_at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    prefixes=["UNLOGGED"],
)

# Append-only; the row with the highest id is a broker's session in every process.
broker_sessions = Table(
    "broker_sessions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("broker", _ID, nullable=False),
    Column("user_id", _ID, nullable=False),
    # Encrypted: the key is not in the database.
    Column("sealed_token", LargeBinary, nullable=False),
    Column("valid_until", _INSTANT, nullable=False),
    Column("created_at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Index("ix_broker_sessions_newest", "broker", "id"),
)

# What a broker lists, and since when on these terms: a row holds from valid_from up to but without valid_to.
# The broker's token of an expired contract is used again, hence the day in the key.
instrument_master = Table(
    "instrument_master",
    metadata,
    Column("broker", _ID, primary_key=True),
    Column("token", _ID, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("valid_to", Date),
    Column("exchange", _ID, nullable=False),
    Column("symbol", _ID, nullable=False),
    Column("broker_symbol", _ID, nullable=False),
    Column("name", String, nullable=False),
    Column("kind", _ID, nullable=False),
    Column("expiry", Date),
    Column("strike", Numeric),
    Column("tick_size", Numeric, nullable=False),
    Column("lot_size", Integer, nullable=False),
    # As the file prints it.
    Column("freeze_quantity", Integer),
    # Units for which one counts in the broker's quantity field.
    Column("units", Integer, nullable=False),
    Column("closing_auction", Boolean),
    _one_of("kind", ListingKind),
    Index(
        "ix_instrument_master_current",
        "broker",
        "exchange",
        "symbol",
        postgresql_where=text("valid_to IS NULL"),
    ),
    Index(
        "ix_instrument_master_underlying",
        "broker",
        "exchange",
        "name",
        postgresql_where=text("valid_to IS NULL AND kind = 'FUT'"),
    ),
)

# Append-only; the newest row of a broker is the version of what is stored.
instrument_syncs = Table(
    "instrument_syncs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("broker", _ID, nullable=False),
    Column("day", Date, nullable=False),
    Column("exchanges", ARRAY(String), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("added", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("ended", Integer, nullable=False),
    Column("bad", Integer, nullable=False),
    Column("synced_at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Index("ix_instrument_syncs_broker", "broker", "id"),
)

# Append-only: what people asked for by other ways than the order API, and what came of it.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("channel", _ID, nullable=False),
    Column("actor", String, nullable=False),
    Column("place", String, nullable=False),
    Column("action", String, nullable=False),
    Column("outcome", _ID, nullable=False),
    Column("detail", String, nullable=False),
)

# Our own numbers of instruments that ticks came of. A broker's would not do: they are used again after an
# expiry, each broker has others, and made-up instruments have none.
tick_instruments = Table(
    "tick_instruments",
    metadata,
    Column("token", Integer, Identity(always=True), primary_key=True),
    Column("instrument", _ID, nullable=False, unique=True),
)

# In partitions by UTC day, market_ticks_2026_01_20 and so on, which `tick_partitions` makes and drops. No
# foreign key: the token is looked up before a batch is stored.
market_ticks = Table(
    "market_ticks",
    metadata,
    Column("timestamp", _INSTANT, primary_key=True),
    Column("token", Integer, primary_key=True, autoincrement=False),
    # The recording and the number in it, as `ticks` puts them together.
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("ltp", Numeric, nullable=False),
    Column("bid", Numeric),
    Column("ask", Numeric),
    Column("volume", BigInteger, nullable=False),
    Column("day_low", Numeric),
    Column("day_high", Numeric),
    postgresql_partition_by="RANGE (timestamp)",
)

# One row for each process that records from a source; `received` is told at its end.
tick_recordings = Table(
    "tick_recordings",
    metadata,
    Column("recording", Integer, Identity(always=True), primary_key=True),
    Column("source", String, nullable=False),
    Column("started_at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("ended_at", _INSTANT),
    Column("received", BigInteger),
)

# What is stored of a recording, written with the ticks: numbers in no batch were lost.
tick_batches = Table(
    "tick_batches",
    metadata,
    Column("recording", Integer, primary_key=True, autoincrement=False),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("rows", Integer, nullable=False),
    Column("stored_at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
)

# Closed candles; where one is missing there was a gap, or nobody listened.
candles = Table(
    "candles",
    metadata,
    Column("instrument", _ID, primary_key=True),
    Column("minutes", SmallInteger, primary_key=True, autoincrement=False),
    Column("start", _INSTANT, primary_key=True),
    Column("open", Numeric, nullable=False),
    Column("high", Numeric, nullable=False),
    Column("low", Numeric, nullable=False),
    Column("close", Numeric, nullable=False),
    Column("volume", BigInteger, nullable=False),
)

# The last price of each instrument, for the risk gate of other processes: written over and over (HOT).
market_prices = Table(
    "market_prices",
    metadata,
    Column("instrument", _ID, primary_key=True),
    Column("at", _INSTANT, nullable=False),
    Column("last_price", Numeric, nullable=False),
    Column("minute_vwap", Numeric),
    Column("lower_circuit", Numeric),
    Column("upper_circuit", Numeric),
    postgresql_with={"fillfactor": 50},
)

# What people want of strategies, and how the runner has found them to fare.
strategies = Table(
    "strategies",
    metadata,
    Column("name", _ID, primary_key=True),
    Column("kind", _ID, nullable=False),
    Column("instruments", ARRAY(String), nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("mode", _ID, nullable=False),
    # In rupees; null for what the runner gives to every strategy.
    Column("capital", Numeric),
    Column("wanted", _ID, nullable=False),
    # One more with every change of what it is, not with starts and stops.
    Column("version", Integer, nullable=False),
    Column("changed_by", String, nullable=False),
    Column("changed_at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("state", _ID, nullable=False),
    Column("detail", String),
    Column("reported_at", _INSTANT),
    _one_of("mode", StrategyMode),
    CheckConstraint("wanted IN ('RUNNING', 'STOPPED')", name="wanted"),
    CheckConstraint("capital > 0", name="capital"),
    _one_of("state", StrategyState),
)

# What a strategy knew when it was last noted, in place of what was before.
strategy_checkpoints = Table(
    "strategy_checkpoints",
    metadata,
    Column("name", _ID, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("state", JSONB, nullable=False),
    Column("saved_at", _INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    postgresql_with={"fillfactor": 50},
)
