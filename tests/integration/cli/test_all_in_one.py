"""`pulse up` with the quotes of a real broker, which is simulated."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from pulse.all_in_one import open_all
from pulse.state import Secrets
from pulse_adapters.clock import SystemClock
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.simulator.prices import Pinned
from pulse_domain.instruments import Instrument, Listing, ListingKind
from tests.integration.workers.test_background_at_zerodha import until
from tests.integration.workers.test_postbacks import listening, served
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.zerodha.make import API_KEY, API_SECRET, SETTINGS
from tests.unit.zerodha.make import SECRETS as SESSION_SECRETS
from tests.unit.zerodha.simulated_kite import log_in_there, simulated_kite

SECRETS = Secrets(jwt_secret="j" * 32, service_token="s" * 16, webhook_secret="w" * 16)
INFY = Instrument.parse("NSE:INFY")
ORDER = {"order_unique_key": "k-1", "instrument": "NSE:INFY", "side": "BUY", "total_quantity": 10}
SHARE = Listing(
    token="408065",
    instrument=INFY,
    broker_symbol="INFY",
    name="INFOSYS",
    kind=ListingKind.SHARE,
    tick_size=Decimal("0.05"),
    lot_size=1,
)


def environ_of(dsn: str, broker: str) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "VIRTUAL_BROKER_READS": "zerodha",
        "ZERODHA_API_KEY": API_KEY,
        "ZERODHA_API_SECRET": API_SECRET,
        "ZERODHA_BASE_URL": broker,
        "BROKER_SESSION_SECRETS": SESSION_SECRETS[0],
        "OUTSIDE_SESSION": "accept",
    }


async def test_live_ticks_fill_what_rests_and_money_that_is_not_there_buys_nothing(
    database: asyncpg.Pool, migrated_dsn: str, tmp_path: Path
) -> None:
    await PostgresInstrumentSync(Database(database))("zerodha", [SHARE], date(2026, 11, 20))
    async with simulated_kite(tmp_path, FixedMarket(SystemClock())) as simulator:

        def pin(price: str) -> None:
            last = Decimal(price)
            simulator.desk.prices.pin(
                INFY, Pinned(last_price=last, bid=last - Decimal("0.05"), ask=last + Decimal("0.05"))
            )

        pin("1500")
        await log_in_there(simulator, SETTINGS, PostgresSessions(Database(database)))
        environ = environ_of(migrated_dsn, simulator.url) | {
            "ZERODHA_TICKER_URL": simulator.url.replace("http", "ws", 1),
            "FEED_INSTRUMENTS": "NSE:INFY",
            "VIRTUAL_BROKER_CAPITAL": "20000",
            # Nothing is filled by a poll.
            "VIRTUAL_BROKER_POLL_SECONDS": "3600",
        }
        listener, url = listening()
        headers = {"Authorization": f"Bearer {SECRETS.service_token}", "X-Client-Id": "desk-1"}
        async with (
            open_all(environ, SECRETS, tmp_path / "state", feed="synthetic", feed_speed=1.0) as everything,
            served(everything.app, listener, everything.end_streams),
            httpx.AsyncClient(base_url=f"{url}/pulse", headers=headers) as client,
        ):

            async def order(key: str, **more: object) -> str:
                asked = ORDER | {"order_unique_key": key, "order_type": "LIMIT", "limit_price": "1450"} | more
                accepted = await client.post("/internal/orders", json=asked)
                assert accepted.status_code == 202, accepted.text
                return f"/internal/orders/{accepted.json()['order_id']}"

            async def until_state(path: str, state: str) -> dict[str, Any]:
                async def has_come() -> bool:
                    return bool((await client.get(path)).json()["state"] == state)

                await until(has_come)
                shown: dict[str, Any] = (await client.get(path)).json()
                return shown

            async def is_resting() -> bool:
                return bool(
                    await database.fetchval("SELECT bool_or(exchange_id IS NOT NULL) FROM order_ledger")
                )

            resting = await order("k-1")
            await until(is_resting)
            refused = {
                (await until_state(await order("k-2"), "REJECTED"))["order_id"]: "INSUFFICIENT_FUNDS",
                (await until_state(await order("k-3", side="SELL"), "REJECTED"))[
                    "order_id"
                ]: "INSUFFICIENT_HOLDINGS",
            }
            pin("1440")
            filled = await until_state(resting, "FILLED")
            # What it filled below its limit is free again, and what it bought can be sold.
            sold = await until_state(await order("k-4", side="SELL", limit_price="1430"), "FILLED")

        codes = await database.fetch(
            "SELECT order_id, reason_code AS code FROM order_ledger WHERE reason_code IS NOT NULL"
        )
        assert {row["order_id"]: row["code"] for row in codes} == refused
        assert Decimal("1440") <= Decimal(filled["average_price"]) <= Decimal(1450)
        assert Decimal(sold["average_price"]) > 1430
        assert simulator.desk.venue.records == {}


async def test_orders_fill_at_a_real_brokers_quotes_and_never_reach_it(
    database: asyncpg.Pool, migrated_dsn: str, tmp_path: Path
) -> None:
    await PostgresInstrumentSync(Database(database))("zerodha", [SHARE], date(2026, 11, 20))
    async with simulated_kite(tmp_path, FixedMarket(SystemClock())) as simulator:
        simulator.desk.prices.pin(
            INFY, Pinned(last_price=Decimal(1500), bid=Decimal("1499.95"), ask=Decimal("1500.40"))
        )
        await log_in_there(simulator, SETTINGS, PostgresSessions(Database(database)))
        environ = environ_of(migrated_dsn, simulator.url)
        listener, url = listening()
        headers = {"Authorization": f"Bearer {SECRETS.service_token}", "X-Client-Id": "desk-1"}
        async with (
            open_all(environ, SECRETS, tmp_path / "state", feed="synthetic", feed_speed=1.0) as everything,
            served(everything.app, listener, everything.end_streams),
            httpx.AsyncClient(base_url=f"{url}/pulse", headers=headers) as client,
        ):
            accepted = await client.post("/internal/orders", json=ORDER)
            assert accepted.status_code == 202, accepted.text
            path = f"/internal/orders/{accepted.json()['order_id']}"

            async def is_filled() -> bool:
                shown = (await client.get(path)).json()
                return bool(shown["state"] == "FILLED")

            await until(is_filled)
            shown = (await client.get(path)).json()
            unlisted = await client.post(
                "/internal/orders", json=ORDER | {"order_unique_key": "k-2", "instrument": "NSE:TCS"}
            )

        assert everything.prices == "zerodha"
        assert Decimal(shown["average_price"]) == Decimal("1500.40")
        assert simulator.desk.venue.records == {}
        assert unlisted.status_code == 422, "instruments are the real broker's"
