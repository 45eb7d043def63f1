"""Listen to the chats by long polling: one process at a time, as Telegram keeps one place in the line."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from random import Random

import structlog

from pulse_adapters.telegram.bot import BotApi, Message, Press, Received, TelegramRefused, TelegramUnavailable
from pulse_adapters.telegram.commands import CommandDesk
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

_RETRY_MAX_S = 60.0


class Poller:
    """wait_s: how long one poll waits for something to come.
    retry_s: the pause after a poll that failed; twice as long after each more, up to a minute."""

    def __init__(
        self,
        bot: BotApi,
        desk: CommandDesk,
        clock: Clock,
        random: Random,
        *,
        wait_s: int = 25,
        retry_s: float = 1.0,
    ) -> None:
        self._bot = bot
        self._desk = desk
        self._clock = clock
        self._random = random
        self._wait_s = wait_s
        self._retry_s = retry_s
        self._offset: int | None = None
        # Messages that Telegram is still to forget, and when they came.
        self._fetched: list[tuple[int, Message, datetime]] = []
        self._in_hand: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take what comes, each once, and listen on meanwhile.

        Telegram is told to forget a message before it is acted on: so a process that dies in between does not
        leave a command behind to be done again by the next. A button is acted on at once: only this process
        knows the question.
        """
        try:
            while True:
                received = await self._fetch(0 if self._fetched else self._wait_s)
                came_at, since = self._clock.now(), self._clock.monotonic()
                for each in received:
                    if isinstance(each.what, Press):
                        self._begin(each.update_id, partial(self._desk.press, each.what, since))
                forgotten, self._fetched = self._fetched, []
                for update_id, message, at in forgotten:
                    self._begin(update_id, partial(self._desk.take, message, at))
                self._fetched = [
                    (each.update_id, each.what, came_at) for each in received if isinstance(each.what, Message)
                ]
        except asyncio.CancelledError:
            for task in self._in_hand:
                task.cancel()
            await asyncio.gather(*self._in_hand, return_exceptions=True)
            raise

    def _begin(self, update_id: int, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(_handled(update_id, work))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _fetch(self, wait_s: int) -> list[Received]:
        failures = 0
        while True:
            try:
                fetched = await self._bot.updates(self._offset, wait_s=wait_s)
            except (TelegramUnavailable, TelegramRefused) as error:
                failures += 1
                if failures == 1:
                    log.warning("Telegram cannot be listened to", error=error.reason)
                await self._clock.sleep(self._pause_s(error, failures))
                continue
            if failures:
                log.info("Telegram can be listened to again")
            if fetched:
                self._offset = max(received.update_id for received in fetched) + 1
            return fetched

    def _pause_s(self, error: TelegramUnavailable | TelegramRefused, failures: int) -> float:
        asked = error.retry_after_s if isinstance(error, TelegramUnavailable) else None
        if asked is not None:
            return asked
        longest = min(_RETRY_MAX_S, self._retry_s * 2.0 ** min(failures - 1, 16))
        return self._random.uniform(longest / 2, longest)


async def _handled(update_id: int, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception:
        # One that cannot be handled must not keep the next from being heard.
        log.exception("an update could not be handled", update_id=update_id)
