"""The pure parts of Kotak's face: codes, bands, names, fields, files, steps and sessions."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyotp
import pytest

from pulse_adapters.instruments import Dump, parse
from pulse_adapters.instruments.dump import merged
from pulse_adapters.simulator.catalog import Listing
from pulse_adapters.simulator.kotak.errors import NeoError
from pulse_adapters.simulator.kotak.forms import ProductLabel, read_fields, read_order
from pulse_adapters.simulator.kotak.names import (
    Scrips,
    first_number,
    plain_name,
    segment,
    series,
    token,
    trading_symbol,
)
from pulse_adapters.simulator.kotak.packets import Depth, packet
from pulse_adapters.simulator.kotak.protection import distance
from pulse_adapters.simulator.kotak.rows import steps_to
from pulse_adapters.simulator.kotak.scrips import FILES, scrip_file
from pulse_adapters.simulator.kotak.sessions import Sessions
from pulse_adapters.simulator.kotak.settings import NeoAccount, NeoSettings
from pulse_adapters.simulator.kotak.totp import code_at, is_code
from pulse_adapters.simulator.prices import Market
from pulse_adapters.simulator.values import Status
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.model import OrderType, Product
from tests.unit.simulator.make import START, Stage, limit
from tests.unit.simulator.make import ask as make_ask

SEED = "PLANTEDSEEDPLANTEDSEEDPLANTEDSEE"
ACCOUNT = NeoAccount(
    access_token="planted-token", mobile_number="+910009998881", ucc="PLA01", mpin="907143", totp_seed=SEED
)
FIELDS = {
    "am": "NO", "dq": "0", "es": "nse_cm", "pc": "CNC", "pr": "500.05", "pt": "L", "qt": "10", "rt": "DAY",
    "tp": "0", "ts": "RELIANCE-EQ", "tt": "B", "ig": "tag",
}  # fmt: skip


def listing(symbol: str, **more: Any) -> Listing:
    exchange, _, rest = symbol.partition(":")
    instrument = Instrument(Exchange(exchange), rest)  # not parsed: an index has a blank in it
    fields: dict[str, Any] = {
        "token": 1, "exchange_token": 2885, "name": instrument.symbol, "tick_size": Decimal("0.05"),
        "segment": instrument.exchange.value, **more,
    }  # fmt: skip
    return Listing(instrument=instrument, **fields)


OPTION = listing(
    "NFO:NIFTY26NOV24125.5CE", exchange_token=56526, name="NIFTY", kind="CE", strike=Decimal("24125.5"),
    expiry=date(2026, 11, 24), lot_size=65, freeze_quantity=1800, segment="NFO-OPT",
)  # fmt: skip
FUTURE = listing(
    "NFO:NIFTY26NOVFUT", exchange_token=53001, name="NIFTY", kind="FUT", expiry=date(2026, 11, 24), lot_size=65,
    freeze_quantity=1800, segment="NFO-FUT",
)  # fmt: skip


# --- codes


@pytest.mark.parametrize("seconds", [0, 29, 30, 59, 1_111_111_109, 20_000_000_000])
def test_codes_are_those_of_any_authenticator(seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)

    assert code_at(SEED, at) == pyotp.TOTP(SEED).at(at)


def test_a_code_is_good_for_a_step_before_and_after() -> None:
    code = code_at(SEED, START)

    assert [is_code(SEED, code, START + timedelta(seconds=off)) for off in (-61, -30, 0, 30, 90)] == [
        False, True, True, True, False,
    ]  # fmt: skip


# --- bands


@pytest.mark.parametrize(
    ("price", "is_option", "wide"),
    [
        ("99", False, "1.98"), ("100", False, "1"), ("500", False, "5"), ("600", False, "3"),
        ("0.95", True, "0.10"), ("1", True, "0.1"), ("5", True, "0.25"), ("10", True, "0.3"),
        ("100", True, "2"), ("500", True, "10"), ("600", True, "6"),
    ],
)  # fmt: skip
def test_the_band_follows_the_price(price: str, is_option: bool, wide: str) -> None:
    assert distance(Decimal(price), is_option=is_option) == Decimal(wide)


# --- names


@pytest.mark.parametrize(
    ("name", "called", "plain", "group"),
    [
        ("NSE:RELIANCE", "RELIANCE-EQ", "RELIANCE", "EQ"),
        ("NSE:BAJAJ-AUTO", "BAJAJ-AUTO-EQ", "BAJAJ-AUTO", "EQ"),
        ("NSE:M&M", "M&M-EQ", "M&M", "EQ"),
        ("NSE:SGBMAY29-GB", "SGBMAY29-GB", "SGBMAY29", "GB"),
        ("BSE:RELIANCE", "RELIANCE-A", "RELIANCE", "A"),
    ],
)
def test_shares_are_called_with_their_series(name: str, called: str, plain: str, group: str) -> None:
    share = listing(name)

    assert (trading_symbol(share), plain_name(share), series(share)) == (called, plain, group)
    assert Scrips([share]).by_symbol(segment(share), called) is share


def test_an_index_is_known_by_its_name() -> None:
    index = listing("NSE:NIFTY 50", segment="INDICES")

    assert (token(index), trading_symbol(index), series(index)) == ("Nifty 50", "NIFTY 50", "")
    assert Scrips([index]).by_neosymbol("nse_cm|Nifty 50") is index


def test_numbers_begin_with_the_day_in_india() -> None:
    late = datetime(2026, 11, 20, 19, 0, tzinfo=UTC)

    assert (first_number(START), first_number(late)) == (261120000000001, 261121000000001)


# --- fields


def test_an_order_is_read() -> None:
    order = read_order(read_fields(json.dumps({**FIELDS, "new": "unknown", "ig": None})))

    assert (order.order_type, order.price, order.trigger_price) == (OrderType.LIMIT, Decimal("500.05"), None)
    assert order.tag is None


@pytest.mark.parametrize("body", ["[]", "1", "{", '{"qt": 10}', '{"qt": true}', "[" * 5000])
def test_what_is_no_object_of_texts_is_refused(body: str) -> None:
    with pytest.raises(NeoError):
        read_fields(body)


@pytest.mark.parametrize(
    ("label", "exchange", "product"),
    [
        ("NRML", Exchange.NSE, Product.CNC), ("NRML", Exchange.NFO, Product.NRML),
        ("MIS", Exchange.NSE, Product.MIS), ("MTF", Exchange.BSE, Product.CNC),
        ("CNC", Exchange.NSE, Product.CNC),
    ],
)  # fmt: skip
def test_what_is_kept_is_booked_as_kept(label: str, exchange: Exchange, product: Product) -> None:
    assert ProductLabel(label).booked_on(exchange) is product


# --- files


def read_back(*listings: Listing) -> Dump:
    return merged([parse("kotak", scrip_file(name, listings)) for name in FILES])


def test_a_strike_is_told_in_full_where_six_digits_do_not_do() -> None:
    dump = read_back(OPTION, listing("NSE:RELIANCE"))

    assert dump.bad == ()
    option = next(each for each in dump.listings if each.kind.is_option)
    assert (option.strike, option.expiry) == (Decimal("24125.5"), date(2026, 11, 24))
    assert b"2.41255e+06" in scrip_file("nse_fo", [OPTION])


def test_a_series_that_is_listed_is_not_made_up_besides() -> None:
    dump = read_back(listing("NSE:ALPHA"), listing("NSE:ALPHA-BL", exchange_token=5))

    assert [str(each.instrument) for each in dump.listings] == ["NSE:ALPHA", "NSE:ALPHA-BL"]
    assert dump.bad == ()


def test_the_freeze_is_the_smallest_that_trips_in_one_file_alone() -> None:
    sensex = listing("BFO:SENSEX26NOVFUT", name="SENSEX", kind="FUT", expiry=date(2026, 11, 26), lot_size=20,
                     freeze_quantity=1000)  # fmt: skip
    gold = listing("MCX:GOLD26DECFUT", name="GOLD", kind="FUT", expiry=date(2026, 12, 4), freeze_quantity=None)
    by_name = {each.name: each.freeze_quantity for each in read_back(FUTURE, sensex, gold).listings}

    assert by_name == {"NIFTY": 1801, "SENSEX": 1000, "GOLD": None}


# --- steps


def test_an_order_is_told_through_the_states_that_it_passed() -> None:
    stage = Stage()
    record = stage.rested(make_ask(limit()))
    rested = record.snaps[-1]

    assert [snap.status for snap in steps_to(record, rested)] == [
        Status.VALIDATING, Status.SENDING, Status.OPEN,
    ]  # fmt: skip
    assert [snap.status for snap in steps_to(record, record.snaps[0])] == [Status.RECEIVED]


# --- sessions


class Desk:
    def __init__(self, **settings: Any) -> None:
        self.at = START
        self.entries: list[bytes] = []
        self.settings = NeoSettings(account=ACCOUNT, **settings)
        self.sessions = self.opened()

    def opened(self) -> Sessions:
        return Sessions(
            self.settings, lambda: self.at, lambda: self.at, lambda _, body: self.entries.append(body),
            tuple(self.entries),
        )  # fmt: skip

    def log_in(self) -> Any:
        view = self.sessions.view(ACCOUNT.mobile_number, ACCOUNT.ucc, code_at(SEED, self.at))
        return self.sessions.validate(view.token, view.sid, ACCOUNT.mpin, "127.0.0.1")


def test_a_session_outlives_the_process_and_not_the_day() -> None:
    desk = Desk()
    session = desk.log_in()
    again = desk.opened()
    assert again.check(session.token, session.sid) == session
    desk.at += timedelta(days=1)

    with pytest.raises(NeoError):
        again.check(session.token, session.sid)


def test_the_first_pass_is_for_once_and_for_a_while() -> None:
    desk = Desk()
    views = [desk.sessions.view(ACCOUNT.mobile_number, ACCOUNT.ucc, code_at(SEED, START)) for _ in range(2)]
    desk.sessions.validate(views[0].token, views[0].sid, ACCOUNT.mpin, "ip")
    with pytest.raises(NeoError):
        desk.sessions.validate(views[0].token, views[0].sid, ACCOUNT.mpin, "ip")
    desk.at += timedelta(minutes=6)

    with pytest.raises(NeoError):
        desk.sessions.validate(views[1].token, views[1].sid, ACCOUNT.mpin, "ip")


def test_the_end_of_all_sessions_outlives_the_process() -> None:
    desk = Desk()
    session = desk.log_in()
    desk.sessions.end_all()

    with pytest.raises(NeoError):
        desk.opened().check(session.token, session.sid)


def test_nothing_shows_a_secret() -> None:
    desk = Desk()
    shown = f"{desk.log_in()!r} {ACCOUNT!r} {desk.settings!r}"

    for secret in (ACCOUNT.access_token, ACCOUNT.mpin, SEED, ACCOUNT.mobile_number):
        assert secret not in shown


# --- packets


def test_a_packet_is_the_documented_one() -> None:
    tcs = listing("NSE:TCS", exchange_token=11536)
    market = Market(
        at=datetime.fromtimestamp(1756636800, UTC), traded_at=datetime.fromtimestamp(0x68B42680, UTC),
        last_price=Decimal("1234.56"), last_quantity=50, volume=1, average_price=Decimal(1), open=Decimal(1),
        high=Decimal(1), low=Decimal(1), close=Decimal("1220.00"), buys=(), sells=(),
    )  # fmt: skip

    assert packet(tcs, market, Depth.MINI, 7) == bytes.fromhex(
        "36 00 28 1c 01 01 00 07 00 10 2d 00 00 80 26 b4 68 00 00 00 00 40 e2 01 00 32 00 00 00 00 00 00 00"
        "90 dc 01 00 77 00 00 00 b0 05 00 00 01 00 00 00 02 01 00 00 00"
    )
    assert len(packet(tcs, market, Depth.TOUCH_LINE, 7)) == 144 + 2 * 16
    assert len(packet(listing("NSE:NIFTY 50", segment="INDICES"), market, Depth.TOUCH_LINE, 7)) == 87
