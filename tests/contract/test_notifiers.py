"""Notifiers keep the port's contract."""

from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.telegram.bot import BotApi
from pulse_adapters.telegram.outbox import TelegramNotifier
from pulse_adapters.telegram.texts import notification_text
from pulse_domain.testing.contracts.notifier import NotifierContract, Received
from pulse_domain.testing.memory_notifier import RecordingNotifier
from tests.integration.telegram.conftest import FAST
from tests.integration.telegram.fake_bot_api import TOKEN, FakeBotApi, bot_api_served


class TestRecordingNotifier(NotifierContract):
    @pytest.fixture
    def notifier(self) -> RecordingNotifier:
        return RecordingNotifier()

    @pytest.fixture
    def received(self, notifier: RecordingNotifier) -> Received:
        async def texts() -> str:
            return "\n".join(notification_text(each) for each in notifier.told)

        return texts


class TestTelegramNotifier(NotifierContract):
    @pytest_asyncio.fixture
    async def telegram(self) -> AsyncIterator[FakeBotApi]:
        async with bot_api_served() as fake:
            yield fake

    @pytest_asyncio.fixture
    async def started(self, telegram: FakeBotApi) -> AsyncIterator[TelegramNotifier]:
        bot = BotApi(TOKEN, telegram.url)
        # A busy machine is to be no reason to give up.
        made = TelegramNotifier(bot, [7], SystemClock(), Random(1), replace(FAST, close_s=60))
        made.start()
        yield made
        await made.close()
        await bot.close()

    @pytest.fixture
    def notifier(self, started: TelegramNotifier) -> TelegramNotifier:
        return started

    @pytest.fixture
    def received(self, telegram: FakeBotApi) -> Received:
        async def texts() -> str:
            return "\n".join(sent.text for sent in telegram.sent)

        return texts
