"""What `pulse instruments` does: the file, the database, and how it is told."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from pulse import output
from pulse.database import with_database
from pulse.errors import CommandError
from pulse_adapters.clock import SystemClock
from pulse_adapters.instruments import Dump, DumpError, Source, fetch, read_file
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster, StoredListing
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync, SyncRefused, SyncReport
from pulse_adapters.postgres.pool import Database
from pulse_domain.errors import UnknownInstrument
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.market.sessions import indian_day

_BAD_SHOWN_MAX = 20
_T = TypeVar("_T")


class SyncRequest(Struct, frozen=True, kw_only=True):
    """url, access_token: of the broker's service, where there is no file."""

    dsn: str
    broker: str
    file: Path | None
    url: str
    access_token: str
    exchanges: frozenset[Exchange]
    timeout_s: float
    allow_shrink: bool

    def __repr__(self) -> str:
        return f"SyncRequest(broker={self.broker!r})"


def run_sync(request: SyncRequest, *, as_json: bool) -> None:
    """Read, store and report.

    Raises:
        CommandError: nothing was stored.
    """
    began = time.monotonic()
    dump = _read(request)
    report = asyncio.run(_with_database(request.dsn, lambda database: _store(database, request, dump)))
    seconds = round(time.monotonic() - began, 2)
    if as_json:
        output.say_json(
            {
                "broker": request.broker,
                "rows": dump.rows,
                "listed": report.rows,
                "added": report.added,
                "changed": report.changed,
                "ended": report.ended,
                "unchanged": report.unchanged,
                "skipped": dump.skipped,
                "bad": dump.bad,
                "seconds": seconds,
            }
        )
        return
    for bad in dump.bad[:_BAD_SHOWN_MAX]:
        output.complain(f"line {bad.line}: {bad.symbol or '-'}: {bad.reason}; left out")
    if len(dump.bad) > _BAD_SHOWN_MAX:
        output.complain(f"and {len(dump.bad) - _BAD_SHOWN_MAX} more bad rows")
    for reason, count in sorted(dump.skipped.items()):
        output.say(f"skipped {count}: {reason}")
    output.say(
        f"{request.broker}: {report.rows} instruments of {dump.rows} rows, {len(dump.bad)} bad;"
        f" {report.added} added, {report.changed} changed, {report.ended} ended,"
        f" {report.unchanged} unchanged; {seconds} s"
    )


def run_show(dsn: str, instrument: Instrument, brokers: Sequence[str], *, as_json: bool) -> None:
    """Show an instrument at each broker that lists it.

    Raises:
        CommandError: none does.
    """
    found = asyncio.run(_with_database(dsn, lambda database: _find(database, instrument, brokers)))
    if as_json:
        output.say_json([_as_json(*each) for each in found])
        return
    table = output.plain_table(("", "left"), *((broker, "left") for broker, _, _ in found))
    columns = [_as_json(*each) for each in found]
    for name in columns[0]:
        if name != "broker":
            values = [column[name] for column in columns]
            table.add_row(name, *("-" if value is None else output.clean(str(value)) for value in values))
    output.show(table)


def _read(request: SyncRequest) -> Dump:
    try:
        if request.file is not None:
            return _only(read_file(request.broker, request.file), request.exchanges)
        source = Source(
            broker=request.broker,
            url=request.url,
            access_token=request.access_token,
            timeout_s=request.timeout_s,
        )
        return _only(fetch(source, request.exchanges), request.exchanges)
    except DumpError as error:
        raise CommandError(str(error)) from error


def _only(dump: Dump, exchanges: frozenset[Exchange]) -> Dump:
    if not exchanges:
        return dump
    listings = tuple(each for each in dump.listings if each.instrument.exchange in exchanges)
    others = len(dump.listings) - len(listings)
    skipped = {**dump.skipped, "other exchange": others} if others else dump.skipped
    return Dump(rows=dump.rows, listings=listings, bad=dump.bad, skipped=skipped)


async def _store(database: Database, request: SyncRequest, dump: Dump) -> SyncReport:
    return await PostgresInstrumentSync(database)(
        request.broker,
        dump.listings,
        indian_day(SystemClock().now()),
        bad=len(dump.bad),
        allow_shrink=request.allow_shrink,
    )


async def _find(
    database: Database, instrument: Instrument, brokers: Sequence[str]
) -> list[tuple[str, StoredListing, InstrumentTerms]]:
    found, reasons = [], []
    for broker in brokers:
        master = PostgresInstrumentMaster(database, SystemClock(), broker)
        try:
            found.append((broker, await master.listing(instrument), await master.terms(instrument)))
        except UnknownInstrument as error:
            reasons.append(error.message)
    if not found:
        raise UnknownInstrument("; ".join(reasons))
    return found


def _as_json(broker: str, stored: StoredListing, terms: InstrumentTerms) -> dict[str, Any]:
    listing = stored.listing
    return {
        "broker": broker,
        "instrument": str(listing.instrument),
        "name": listing.name,
        "kind": listing.kind,
        "token": listing.token,
        "broker_symbol": listing.broker_symbol,
        "expiry": listing.expiry,
        "strike": listing.strike,
        "tick_size": terms.tick_size,
        "lot_size": terms.lot_size,
        "units_per_broker_quantity": terms.units_per_broker_quantity,
        "freeze_quantity": stored.freeze_quantity,
        "largest_order": terms.freeze_quantity,
        "closing_auction": stored.closing_auction,
        "valid_from": stored.valid_from,
        "synced_on": stored.synced_on,
    }


async def _with_database(dsn: str, use: Callable[[Database], Awaitable[_T]]) -> _T:
    try:
        return await with_database(dsn, use)
    except SyncRefused as error:
        raise CommandError(error.message) from error
    except UnknownInstrument as error:
        raise CommandError(f"{error.code}: {error.message}") from error
