"""`pulse up` with a bot: it fills in the way to its own order API."""

from pathlib import Path

import asyncpg

from pulse.all_in_one import open_all
from pulse.state import Secrets
from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.testing.factories import new_order
from tests.integration.telegram.fake_bot_api import TOKEN, FakeBotApi

SECRETS = Secrets(jwt_secret="j" * 32, service_token="s" * 16, webhook_secret="w" * 16)


async def test_two_variables_are_enough(
    telegram: FakeBotApi, database: asyncpg.Pool, migrated_dsn: str, tmp_path: Path
) -> None:
    clock = SystemClock()
    environ = {
        "DATABASE_URL": migrated_dsn,
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_CHAT_IDS": "7",
        "TELEGRAM_API_URL": telegram.url,
    }
    async with open_all(environ, SECRETS, tmp_path / "state", feed="synthetic", feed_speed=1.0):
        await telegram.write("/status", at=clock.now())
        [status] = await telegram.texts(1)
        await PostgresOrderStore(Database(database)).accept(new_order(RandomIds(clock)))
        await telegram.until(lambda: any("Fill NSE:RELIANCE" in sent.text for sent in telegram.sent))

    assert "Trading goes on." in status
