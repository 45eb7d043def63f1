"""Telegram in this process: notifications from every worker, commands to the one that leads."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import structlog
from msgspec import Struct

from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.pool import Database
from pulse_adapters.telegram.settings import TelegramSettings
from pulse_background.alerts import Notify
from pulse_background.workers.daily_summary import DailySummary
from pulse_background.workers.desk_watch import DeskWatch
from pulse_domain.errors import PulseError
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.use_cases.day_summary import DaySummary

log = structlog.get_logger(__name__)

Loop = Callable[[], Awaitable[None]]
_AGAIN_S = 10.0


class OpenTelegram(Struct, frozen=True):
    """leader_loops: one process at a time runs them."""

    notify: Notify = lambda notification: None
    leader_loops: tuple[Loop, ...] = ()


@asynccontextmanager
async def open_telegram(
    settings: TelegramSettings | None,
    store: OrderStore,
    database: Database,
    is_open: Callable[[], Awaitable[bool]],
    clock: Clock,
    *,
    broker: str,
    on_drop: Callable[[], object] = lambda: None,
) -> AsyncIterator[OpenTelegram]:
    """Nothing of it is waited for by anything else; without settings it is nothing.

    Raises:
        PulseError: the library is not installed.
    """
    if settings is None:
        yield OpenTelegram()
        return
    try:  # deployments without Telegram do without, and it takes a second to import
        await asyncio.to_thread(__import__, "pulse_adapters.telegram.bot")
        from pulse_adapters.telegram.bot import BotApi
        from pulse_adapters.telegram.commands import CommandDesk
        from pulse_adapters.telegram.order_api import OrderApi
        from pulse_adapters.telegram.outbox import TelegramNotifier
        from pulse_adapters.telegram.poller import Poller
    except ModuleNotFoundError as error:
        raise PulseError(f'{error.name} is not installed: pip install "pulse-adapters[telegram]"') from error
    random = Random(secrets.randbits(64))  # noqa: S311  # only waits are drawn from it
    bot = BotApi(settings.bot_token, settings.api_url)
    api = OrderApi(settings.pulse_url, settings.service_token)
    notifier = TelegramNotifier(bot, settings.chat_ids, clock, random, on_drop=on_drop)
    desk = CommandDesk(
        settings.chat_ids,
        bot,
        notifier,
        api,
        PostgresAuditLog(database),
        clock,
        lambda: secrets.token_urlsafe(16),
    )
    loops: list[Loop] = [
        Poller(bot, desk, clock, random).run,
        DeskWatch(store, is_open, clock, notifier.notify, broker=broker).run,
    ]
    if settings.summary_at is not None:
        loops.append(DailySummary(DaySummary(store), clock, notifier.notify, at=settings.summary_at).run)
    notifier.start()
    try:
        yield OpenTelegram(notifier.notify, tuple(_kept_up(loop, clock) for loop in loops))
    finally:
        await notifier.close()
        await api.close()
        await bot.close()


def _kept_up(loop: Loop, clock: Clock) -> Loop:
    """The loop, begun again after a fault: a leader's loop that ends ends the process, and with it trading."""

    async def run() -> None:
        while True:
            try:
                await loop()
            except Exception:  # whatever it is: trading does not end over a chat
                log.exception("a loop of Telegram's ended by a fault; it begins again")
            await clock.sleep(_AGAIN_S)

    return run
