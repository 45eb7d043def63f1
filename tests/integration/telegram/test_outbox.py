"""Notifications on their way to chats, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from pulse_adapters.clock import SystemClock
from pulse_adapters.telegram.bot import BotApi
from pulse_adapters.telegram.outbox import OutboxSettings, TelegramNotifier
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity
from pulse_domain.testing.fake_clock import FakeClock
from tests.integration.telegram.conftest import FAST
from tests.integration.telegram.fake_bot_api import FakeBotApi


def note(about: str, severity: Severity = Severity.LOW) -> Notification:
    return Notification(kind=NotificationKind.FILL, severity=severity, about=about)


@asynccontextmanager
async def outbox(
    bot: BotApi,
    *chat_ids: int,
    on_drop: Callable[[], object] = lambda: None,
    settings: OutboxSettings = FAST,
    clock: Clock | None = None,
) -> AsyncIterator[TelegramNotifier]:
    notifier = TelegramNotifier(bot, chat_ids or (7,), clock or SystemClock(), Random(1), settings, on_drop)
    notifier.start()
    yield notifier
    await notifier.close()


async def test_what_comes_together_shares_a_message(telegram: FakeBotApi, bot: BotApi) -> None:
    async with outbox(bot) as notifier:
        for number in range(5):
            notifier.notify(note(f"N{number}"))
        [text] = await telegram.texts(1)

    assert [line.split()[-1] for line in text.splitlines()] == ["N0", "N1", "N2", "N3", "N4"]
    assert len(telegram.sent) == 1


async def test_every_chat_is_told(telegram: FakeBotApi, bot: BotApi) -> None:
    async with outbox(bot, 7, -8) as notifier:
        notifier.notify(note("both"))
        await telegram.texts(2)

    assert {sent.chat_id for sent in telegram.sent} == {7, -8}


async def test_long_backlog_is_cut_into_messages_of_whole_lines(telegram: FakeBotApi, bot: BotApi) -> None:
    async with outbox(bot) as notifier:
        for number in range(400):
            notifier.notify(note(f"NAME-{number:03}-\U0001f600"))
        await telegram.until(lambda: telegram.sent and "NAME-399" in telegram.sent[-1].text)

    lines = [line for sent in telegram.sent for line in sent.text.splitlines()]
    assert len(telegram.sent) > 1
    assert [line.split()[-1] for line in lines] == [f"NAME-{number:03}-\U0001f600" for number in range(400)]


async def test_one_that_is_too_long_is_cut(telegram: FakeBotApi, bot: BotApi) -> None:
    async with outbox(bot) as notifier:
        notifier.notify(note("\U0001f600" * 5000))
        [text] = await telegram.texts(1)

    assert len(text.encode("utf-16-le")) // 2 <= 4096
    assert text.endswith("\u2026")


async def test_messages_into_one_chat_keep_their_distance(telegram: FakeBotApi, bot: BotApi) -> None:
    clock = FakeClock(auto=True)
    async with outbox(bot, clock=clock, settings=OutboxSettings()) as notifier:
        for number in range(4):
            notifier.reply(7, f"answer {number}")
        await telegram.texts(4)

        assert clock.monotonic() >= 3.0


async def test_bot_keeps_its_pace_over_all_chats(telegram: FakeBotApi, bot: BotApi) -> None:
    clock, chats = FakeClock(auto=True), range(1, 62)
    async with outbox(bot, *chats, clock=clock, settings=OutboxSettings()) as notifier:
        for chat_id in chats:
            notifier.reply(chat_id, "to all")
        await telegram.texts(len(chats))

        assert clock.monotonic() >= 60 / 30 - 0.001


async def test_what_was_refused_for_now_is_sent_when_telegram_says(telegram: FakeBotApi, bot: BotApi) -> None:
    telegram.fail("sendMessage", 429, "Too Many Requests: retry after 35", retry_after=35)
    clock = FakeClock(auto=True)
    async with outbox(bot, clock=clock) as notifier:
        notifier.notify(note("patient"))
        [text] = await telegram.texts(1)

        assert "patient" in text
        assert clock.monotonic() >= 35


async def test_outage_delays_and_loses_nothing_that_matters(telegram: FakeBotApi, bot: BotApi) -> None:
    telegram.away = True
    dropped: list[None] = []
    settings = replace(FAST, waiting_max=10)
    async with outbox(bot, settings=settings, on_drop=lambda: dropped.append(None)) as notifier:
        notifier.notify(note("first"))
        await telegram.until(lambda: telegram.calls >= 3)
        for number in range(30):
            notifier.notify(note(f"LOW-{number:02}"))
            notifier.notify(note(f"HIGH-{number:02}", Severity.HIGH))
        telegram.away = False
        await telegram.until(lambda: any("LOW-09" in sent.text for sent in telegram.sent))

    text = "\n".join(sent.text for sent in telegram.sent)
    assert "first" in text
    assert all(f"HIGH-{number:02}" in text for number in range(30))
    assert text.index("HIGH-29") < text.index("LOW-00")
    assert "LOW-10" not in text
    assert "(20 notifications of less weight were dropped)" in text
    assert len(dropped) == 20


async def test_chat_that_is_refused_holds_no_other_up(telegram: FakeBotApi, bot: BotApi) -> None:
    telegram.fail("sendMessage", 403, "Forbidden: bot was blocked by the user")
    with capture_logs() as lines:
        async with outbox(bot, 7, -8) as notifier:
            notifier.notify(note("one"))
            await telegram.texts(1)
            notifier.notify(note("two"))
            await telegram.texts(3)

    assert [line["error"] for line in lines if line["event"] == "Telegram refuses a message"] == [
        "Forbidden: bot was blocked by the user"
    ]
    assert sorted(sent.text.split()[-1] for sent in telegram.sent) == ["one", "two", "two"]


async def test_reply_goes_before_what_waits(telegram: FakeBotApi, bot: BotApi) -> None:
    settings = replace(FAST, gather_s=3600)
    async with outbox(bot, settings=settings) as notifier:
        notifier.notify(note("waits"))
        notifier.reply(7, "the answer")
        texts = await telegram.texts(2)

    assert texts[0] == "the answer"
    assert texts[1].endswith("waits")


async def test_reply_to_another_chat_is_not_sent(telegram: FakeBotApi, bot: BotApi) -> None:
    async with outbox(bot) as notifier:
        notifier.reply(666, "nobody")
        notifier.reply(7, "somebody")
        await telegram.texts(1)

    assert [sent.chat_id for sent in telegram.sent] == [7]


async def test_end_sends_what_waits_and_gives_up_in_an_outage(telegram: FakeBotApi, bot: BotApi) -> None:
    settings = replace(FAST, gather_s=3600, close_s=0.5)
    async with outbox(bot, settings=settings) as notifier:
        notifier.notify(note("last words"))
    told = [sent.text for sent in telegram.sent]
    telegram.away = True
    with capture_logs() as lines:
        async with asyncio.timeout(30):
            async with outbox(bot, settings=settings) as notifier:
                notifier.reply(7, "one")
                for number in range(3):
                    notifier.notify(note(f"N{number}"))

    assert told[0].endswith("last words")
    assert [line["count"] for line in lines if "before the end" in line["event"]] == [3]


@pytest.mark.parametrize("status", [401, 409, 500, 502])
async def test_what_may_be_mended_is_tried_again(telegram: FakeBotApi, bot: BotApi, status: int) -> None:
    telegram.fail("sendMessage", status, "for now", times=2)
    async with outbox(bot) as notifier:
        notifier.notify(note("through"))
        [text] = await telegram.texts(1)

    assert text.endswith("through")
