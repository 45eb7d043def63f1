"""The real SDK over a real socket: every way in which a call can end, and what it is taken for."""

import asyncio
import logging
import ssl
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.real_broker.calls import NotSent, Unanswered
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.zerodha.broker import ZerodhaBroker
from pulse_adapters.zerodha.line import CallFailed, Line
from pulse_adapters.zerodha.protection import OWN_LIMIT, Protection
from pulse_domain.errors import BrokerError, BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from tests.unit.zerodha.kite_server import (
    ACCEPTED,
    ORDER_ID,
    Behaviour,
    CutShort,
    Drop,
    Hang,
    KiteServer,
    Later,
    Reply,
    Trickle,
    failure,
    html,
    kite_server,
    success,
)
from tests.unit.zerodha.make import CRUDE, PLANTED, SBIN, SETTINGS, TICKET, TOKEN, make_broker, ticket, until

TIMEOUT_S = 5.0
SHORT_S = 0.6
KNOWN_ID = BrokerOrderId(ORDER_ID)


@pytest_asyncio.fixture
async def kite() -> AsyncIterator[KiteServer]:
    async with kite_server() as server:
        yield server


@pytest_asyncio.fixture
async def broker(kite: KiteServer) -> AsyncIterator[ZerodhaBroker]:
    broker = await make_broker(kite.base_url)
    yield broker
    await broker.close()


async def ending(call: Any) -> BrokerError:
    with pytest.raises(BrokerError) as ended:
        await call
    return ended.value


def row(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": ORDER_ID,
        "status": "OPEN",
        "exchange": "NSE",
        "tradingsymbol": "SBIN",
        "transaction_type": "BUY",
        "quantity": 10,
        "filled_quantity": 0,
        "average_price": 0,
        "order_timestamp": "2026-01-05 09:20:00",
        "tag": TICKET.tag,
        **changes,
    }


# --- orders go out as they should


async def test_an_order_is_one_request_with_the_documented_fields(
    broker: ZerodhaBroker, kite: KiteServer
) -> None:
    assert await broker.place(TICKET, timeout_s=TIMEOUT_S) == ORDER_ID

    [request] = kite.requests
    assert (request.method, request.path) == ("POST", "/orders/regular")
    assert request.headers["authorization"] == f"token {SETTINGS.api_key}:{TOKEN}"
    assert request.headers["x-kite-version"] == "3"
    assert request.form == {
        "variety": "regular",
        "exchange": "NSE",
        "tradingsymbol": "SBIN",
        "transaction_type": "BUY",
        "quantity": "10",
        "product": "CNC",
        "order_type": "LIMIT",
        "price": "500.05",
        "validity": "DAY",
        "tag": TICKET.tag,
    }


async def test_a_stop_limit_carries_both_prices(broker: ZerodhaBroker, kite: KiteServer) -> None:
    stop = ticket(order_type=OrderType.SL, trigger_price=Decimal("1E+2"), limit_price=Decimal("100.50"))

    await broker.place(stop, timeout_s=TIMEOUT_S)

    form = kite.requests[0].form
    assert (form["trigger_price"], form["price"], form["order_type"]) == ("100", "100.5", "SL")
    assert "market_protection" not in form


@pytest.mark.parametrize("order_type", [OrderType.MARKET, OrderType.SL_M])
@pytest.mark.parametrize(("protection", "sent"), [(None, "-1"), (Decimal("2.50"), "2.5"), (Decimal(3), "3")])
async def test_market_orders_are_protected_by_the_broker(
    kite: KiteServer, order_type: OrderType, protection: Decimal | None, sent: str
) -> None:
    settings = replace(SETTINGS, market_protection=Protection(percent=protection))
    broker = await make_broker(kite.base_url, settings=settings)
    trigger = Decimal(500) if order_type.has_trigger else None

    await broker.place(
        ticket(order_type=order_type, limit_price=None, trigger_price=trigger), timeout_s=TIMEOUT_S
    )
    await broker.close()

    assert kite.requests[0].form["market_protection"] == sent
    assert "price" not in kite.requests[0].form


async def test_market_orders_are_limited_by_us_where_that_is_wanted(kite: KiteServer) -> None:
    broker = await make_broker(kite.base_url, settings=replace(SETTINGS, market_protection=OWN_LIMIT))
    kite.then(success({"NSE:SBIN": {"instrument_token": 1, "last_price": 812.35}}))
    market = ticket(order_type=OrderType.MARKET, limit_price=None)

    await broker.place(market, timeout_s=TIMEOUT_S)
    await broker.place(replace(market, side=Side.SELL), timeout_s=TIMEOUT_S)
    stop = replace(market, order_type=OrderType.SL_M, trigger_price=Decimal(200))
    await broker.place(stop, timeout_s=TIMEOUT_S)
    await broker.close()

    asked, buy, sell, stopped = kite.requests  # a price that was read a moment ago serves again
    assert asked.path == "/quote/ltp?i=NSE%3ASBIN"
    assert (buy.form["order_type"], buy.form["price"]) == ("LIMIT", "816.45")
    assert (sell.form["order_type"], sell.form["price"]) == ("LIMIT", "808.25")
    assert (stopped.form["order_type"], stopped.form["price"]) == ("SL", "202")
    assert all("market_protection" not in request.form for request in kite.requests)


@pytest.mark.parametrize(
    "answer", [success({}), success(None), success({"NSE:SBIN": {}}), failure(429, "NetworkException"), Drop()]
)
async def test_without_a_price_for_the_limit_nothing_is_sent(kite: KiteServer, answer: Behaviour) -> None:
    broker = await make_broker(kite.base_url, settings=replace(SETTINGS, market_protection=OWN_LIMIT))
    kite.then(answer)

    error = await ending(
        broker.place(ticket(order_type=OrderType.MARKET, limit_price=None), timeout_s=TIMEOUT_S)
    )
    await broker.close()

    assert isinstance(error, BrokerUnavailable)
    assert [request.method for request in kite.requests] == ["GET"]


async def test_lots_are_counted_where_the_broker_counts_them(broker: ZerodhaBroker, kite: KiteServer) -> None:
    terms = InstrumentTerms(lot_size=100, tick_size=Decimal(1), units_per_broker_quantity=100)
    crude = ticket(instrument=CRUDE, product=Product.NRML, quantity=300, limit_price=Decimal(6000), terms=terms)
    mcx = {"exchange": "MCX", "tradingsymbol": CRUDE.symbol, "quantity": 3, "filled_quantity": 1}
    trade = {
        "trade_id": "7",
        "order_id": ORDER_ID,
        "exchange": "MCX",
        "tradingsymbol": CRUDE.symbol,
        "quantity": 1,
        "average_price": 5999.0,
        "fill_timestamp": "2026-01-05 09:20:01",
    }
    kite.then(ACCEPTED, success([row(**mcx)]), success([trade]), success({"order_id": ORDER_ID}))

    order_id = await broker.place(crude, timeout_s=TIMEOUT_S)
    read = await broker.order_book()
    [fill] = await broker.trades(order_id)
    await broker.modify(order_id, quantity=200, limit_price=None, timeout_s=TIMEOUT_S)

    assert kite.requests[0].form["quantity"] == "3"
    assert (read.orders[0].quantity, read.orders[0].filled_quantity) == (300, 100)
    assert (fill.quantity, fill.price) == (100, Decimal("5999.0"))
    assert kite.requests[3].form["quantity"] == "2"
    assert "price" not in kite.requests[3].form


async def test_lots_of_orders_of_other_processes_are_known_by_the_store(kite: KiteServer) -> None:
    async def units(instrument: object) -> int | None:
        return 100 if instrument == CRUDE else None

    broker = await make_broker(kite.base_url, units=units)
    other = {"exchange": "MCX", "tradingsymbol": "GOLDM26DECFUT", "quantity": 2}
    kite.then(
        success([row(exchange="MCX", tradingsymbol=CRUDE.symbol, quantity=3), row(**other)]),
    )

    read = await broker.order_book()
    await broker.close()

    # What nobody of ours trades is not compared with anything.
    assert [order.quantity for order in read.orders] == [300, 2]


@pytest.mark.parametrize(
    ("changes", "reason_code"),
    [
        ({"tag": "PU-NOT-ALPHANUMERIC"}, "TAG"),
        ({"tag": "A" * 21}, "TAG"),
        ({"tag": ""}, "TAG"),
        ({"product": Product.NRML}, "EXCHANGE_PRODUCT"),
        ({"instrument": CRUDE}, "EXCHANGE_PRODUCT"),
        (
            {"instrument": CRUDE, "product": Product.NRML, "validity": Validity.IOC},
            "IOC_NOT_ON_MCX",
        ),
        ({"terms": InstrumentTerms(lot_size=3)}, "LOT_SIZE"),
        (
            {
                "instrument": CRUDE,
                "product": Product.NRML,
                "terms": InstrumentTerms(units_per_broker_quantity=100),
            },
            "LOT_SIZE",
        ),
        ({"terms": InstrumentTerms(freeze_quantity=9)}, "FREEZE_QUANTITY"),
        ({"limit_price": Decimal("500.01")}, "TICK_SIZE"),
        ({"order_type": OrderType.SL, "trigger_price": Decimal("499.99")}, "TICK_SIZE"),
    ],
)
async def test_what_the_broker_does_not_take_costs_no_request(
    broker: ZerodhaBroker, kite: KiteServer, changes: dict[str, Any], reason_code: str
) -> None:
    error = await ending(broker.place(ticket(**changes), timeout_s=TIMEOUT_S))

    assert isinstance(error, BrokerRejected)
    assert error.reason_code == reason_code
    assert kite.requests == []


async def test_cancel_and_modify_are_one_request_each(broker: ZerodhaBroker, kite: KiteServer) -> None:
    await broker.place(TICKET, timeout_s=TIMEOUT_S)

    await broker.cancel(KNOWN_ID, timeout_s=TIMEOUT_S)
    await broker.modify(KNOWN_ID, quantity=20, limit_price=Decimal("501.00"), timeout_s=TIMEOUT_S)

    _, cancel, modify = kite.requests
    assert (cancel.method, cancel.path) == ("DELETE", f"/orders/regular/{ORDER_ID}")
    assert (modify.method, modify.path) == ("PUT", f"/orders/regular/{ORDER_ID}")
    assert (modify.form["quantity"], modify.form["price"]) == ("20", "501")


@pytest.mark.parametrize("order_id", ["../../session/token", "a b", "", "1/2", "x" * 65])
async def test_an_id_that_is_none_reaches_no_path(
    broker: ZerodhaBroker, kite: KiteServer, order_id: str
) -> None:
    given = BrokerOrderId(order_id)

    assert isinstance(await ending(broker.cancel(given, timeout_s=TIMEOUT_S)), BrokerRejected)
    assert isinstance(
        await ending(broker.modify(given, quantity=1, limit_price=None, timeout_s=TIMEOUT_S)), BrokerRejected
    )
    assert await broker.trades(given) == ()
    assert kite.requests == []


# --- how calls end

UNKNOWN, REJECTED, UNAVAILABLE = BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
ANSWERS: list[tuple[Behaviour, type[BrokerError], str]] = [
    (failure(400, "InputException"), REJECTED, "INVALID_INPUT"),
    (failure(400, "MarginException"), REJECTED, "INSUFFICIENT_FUNDS"),
    (failure(400, "HoldingException"), REJECTED, "INSUFFICIENT_HOLDINGS"),
    (failure(400, "UserException"), REJECTED, "USER_NOT_ALLOWED"),
    (failure(403, "PermissionException"), REJECTED, "NOT_PERMITTED"),
    (failure(400, "GeneralException"), REJECTED, "REJECTED"),
    (failure(400, "SomethingNewException"), REJECTED, "REJECTED"),
    (failure(400, "OrderException"), REJECTED, "REJECTED"),
    (failure(404, "GeneralException"), REJECTED, "REJECTED"),
    (failure(405, None), REJECTED, "REJECTED"),
    (failure(410, "GeneralException"), REJECTED, "REJECTED"),
    (failure(403, "TokenException"), UNAVAILABLE, "SESSION_EXPIRED"),
    (failure(429, "NetworkException"), UNAVAILABLE, "RATE_LIMITED"),
    (failure(400, "NetworkException", "Request xyz timed out"), UNKNOWN, "TIMED_OUT_AT_BROKER"),
    (failure(400, "InputException", "request timed out, check the order book"), UNKNOWN, "TIMED_OUT_AT_BROKER"),
    (failure(500, "GeneralException"), UNKNOWN, "HTTP_500"),
    (failure(500, "OrderException"), UNKNOWN, "HTTP_500"),
    (failure(502, "DataException"), UNKNOWN, "BAD_DATA_AT_BROKER"),
    (failure(503, "NetworkException"), UNKNOWN, "NETWORK_AT_BROKER"),
    (html(504), UNKNOWN, "UNREADABLE_ANSWER"),
    (html(429), UNKNOWN, "UNREADABLE_ANSWER"),
    (html(200), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(body=b"{not json"), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(body=b"[]"), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(body=b'{"status": "success"}'), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(status=500, body=b'{"status": "error"}'), UNKNOWN, "HTTP_500"),
    (Reply(body=ACCEPTED.body, content_type=None), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(status=500, body=ACCEPTED.body), UNKNOWN, "UNREADABLE_ANSWER"),
    (success({}), UNKNOWN, "UNREADABLE_ANSWER"),
    (success({"order_id": ""}), UNKNOWN, "UNREADABLE_ANSWER"),
    (success({"order_id": None}), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(status=307, headers=(("Location", "/orders/amo"),)), UNKNOWN, "UNREADABLE_ANSWER"),
    (Drop(), UNKNOWN, "CONNECTION_LOST"),
    (Drop(resets=True), UNKNOWN, "CONNECTION_LOST"),
    (CutShort(), UNKNOWN, "CONNECTION_LOST"),
]


@pytest.mark.parametrize(("behaviour", "kind", "reason_code"), ANSWERS)
async def test_how_an_order_ends(
    broker: ZerodhaBroker, kite: KiteServer, behaviour: Behaviour, kind: type[BrokerError], reason_code: str
) -> None:
    kite.then(behaviour)

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))

    assert (type(error), error.reason_code) == (kind, reason_code)
    assert len(kite.requests) == 1, "nothing is sent twice"
    if isinstance(error, BrokerOutcomeUnknown):
        assert error.call_ended


@pytest.mark.parametrize("behaviour", [Hang(), Trickle(), Trickle(closes=True)])
async def test_a_call_without_an_end_ends_in_time_and_with_its_connection(
    broker: ZerodhaBroker, kite: KiteServer, behaviour: Behaviour
) -> None:
    kite.then(behaviour)
    loop = asyncio.get_running_loop()
    began = loop.time()

    error = await ending(broker.place(TICKET, timeout_s=SHORT_S))

    assert isinstance(error, BrokerOutcomeUnknown)
    assert loop.time() - began < SHORT_S + 0.2
    assert error.call_ended, "its socket is closed"
    assert len(kite.requests) == 1


async def test_a_thread_that_does_not_come_back_may_still_be_sending(kite: KiteServer) -> None:
    line = Line(api_key="key", base_url=kite.base_url, clock=SystemClock())
    kite.then(success([]))

    def work(client: Any) -> None:
        client.orders()
        time.sleep(1.0)

    with pytest.raises(CallFailed) as failed:
        await line.run(Lane.READ, work, token="token", timeout_s=SHORT_S)

    assert failed.value.ending == Unanswered(reason_code="TIMEOUT", ended=False)
    await line.close()


async def test_after_a_failure_the_next_call_is_answered(broker: ZerodhaBroker, kite: KiteServer) -> None:
    kite.then(Hang())
    await ending(broker.place(TICKET, timeout_s=SHORT_S))

    assert await broker.place(TICKET, timeout_s=TIMEOUT_S) == ORDER_ID


async def test_a_connection_is_used_again(broker: ZerodhaBroker, kite: KiteServer) -> None:
    kite.then(success([]), success([]))

    await broker.order_book()
    await broker.order_book()

    # The lane has two threads, each with a connection of its own.
    assert kite.connections <= 2


async def test_a_closed_connection_throws_away_what_it_has_not_sent(kite: KiteServer) -> None:
    broker = await make_broker(kite.base_url)
    await broker.place(TICKET, timeout_s=TIMEOUT_S)

    await broker.close()

    # Seen from the other side: a reset, where an ordinary close would go on sending first.
    await until(lambda: kite.resets)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the loopback address, with its key, that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "broker.pem"
    path.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


@pytest_asyncio.fixture
async def secure_kite(certificate: Path) -> AsyncIterator[KiteServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with kite_server(context) as server:
        yield server


@pytest.mark.parametrize("behaviour", [Hang(), Trickle(), Trickle(closes=True), Drop(), html(504)])
async def test_secure_connections_end_as_others_do(
    secure_kite: KiteServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
    broker = await make_broker(secure_kite.base_url)
    secure_kite.then(ACCEPTED, behaviour)
    loop = asyncio.get_running_loop()

    assert await broker.place(TICKET, timeout_s=TIMEOUT_S) == ORDER_ID
    began = loop.time()
    error = await ending(broker.place(TICKET, timeout_s=SHORT_S))

    assert loop.time() - began < SHORT_S + 0.2
    assert isinstance(error, BrokerOutcomeUnknown)
    assert error.call_ended
    assert await broker.place(TICKET, timeout_s=TIMEOUT_S) == ORDER_ID
    await broker.close()


async def test_a_server_that_cannot_prove_itself_is_sent_nothing(secure_kite: KiteServer) -> None:
    broker = await make_broker(secure_kite.base_url)

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
    await broker.close()

    assert (type(error), error.reason_code) == (BrokerUnavailable, "TLS_FAILED")
    assert secure_kite.requests == []


async def test_nobody_listens() -> None:
    broker = await make_broker("http://127.0.0.1:1")

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
    await broker.close()

    assert (type(error), error.reason_code) == (BrokerUnavailable, "UNREACHABLE")


async def test_a_name_that_nobody_has() -> None:
    broker = await make_broker("http://broker.invalid:80")

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
    await broker.close()

    assert isinstance(error, BrokerUnavailable)


async def test_a_call_that_waits_behind_others_until_it_is_too_late_is_not_sent(kite: KiteServer) -> None:
    broker = await make_broker(kite.base_url, settings=replace(SETTINGS, pool_size=1))
    kite.then(Hang())

    first = asyncio.create_task(ending(broker.place(TICKET, timeout_s=1.2)))
    await asyncio.sleep(0.1)
    second = await ending(broker.place(TICKET, timeout_s=SHORT_S))

    assert (type(second), second.reason_code) == (BrokerUnavailable, "DEADLINE_PASSED")
    assert isinstance(await first, BrokerOutcomeUnknown)
    await broker.close()
    assert len(kite.requests) == 1


async def test_cancels_and_reads_do_not_wait_behind_orders_that_hang(kite: KiteServer) -> None:
    broker = await make_broker(kite.base_url, settings=replace(SETTINGS, pool_size=1))
    kite.then(Hang(), ACCEPTED, success([]))
    hanging = asyncio.create_task(ending(broker.place(TICKET, timeout_s=1.5)))
    await until(lambda: kite.requests)

    await broker.cancel(KNOWN_ID, timeout_s=TIMEOUT_S)
    read = await broker.order_book()

    assert read.complete
    assert not hanging.done()
    await hanging
    await broker.close()


async def test_a_caller_that_goes_away_leaves_nothing_in_the_air(
    broker: ZerodhaBroker, kite: KiteServer
) -> None:
    kite.then(Hang())
    call = asyncio.create_task(broker.place(TICKET, timeout_s=TIMEOUT_S))
    await until(lambda: kite.requests)

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    assert call.cancelled()
    assert await broker.place(TICKET, timeout_s=TIMEOUT_S) == ORDER_ID


async def test_close_cuts_off_what_is_in_the_air_and_refuses_the_rest(kite: KiteServer) -> None:
    broker = await make_broker(kite.base_url)
    kite.then(Hang())
    call = asyncio.create_task(ending(broker.place(TICKET, timeout_s=30)))
    await until(lambda: kite.requests)

    async with asyncio.timeout(5):
        await broker.close()
        error = await call
    later = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))

    assert isinstance(error, BrokerOutcomeUnknown)
    assert error.call_ended
    assert (type(later), later.reason_code) == (BrokerUnavailable, "CLOSED")


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_leaves_after_a_call_was_told_to_be_over(kite: KiteServer, seed: int) -> None:
    """Many orders at once, on a broker that does anything, by callers that do not wait long or go away."""
    rng, loop = Random(seed), asyncio.get_running_loop()
    broker = await make_broker(kite.base_url, settings=replace(SETTINGS, pool_size=3))
    behaviours: list[Behaviour] = [
        ACCEPTED,
        Reply(body=ACCEPTED.body, closes=True),
        Later(0.1, ACCEPTED),
        Hang(),
        Drop(),
        Drop(resets=True),
        CutShort(),
        Trickle(),
        html(504),
        failure(429, "NetworkException"),
        failure(400, "InputException"),
    ]
    kite.then(*rng.choices(behaviours, k=200))
    ends: dict[str, tuple[BrokerError | str, float]] = {}
    gone: set[str] = set()

    async def place(number: int) -> None:
        tag = f"PU{number:018d}"
        await asyncio.sleep(rng.uniform(0, 1.5))
        call = asyncio.create_task(broker.place(ticket(tag=tag), timeout_s=rng.uniform(0.02, 0.5)))
        if rng.random() < 0.15:
            await asyncio.sleep(rng.uniform(0, 0.1))
            call.cancel()
        try:
            ends[tag] = await call, loop.time()
        except BrokerError as error:
            ends[tag] = error, loop.time()
        except asyncio.CancelledError:
            gone.add(tag)

    await asyncio.gather(*(place(number) for number in range(120)))
    await asyncio.sleep(0.3)  # whatever were still on its way would come now
    await broker.close()

    arrivals = Counter(request.form["tag"] for request in kite.requests)
    last_arrival = {request.form["tag"]: request.at for request in kite.requests}
    assert set(arrivals.values()) <= {1}, "no order is sent twice"
    assert len(ends) + len(gone) == 120
    kinds = Counter(type(end).__name__ for end, _ in ends.values())
    assert kinds.keys() >= {"str", "BrokerUnavailable", "BrokerOutcomeUnknown"}, kinds
    for tag, (end, at) in ends.items():
        if isinstance(end, BrokerUnavailable) and end.reason_code != "RATE_LIMITED":
            assert tag not in arrivals, end.reason_code
        elif isinstance(end, BrokerOutcomeUnknown):
            # On a busy machine a thread may need longer to be over; then nothing is claimed. And a server may
            # read late what has reached its machine in time: it is given a moment.
            assert not end.call_ended or last_arrival.get(tag, 0.0) <= at + 0.1
        else:
            assert tag in arrivals


async def test_close_tells_those_that_wait_for_a_thread_too(kite: KiteServer) -> None:
    broker = await make_broker(kite.base_url, settings=replace(SETTINGS, pool_size=1))
    kite.then(Hang())
    first = asyncio.create_task(ending(broker.place(TICKET, timeout_s=30)))
    await until(lambda: kite.requests)
    second = asyncio.create_task(ending(broker.place(TICKET, timeout_s=30)))
    await asyncio.sleep(0.05)

    await broker.close()

    assert isinstance(await first, BrokerOutcomeUnknown)
    assert isinstance(await second, BrokerUnavailable)
    assert len(kite.requests) == 1


async def test_a_fault_of_ours_before_the_first_byte_is_known_to_have_sent_nothing(kite: KiteServer) -> None:
    line = Line(api_key="key", base_url=kite.base_url, clock=SystemClock())

    def work(client: Any) -> None:
        raise RuntimeError("ours")

    with pytest.raises(CallFailed) as failed:
        await line.run(Lane.PLACE, work, token="token", timeout_s=TIMEOUT_S)

    assert failed.value.ending == NotSent("NOT_SENT")
    await line.close()


# --- changes and reads


async def test_a_change_of_an_order_that_is_over_is_refused(broker: ZerodhaBroker, kite: KiteServer) -> None:
    busy = failure(400, "InputException", "Order cannot be cancelled as it is being processed. Try later.")
    kite.then(busy, success([row(), row(status="COMPLETE", filled_quantity=10)]))

    error = await ending(broker.cancel(KNOWN_ID, timeout_s=TIMEOUT_S))

    assert (type(error), error.reason_code) == (BrokerRejected, "ORDER_NOT_OPEN")


@pytest.mark.parametrize("looked_up", [success([row(status="OPEN PENDING")]), failure(500, "OrderException")])
async def test_a_change_of_an_order_on_its_way_can_be_asked_for_again(
    broker: ZerodhaBroker, kite: KiteServer, looked_up: Behaviour
) -> None:
    busy = failure(400, "InputException", "Order cannot be modified as it is being processed. Try later.")
    kite.then(busy, looked_up)

    error = await ending(broker.cancel(KNOWN_ID, timeout_s=TIMEOUT_S))

    assert (type(error), error.reason_code) == (BrokerUnavailable, "ORDER_IN_PROCESS")


async def test_a_modification_of_an_order_of_another_process_looks_it_up(
    broker: ZerodhaBroker, kite: KiteServer
) -> None:
    kite.then(success([row()]), success({"order_id": ORDER_ID}))

    await broker.modify(KNOWN_ID, quantity=5, limit_price=Decimal(400), timeout_s=TIMEOUT_S)

    assert [request.method for request in kite.requests] == ["GET", "PUT"]


@pytest.mark.parametrize(
    "looked_up", [failure(400, "OrderException", "Order does not exist"), failure(404, None), success([])]
)
async def test_a_modification_of_an_unknown_order_is_refused(
    broker: ZerodhaBroker, kite: KiteServer, looked_up: Behaviour
) -> None:
    kite.then(looked_up)

    error = await ending(broker.modify(KNOWN_ID, quantity=5, limit_price=None, timeout_s=TIMEOUT_S))

    assert isinstance(error, BrokerRejected)


@pytest.mark.parametrize("behaviour", [html(504), Drop(), failure(500, "GeneralException"), success("x")])
async def test_a_modification_whose_order_cannot_be_looked_up_is_not_sent(
    broker: ZerodhaBroker, kite: KiteServer, behaviour: Behaviour
) -> None:
    kite.then(behaviour)

    error = await ending(broker.modify(KNOWN_ID, quantity=5, limit_price=None, timeout_s=TIMEOUT_S))

    assert isinstance(error, BrokerUnavailable)
    assert [request.method for request in kite.requests] == ["GET"]


@pytest.mark.parametrize(
    "behaviour",
    [*(answer for answer, _, _ in ANSWERS), success(None), success({"order_id": "1"}), success("rows")],
)
async def test_a_read_that_fails_is_unavailable(
    broker: ZerodhaBroker, kite: KiteServer, behaviour: Behaviour
) -> None:
    kite.then(behaviour, behaviour)

    assert isinstance(await ending(broker.order_book()), BrokerUnavailable)
    # The first may have ended the session, which is as good a reason.
    assert isinstance(await ending(broker.trades(KNOWN_ID)), BrokerUnavailable)


async def test_the_book_is_read_as_it_is(broker: ZerodhaBroker, kite: KiteServer) -> None:
    before = datetime.now(UTC)
    kite.then(success([row(), row(order_id="2", tag=None, tags=["mktp", "mktp:2.00"], exchange="BCD")]))

    read = await broker.order_book()

    [order] = read.orders  # a row of an exchange that we do not trade at is left out
    assert read.complete
    assert (order.broker_order_id, order.tags, order.instrument) == (ORDER_ID, (TICKET.tag,), SBIN)
    assert order.placed_at == datetime(2026, 1, 5, 3, 50, tzinfo=UTC)
    assert before <= read.began_at <= datetime.now(UTC)
    assert read.covers_since <= read.began_at


async def test_a_row_that_cannot_be_read_makes_the_book_incomplete(
    broker: ZerodhaBroker, kite: KiteServer
) -> None:
    bad = row(order_id="2")
    del bad["filled_quantity"]
    kite.then(success([row(), bad]), success([row(), bad]))

    with structlog.testing.capture_logs() as logs:
        reads = [await broker.order_book(), await broker.order_book()]

    assert [(len(read.orders), read.complete) for read in reads] == [(1, False)] * 2
    [told] = logs  # once
    assert (told["broker_order_id"], told["reason"]) == ("2", "filled_quantity is missing")


# --- secrets


@pytest.mark.parametrize(
    "behaviour",
    [
        failure(400, "InputException", f"bad {SETTINGS.api_key} {SETTINGS.api_secret} {TOKEN}"),
        failure(403, "TokenException", f"bad token {TOKEN}"),
        html(504),
        Drop(),
        Hang(),
        Reply(body=b"{" + TOKEN.encode()),
    ],
)
async def test_no_secret_is_told(
    kite: KiteServer, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broker = await make_broker(kite.base_url, read_timeout_s=SHORT_S)
    kite.then(behaviour, behaviour)

    with structlog.testing.capture_logs() as logs:
        errors = [await ending(broker.place(TICKET, timeout_s=SHORT_S)), await ending(broker.order_book())]
        await broker.close()

    told = [str(logs), caplog.text, repr(broker), *(repr(error) + str(error.details) for error in errors)]
    told += [str(error.args) + error.message for error in errors]
    told += ["".join(traceback.format_exception(error)) for error in errors]
    for secret in PLANTED:
        assert all(secret not in text for text in told)
