"""Minute candles over REST: what each broker answers, and what becomes of answers that are none."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import pytest_asyncio

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.history import KotakHistory
from pulse_adapters.kotak.line import Line as NeoLine
from pulse_adapters.kotak.sdk import load_sdk
from pulse_adapters.kotak.sessions import KotakSessions
from pulse_adapters.real_broker.history import MinuteHistory
from pulse_adapters.zerodha.history import ZerodhaHistory
from pulse_adapters.zerodha.line import Line as KiteLine
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.integration.feeds.making import INFY, KITE_TOKENS, NEO_TOKENS, UNLISTED, tokens_of, zerodha_sessions
from tests.unit.kotak.make import ACCESS_TOKEN, TOKEN, neo_session, seal, stored
from tests.unit.zerodha.kite_server import (
    Drop,
    KiteServer,
    Reply,
    Request,
    failure,
    html,
    kite_server,
    success,
)

TEN = datetime.fromisoformat("2026-01-20T10:00:00+05:30")
CRUDE = Instrument.parse("MCX:CRUDEOIL26DECFUT")


class Venue(ABC):
    """A broker that answers as it is told. pauses: between requests, by a clock on which they take no time."""

    def __init__(self, server: KiteServer, history: MinuteHistory[Any], pauses: FakeClock) -> None:
        self.server = server
        self.history = history
        self.pauses = pauses

    @abstractmethod
    def say(self, candles: Any) -> None:
        """Answer with these rows, whatever they are."""

    @abstractmethod
    def refuse(self, status: int) -> None: ...

    @abstractmethod
    def check(self, request: Request, since: datetime, until: datetime) -> None:
        """Whether the request asks for at least the candles of NSE:INFY between these instants."""


_KITE_ERRORS = {400: None, 403: "TokenException", 429: "NetworkException", 500: "GeneralException"}


class KiteVenue(Venue):
    def say(self, candles: Any) -> None:
        self.server.then(success({"candles": candles}))

    def refuse(self, status: int) -> None:
        self.server.then(failure(status, _KITE_ERRORS[status]))

    def check(self, request: Request, since: datetime, until: datetime) -> None:
        url = urlsplit(request.path)
        query = parse_qs(url.query)
        assert url.path == "/instruments/historical/408065/minute"
        assert query["from"] == [f"{since:%Y-%m-%d %H:%M:%S}"]
        assert query["to"] == [f"{until - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}"]


class NeoVenue(Venue):
    def say(self, candles: Any) -> None:
        body = {"status": "success", "interval": "1min", "data": {"candles": candles}}
        self.server.then(Reply(body=json.dumps(body).encode()))

    def refuse(self, status: int) -> None:
        body = {"status": "ERROR", "fault": {"code": status, "message": "no"}}
        self.server.then(Reply(status=status, body=json.dumps(body).encode()))

    def check(self, request: Request, since: datetime, until: datetime) -> None:
        url = urlsplit(request.path)
        assert url.path == "/market-data/1.0/historical/details"
        assert parse_qs(unquote(url.query)) == {
            "neosymbol": ["nse_cm|1594"],
            "interval": ["1min"],
            "fromdate": [f"{since:%Y-%m-%d}"],
            "todate": [f"{until:%Y-%m-%d}"],
        }
        assert request.headers["authorization"] == ACCESS_TOKEN
        assert TOKEN not in request.path


@pytest_asyncio.fixture(params=["zerodha", "kotak"])
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    clock, pauses = SystemClock(), FakeClock(auto=True)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(kite_server())
        made: Venue
        line: KiteLine | NeoLine
        history: MinuteHistory[Any]
        if request.param == "zerodha":
            history = ZerodhaHistory(
                zerodha_sessions("token", clock), tokens_of({**KITE_TOKENS, CRUDE: "1"}), pauses
            )
            line = KiteLine(api_key="key", base_url=server.base_url, clock=clock, pool_size=1)
            made = KiteVenue(server, history, pauses)
        else:
            load_sdk()  # not within the time of the first call
            store = InMemorySessions()
            await store.save(stored(neo_session(server.base_url), clock=clock))
            history = KotakHistory(
                KotakSessions(store, seal(), clock), tokens_of({**NEO_TOKENS, CRUDE: "mcx_fo|1"}), pauses
            )
            line = NeoLine(access_token=ACCESS_TOKEN, login_url=server.base_url, clock=clock, pool_size=1)
            made = NeoVenue(server, history, pauses)
        stack.push_async_callback(line.close)
        history.line = line
        yield made


def row(minute: int, *cells: Any) -> list[Any]:
    start = TEN + timedelta(minutes=minute)
    return [start.strftime("%Y-%m-%dT%H:%M:%S%z"), *(cells or (1500.1, 1501, 1499.95, 1500.05, 120))]


async def read(venue: Venue, instrument: Instrument = INFY) -> list[Candle]:
    return list(await venue.history.read(instrument, TEN, TEN + timedelta(minutes=2)))


async def test_candles_are_read_without_what_was_not_asked_for(venue: Venue) -> None:
    venue.say([row(-1), row(0), row(1), row(2)])

    candles = await read(venue)

    prices = (Decimal("1500.1"), Decimal("1501"), Decimal("1499.95"), Decimal("1500.05"))
    assert candles == [Candle(INFY, TEN + timedelta(minutes=n), *prices, 120) for n in range(2)]
    (request,) = venue.server.requests
    venue.check(request, TEN, TEN + timedelta(minutes=2))


async def test_open_interest_is_left_out(venue: Venue) -> None:
    # Null where it is not filled yet.
    venue.say([row(0, 1, 1, 1, 1, 5, None), row(1, 1, 1, 1, 1, 6, 13667775)])

    assert [candle.volume for candle in await read(venue)] == [5, 6]


async def test_a_time_without_trades_has_no_candles(venue: Venue) -> None:
    venue.say([])

    assert await read(venue) == []


async def test_a_hole_over_midnight_is_of_two_days(venue: Venue) -> None:
    venue.say([])
    since = datetime.fromisoformat("2026-01-19T18:40:00+00:00")  # ten past midnight in India
    await venue.history.read(INFY, since - timedelta(minutes=20), since)

    (request,) = venue.server.requests
    india = TEN.tzinfo
    venue.check(request, (since - timedelta(minutes=20)).astimezone(india), since.astimezone(india))


@pytest.mark.parametrize(
    "candles",
    [
        None, "none", [["when", 1, 1, 1, 1, 1]], [row(0, 1, 1, 1)], [row(0, "a", 1, 1, 1, 1)],
        [row(0, -1, 1, 1, 1, 1)], [row(0, None, 1, 1, 1, 1)], [row(0, 1, 1, 1, 1, "many")],
        [row(0, 1, 1, 1, 1, -1)], [[]], [None],
        [["2026-01-20T10:00:00", 1, 1, 1, 1, 1]],
    ],
)  # fmt: skip
async def test_an_answer_that_makes_no_sense_is_none(venue: Venue, candles: Any) -> None:
    venue.say(candles)

    with pytest.raises(BrokerUnavailable):
        await read(venue)


@pytest.mark.parametrize("reply", [success([]), success(None), Reply(body=b"[]"), html(200), html(502), Drop()])
async def test_what_is_no_answer_is_none(venue: Venue, reply: Any) -> None:
    venue.server.then(reply)

    with pytest.raises(BrokerUnavailable):
        await read(venue)


@pytest.mark.parametrize("status", [400, 403, 429, 500])
async def test_a_refusal_is_told(venue: Venue, status: int) -> None:
    venue.refuse(status)

    with pytest.raises(BrokerUnavailable):
        await read(venue)


async def test_what_the_broker_does_not_list_has_no_history(venue: Venue) -> None:
    with pytest.raises(BrokerUnavailable):
        await read(venue, UNLISTED)

    assert venue.server.requests == []


async def test_without_a_line_there_is_no_history(venue: Venue) -> None:
    venue.history.line = None

    with pytest.raises(BrokerUnavailable):
        await read(venue)

    assert venue.server.requests == []


async def test_requests_do_not_come_faster_than_brokers_let_them(venue: Venue) -> None:
    for _ in range(3):
        venue.say([])
        await read(venue)

    assert len(venue.server.requests) == 3
    assert venue.pauses.monotonic() == 1


@pytest.mark.parametrize("venue", ["kotak"], indirect=True)
async def test_kotak_has_no_history_of_commodities(venue: Venue) -> None:
    with pytest.raises(BrokerUnavailable) as refused:
        await read(venue, CRUDE)

    assert refused.value.reason_code == "NO_HISTORY"
    assert venue.server.requests == []


@pytest.mark.parametrize("venue", ["kotak"], indirect=True)
async def test_at_kotak_no_data_is_no_candle(venue: Venue) -> None:
    body = {"stCode": 5203, "errMsg": "No Data", "desc": "data not found", "stat": "Not_Ok"}
    venue.server.then(Reply(body=json.dumps(body).encode()))

    assert await read(venue) == []
