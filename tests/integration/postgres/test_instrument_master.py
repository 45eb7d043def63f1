"""What brokers list, stored and looked up."""

import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync, SyncRefused, SyncReport
from pulse_adapters.postgres.pool import Database
from pulse_domain.errors import UnknownInstrument
from pulse_domain.instruments import Instrument, InstrumentTerms, Listing, ListingKind
from pulse_domain.market import FreezeReading
from pulse_domain.testing.contracts.instrument_master import InstrumentMasterContract
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.units import INDIA

DAY = date(2026, 11, 20)
NEXT = DAY + timedelta(days=1)


def share(token: str = "1", symbol: str = "TCS", **given: Any) -> Listing:
    fields: dict[str, Any] = {
        "token": token,
        "instrument": Instrument.parse(f"NSE:{symbol}"),
        "broker_symbol": symbol,
        "name": f"{symbol} LIMITED",
        "kind": ListingKind.SHARE,
        "tick_size": Decimal("0.10"),
        "lot_size": 1,
    }
    return Listing(**fields | given)


def future(token: str = "9", symbol: str = "NIFTY26NOVFUT", name: str = "NIFTY", **given: Any) -> Listing:
    fields: dict[str, Any] = {
        "instrument": Instrument.parse(f"NFO:{symbol}"),
        "name": name,
        "kind": ListingKind.FUTURE,
        "lot_size": 65,
        "expiry": date(2026, 11, 24),
    }
    return share(token, symbol, **fields | given)


TCS = Instrument.parse("NSE:TCS")
NIFTY = Instrument.parse("NFO:NIFTY26NOVFUT")


@pytest.fixture
def sync(database: asyncpg.Pool) -> PostgresInstrumentSync:
    return PostgresInstrumentSync(Database(database))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def master(
    database: asyncpg.Pool, clock: FakeClock, broker: str = "zerodha", **given: Any
) -> PostgresInstrumentMaster:
    return PostgresInstrumentMaster(Database(database), clock, broker, **given)


async def rows(database: asyncpg.Pool) -> list[tuple[Any, ...]]:
    found = await database.fetch(
        "SELECT token, valid_from, valid_to, lot_size FROM instrument_master ORDER BY token, valid_from"
    )
    return [tuple(row) for row in found]


# --- the port


class Venue:
    cash = TCS
    derivative = NIFTY
    unknown: Instrument | None = Instrument.parse("NSE:NOSUCH")

    def __init__(self, master: PostgresInstrumentMaster) -> None:
        self.master = master


class TestPostgresInstrumentMaster(InstrumentMasterContract):
    @pytest.fixture
    async def venue(self, database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock) -> Venue:
        await sync("zerodha", [share(), future()], DAY)
        return Venue(master(database, clock))


# --- syncing


async def test_first_sync_stores_everything(database: asyncpg.Pool, sync: PostgresInstrumentSync) -> None:
    report = await sync("zerodha", [share(), future()], DAY)

    assert report == SyncReport(rows=2, added=2, changed=0, ended=0)
    assert await rows(database) == [("1", DAY, None, 1), ("9", DAY, None, 65)]


async def test_unchanged_rows_are_not_touched(database: asyncpg.Pool, sync: PostgresInstrumentSync) -> None:
    await sync("zerodha", [share(), future(strike=None)], DAY)
    before = await database.fetch("SELECT token, xmin::text, ctid::text FROM instrument_master ORDER BY token")

    # Written otherwise, worth the same.
    report = await sync("zerodha", [share(tick_size=Decimal("0.1000")), future()], NEXT)

    assert (report.added, report.changed, report.ended, report.unchanged) == (0, 0, 0, 2)
    after = await database.fetch("SELECT token, xmin::text, ctid::text FROM instrument_master ORDER BY token")
    assert after == before


async def test_changed_terms_hold_from_their_day_on(
    database: asyncpg.Pool, sync: PostgresInstrumentSync
) -> None:
    await sync("zerodha", [share(), future()], DAY)

    report = await sync("zerodha", [share(), future(lot_size=75)], NEXT)

    assert (report.added, report.changed, report.ended) == (0, 1, 0)
    assert await rows(database) == [("1", DAY, None, 1), ("9", DAY, NEXT, 65), ("9", NEXT, None, 75)]


async def test_a_second_sync_of_the_day_corrects_it(
    database: asyncpg.Pool, sync: PostgresInstrumentSync
) -> None:
    await sync("zerodha", [future()], DAY)

    report = await sync("zerodha", [future(lot_size=75)], DAY)

    assert report.changed == 1
    assert await rows(database) == [("9", DAY, None, 75)]


async def test_what_is_listed_no_more_ends(database: asyncpg.Pool, sync: PostgresInstrumentSync) -> None:
    await sync("zerodha", [share(), share("2", "INFY")], DAY)

    report = await sync("zerodha", [share()], NEXT)

    assert report.ended == 1
    assert await rows(database) == [("1", DAY, None, 1), ("2", DAY, NEXT, 1)]


async def test_what_came_back_on_the_same_day_goes_on(
    database: asyncpg.Pool, sync: PostgresInstrumentSync
) -> None:
    both = [share(), share("2", "INFY")]
    for listings in (both, both[:1], both):
        await sync("zerodha", listings, DAY)

    assert await rows(database) == [("1", DAY, None, 1), ("2", DAY, None, 1)]


async def test_a_token_that_is_used_again_stands_for_its_day(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock
) -> None:
    await sync("zerodha", [future()], DAY)
    await sync("zerodha", [future(symbol="NIFTY26DECFUT", expiry=date(2026, 12, 29))], NEXT)

    terms = await master(database, clock).terms(Instrument.parse("NFO:NIFTY26DECFUT"))

    assert terms.lot_size == 65
    with pytest.raises(UnknownInstrument):
        await master(database, clock).terms(NIFTY)
    assert len(await rows(database)) == 2


async def test_exchanges_that_a_file_does_not_have_are_left_alone(
    database: asyncpg.Pool, sync: PostgresInstrumentSync
) -> None:
    await sync("zerodha", [share(), future()], DAY)

    report = await sync("zerodha", [share("2", "INFY")], NEXT)

    assert report.ended == 1
    assert ("9", DAY, None, 65) in await rows(database)


async def test_brokers_do_not_meet(database: asyncpg.Pool, sync: PostgresInstrumentSync) -> None:
    await sync("zerodha", [share()], DAY)

    report = await sync("kotak", [share()], DAY)

    assert (report.added, report.ended) == (1, 0)


@pytest.mark.parametrize(
    "listings", [[], [share(str(n), f"S{n}") for n in range(40)]], ids=["empty", "cut short"]
)
async def test_a_file_that_lost_most_of_its_rows_changes_nothing(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, listings: list[Listing]
) -> None:
    whole = [share(str(n), f"S{n}") for n in range(100)]
    await sync("zerodha", whole, DAY)

    with pytest.raises(SyncRefused):
        await sync("zerodha", listings, NEXT)

    assert len(await rows(database)) == 100
    if listings:
        assert (await sync("zerodha", listings, NEXT, allow_shrink=True)).ended == 60


async def test_yesterdays_file_is_refused(database: asyncpg.Pool, sync: PostgresInstrumentSync) -> None:
    await sync("zerodha", [share()], NEXT)

    with pytest.raises(SyncRefused, match="in the past"):
        await sync("zerodha", [share(lot_size=2)], DAY)

    assert await rows(database) == [("1", NEXT, None, 1)]


async def test_each_sync_is_on_record(database: asyncpg.Pool, sync: PostgresInstrumentSync) -> None:
    await sync("zerodha", [share(), future()], DAY, bad=3)

    row = await database.fetchrow("SELECT broker, day, exchanges, rows, added, bad FROM instrument_syncs")
    assert tuple(row) == ("zerodha", DAY, ["NFO", "NSE"], 2, 2, 3)


def many(count: int, *, lot: int = 65) -> Iterator[Listing]:
    for n in range(count):
        yield future(
            str(n),
            f"NIFTY26NOV{n}CE",
            kind=ListingKind.CALL,
            strike=Decimal(n + 1),
            lot_size=lot,
            tick_size=Decimal("0.05"),
        )


async def test_forty_one_thousand_rows_take_seconds(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, record_property: Any
) -> None:
    whole = list(many(41_000))
    one_changed = [*whole[:-1], replace(whole[-1], lot_size=75)]
    all_changed = list(many(41_000, lot=75))
    reports, seconds = [], []

    for day, listings in enumerate((whole, whole, one_changed, all_changed)):
        began = time.perf_counter()
        reports.append(await sync("zerodha", listings, DAY + timedelta(days=day)))
        seconds.append(round(time.perf_counter() - began, 2))

    record_property("seconds_first_unchanged_one_all", seconds)
    assert [(r.added, r.changed, r.ended) for r in reports] == [
        (41_000, 0, 0),
        (0, 0, 0),
        (0, 1, 0),
        (0, 40_999, 0),
    ]
    assert max(seconds) < 20


# --- looking up


async def test_terms_are_those_of_the_file(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock
) -> None:
    commodity = future(
        "7", "GOLD26DECFUT", "GOLD",
        instrument=Instrument.parse("MCX:GOLD26DECFUT"), lot_size=100, units_per_broker_quantity=100,
        tick_size=Decimal(1),
    )  # fmt: skip
    await sync("zerodha", [share(), commodity], DAY)

    assert await master(database, clock).terms(TCS) == InstrumentTerms(tick_size=Decimal("0.10"))
    assert await master(database, clock).terms(commodity.instrument) == InstrumentTerms(
        lot_size=100, tick_size=Decimal(1), units_per_broker_quantity=100
    )


@pytest.mark.parametrize(
    ("reading", "largest"), [(FreezeReading.SAFE, 1755), (FreezeReading.LIMIT, 1755)], ids=["safe", "limit"]
)
async def test_freeze_quantities_come_from_the_other_brokers_file(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock, reading: FreezeReading, largest: int
) -> None:
    await sync("zerodha", [future()], DAY)
    await sync("kotak", [future("nse_fo|9", freeze_quantity=1801)], DAY)

    for broker in ("zerodha", "kotak"):
        terms = await master(database, clock, broker, reading=reading).terms(NIFTY)
        assert terms.freeze_quantity == largest


async def test_freeze_quantities_of_indices_have_a_table_to_fall_back_on(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock
) -> None:
    stock = future("8", "TCS26NOVFUT", "TCS", lot_size=175)
    await sync("zerodha", [future(expiry=date(2028, 1, 1)), stock], DAY)
    at_2026_11 = FakeClock(clock.now().replace(year=2026, month=11, day=20))

    assert (await master(database, at_2026_11).terms(NIFTY)).freeze_quantity == 1755
    assert (await master(database, at_2026_11).terms(stock.instrument)).freeze_quantity is None


async def test_another_lots_freeze_quantity_is_no_limit(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock
) -> None:
    await sync("zerodha", [share(lot_size=1000)], DAY)
    await sync("kotak", [share(freeze_quantity=500)], DAY)

    assert (await master(database, clock).terms(TCS)).freeze_quantity is None


@pytest.mark.parametrize(
    ("listings", "other", "expected"),
    [
        ([share()], [], None),
        ([share(), future()], [], False),
        ([share(), future("8", "TCS26NOVFUT", "TCS")], [], True),
        ([share(closing_auction=True)], [], True),
        ([share(), future()], [share(closing_auction=True)], True),
        ([future()], [], None),
    ],
    ids=[
        "no futures are stored",
        "has none",
        "has one",
        "the file says so",
        "the other file says so",
        "no share",
    ],
)
async def test_who_takes_part_in_the_closing_auction(
    database: asyncpg.Pool,
    sync: PostgresInstrumentSync,
    clock: FakeClock,
    listings: list[Listing],
    other: Sequence[Listing],
    expected: bool | None,
) -> None:
    await sync("zerodha", listings, DAY)
    if other:
        await sync("kotak", other, DAY)

    assert await master(database, clock).closing_auction(listings[0].instrument) is expected


async def test_expired_contracts_do_not_exist(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock
) -> None:
    today = clock.now().astimezone(INDIA).date()
    await sync("zerodha", [future(expiry=today)], DAY)
    instruments = master(database, clock)

    await instruments.terms(NIFTY)
    await clock.advance(86_400)

    with pytest.raises(UnknownInstrument, match="expired"):
        await instruments.terms(NIFTY)


async def test_without_a_sync_the_error_says_what_to_do(database: asyncpg.Pool, clock: FakeClock) -> None:
    with pytest.raises(UnknownInstrument, match="pulse instruments sync"):
        await master(database, clock).terms(TCS)


async def test_a_sync_is_noticed_and_until_then_nothing_is_asked(
    database: asyncpg.Pool, sync: PostgresInstrumentSync, clock: FakeClock
) -> None:
    instruments = master(database, clock, recheck_s=10.0)
    await sync("zerodha", [share()], DAY)
    assert (await instruments.terms(TCS)).lot_size == 1
    with pytest.raises(UnknownInstrument):
        await instruments.terms(NIFTY)

    await sync("zerodha", [share(lot_size=5), future(expiry=date(2030, 1, 1))], NEXT)
    assert (await instruments.terms(TCS)).lot_size == 1
    await clock.advance(10)

    assert (await instruments.terms(TCS)).lot_size == 5
    assert (await instruments.terms(NIFTY)).lot_size == 65
