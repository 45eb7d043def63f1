"""Trading terms from what a broker's file lists, kept in this process until the next sync."""

from datetime import date

from msgspec import Struct
from sqlalchemy import text

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.statements import Statement
from pulse_domain.errors import UnknownInstrument
from pulse_domain.instruments import Instrument, InstrumentTerms, Listing, ListingKind
from pulse_domain.market import FreezeReading, index_freeze_quantity, largest_order
from pulse_domain.market.sessions import indian_day
from pulse_domain.ports.clock import Clock

# Asked for again and again with symbols that do not exist, the memory must not grow for ever.
_REMEMBERED_MAX = 200_000

_VERSION = Statement(text("SELECT coalesce(max(id), 0) AS version FROM instrument_syncs"))

# The instrument's row, and what the other broker's file knows of it: Kite's has no freeze quantities, and
# whether a share takes part in the closing auction shows in its having futures.
_FIND = Statement(
    text("""
    SELECT m.*, o.freeze_quantity AS other_freeze_quantity, o.closing_auction AS other_closing_auction,
           EXISTS (SELECT FROM instrument_master f
                   WHERE f.broker = m.broker AND f.exchange = 'NFO' AND f.name = m.symbol
                     AND f.valid_to IS NULL AND f.kind = 'FUT') AS has_future,
           EXISTS (SELECT FROM instrument_master f
                   WHERE f.broker = m.broker AND f.exchange = 'NFO'
                     AND f.valid_to IS NULL AND f.kind = 'FUT') AS futures_known,
           (SELECT s.day FROM instrument_syncs s
            WHERE s.broker = m.broker AND m.exchange = ANY(s.exchanges) ORDER BY s.id DESC LIMIT 1) AS synced_on
    FROM instrument_master m
    LEFT JOIN LATERAL (
        SELECT p.freeze_quantity, p.closing_auction FROM instrument_master p
        WHERE p.broker = ANY(ARRAY['kotak', 'zerodha']) AND p.broker <> m.broker
          AND p.exchange = m.exchange AND p.symbol = m.symbol AND p.valid_to IS NULL
        LIMIT 1
    ) o ON true
    WHERE m.broker = :broker AND m.exchange = :exchange AND m.symbol = :symbol AND m.valid_to IS NULL
    ORDER BY m.valid_from DESC LIMIT 1
    """)
)


class StoredListing(Struct, frozen=True, kw_only=True):
    """A listing with what is stored around it.

    synced_on: the day of the last file of its exchange.
    freeze_quantity: printed by the broker's own file, or else by the other's.
    closing_auction: as a file says, or as its futures show; None where neither is stored.
    """

    listing: Listing
    valid_from: date
    synced_on: date | None
    freeze_quantity: int | None
    closing_auction: bool | None


class PostgresInstrumentMaster:
    """reading: what a printed freeze quantity means.
    recheck_s: how long a sync by another process may go unnoticed."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        broker: str,
        *,
        reading: FreezeReading = FreezeReading.SAFE,
        recheck_s: float = 10.0,
    ) -> None:
        self._db = database
        self._clock = clock
        self._broker = broker
        self._reading = reading
        self._recheck_s = recheck_s
        self._known: dict[Instrument, StoredListing | None] = {}
        self._version: int | None = None
        self._checked_at = 0.0

    async def terms(self, instrument: Instrument) -> InstrumentTerms:
        """Today's terms of an instrument.

        Raises:
            UnknownInstrument: the file in force does not list it, or it has expired.
            StorageUnavailable: the store cannot be reached.
        """
        stored = await self.listing(instrument)
        listing = stored.listing
        return InstrumentTerms(
            lot_size=listing.lot_size,
            tick_size=listing.tick_size,
            freeze_quantity=self._largest_order(stored),
            units_per_broker_quantity=listing.units_per_broker_quantity,
        )

    async def closing_auction(self, instrument: Instrument) -> bool | None:
        """Whether a share takes part in the closing auction; None where nobody knows.

        Raises:
            UnknownInstrument, StorageUnavailable.
        """
        return (await self.listing(instrument)).closing_auction

    async def listing(self, instrument: Instrument) -> StoredListing:
        """What is stored of an instrument.

        Raises:
            UnknownInstrument, StorageUnavailable.
        """
        await self._forget_after_sync()
        if instrument in self._known:
            stored = self._known[instrument]
        else:
            version = self._version
            stored = await self._find(instrument)
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            if version == self._version:  # else a sync was noticed meanwhile, and this may be from before it
                self._known[instrument] = stored
        today = indian_day(self._clock.now())
        if stored is None or (stored.listing.expiry is not None and stored.listing.expiry < today):
            what = "is not listed" if stored is None else f"expired on {stored.listing.expiry}"
            never = "" if self._version else "; no instruments are stored: run `pulse instruments sync`"
            raise UnknownInstrument(
                f"{instrument} {what} at {self._broker}{never}", field="instrument", instrument=str(instrument)
            )
        return stored

    async def _forget_after_sync(self) -> None:
        now = self._clock.monotonic()
        if self._version is not None and now - self._checked_at < self._recheck_s:
            return
        row = await self._db.fetchrow(_VERSION.sql, _VERSION.args())
        assert row is not None, "an aggregate gives one row"
        if row["version"] != self._version:
            self._known.clear()
        self._version, self._checked_at = row["version"], now

    async def _find(self, instrument: Instrument) -> StoredListing | None:
        args = _FIND.args(broker=self._broker, exchange=instrument.exchange.value, symbol=instrument.symbol)
        row = await self._db.fetchrow(_FIND.sql, args)
        if row is None:
            return None
        listing = Listing(
            token=row["token"],
            instrument=instrument,
            broker_symbol=row["broker_symbol"],
            name=row["name"],
            kind=ListingKind(row["kind"]),
            tick_size=row["tick_size"],
            lot_size=row["lot_size"],
            expiry=row["expiry"],
            strike=row["strike"],
            freeze_quantity=row["freeze_quantity"],
            units_per_broker_quantity=row["units"],
            closing_auction=row["closing_auction"],
        )
        closing_auction = row["closing_auction"]
        if closing_auction is None and instrument.exchange.is_cash:
            closing_auction = row["other_closing_auction"]
            if closing_auction is None and row["futures_known"]:
                closing_auction = row["has_future"]
        printed = row["freeze_quantity"]
        return StoredListing(
            listing=listing,
            valid_from=row["valid_from"],
            synced_on=row["synced_on"],
            freeze_quantity=row["other_freeze_quantity"] if printed is None else printed,
            closing_auction=closing_auction,
        )

    def _largest_order(self, stored: StoredListing) -> int | None:
        listing, printed = stored.listing, stored.freeze_quantity
        if printed is None and listing.kind is not ListingKind.SHARE:
            printed = index_freeze_quantity(listing.name, indian_day(self._clock.now()))
        if printed is None or printed < listing.lot_size:
            # Below one lot it is the other broker's figure for another lot: no limit is known then.
            return None
        return largest_order(printed, listing.lot_size, self._reading)
