"""What goes out: gathered into messages, at Telegram's pace, with nobody waiting for it.

Each chat has queues and a sender of its own, so that one that is refused or slow holds no other up. Telegram
takes about one message a second into a chat and thirty a second from a bot; what it refuses with 429 is sent
again when it says so.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta, timezone
from itertools import islice
from random import Random

import structlog
from msgspec import Struct

from pulse_adapters.telegram.bot import BotApi, Button, TelegramRefused, TelegramUnavailable
from pulse_adapters.telegram.texts import MESSAGE_MAX, cut, length, lines_that_fit, notification_text
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.notifier import Notification, Severity

log = structlog.get_logger(__name__)

_INDIA = timezone(timedelta(hours=5, minutes=30))


class OutboxSettings(Struct, frozen=True, kw_only=True):
    """gather_s: how long a notification waits for others to share its message.
    waiting_max: LOW ones that wait for one chat.
    close_s: how long `close` waits for what is still to be sent."""

    gather_s: float = 1.5
    chat_interval_s: float = 1.0
    overall_interval_s: float = 1 / 30
    waiting_max: int = 500
    retry_s: float = 1.0
    retry_max_s: float = 60.0
    close_s: float = 3.0


class _Outgoing(Struct, frozen=True):
    text: str
    buttons: tuple[Button, ...] = ()


class _Chat:
    """What waits for one chat."""

    def __init__(self, chat_id: int) -> None:
        self.chat_id = chat_id
        self.replies = deque[_Outgoing]()
        self.high = deque[str]()
        self.low = deque[str]()
        self.dropped = 0
        self.woken = asyncio.Event()
        self.next_at = float("-inf")

    @property
    def is_empty(self) -> bool:
        return not (self.replies or self.high or self.low)

    def take(self) -> _Outgoing:
        """The next message: a reply, else as many lines as go into one, HIGH ones first."""
        if self.replies:
            return self.replies.popleft()
        lines = [f"({self.dropped} notifications of less weight were dropped)"] if self.dropped else []
        room = MESSAGE_MAX - sum(length(line) + 1 for line in lines)
        self.dropped = 0
        waiting = [*self.high, *islice(self.low, MESSAGE_MAX)]
        count = lines_that_fit(waiting, room)
        for _ in range(count):
            (self.high or self.low).popleft()
        return _Outgoing(cut("\n".join([*waiting[:count], *lines])))


class TelegramNotifier:
    """Implements the `Notifier` port; the senders run from `start` to `close`.

    on_drop: called for each notification of which a chat is not told.
    """

    def __init__(
        self,
        bot: BotApi,
        chat_ids: Sequence[int],
        clock: Clock,
        random: Random,
        settings: OutboxSettings | None = None,
        on_drop: Callable[[], object] = lambda: None,
    ) -> None:
        self._bot = bot
        self._clock = clock
        self._random = random
        self._settings = settings or OutboxSettings()
        self._on_drop = on_drop
        self._chats = {chat_id: _Chat(chat_id) for chat_id in chat_ids}
        self._overall_next_at = float("-inf")
        self._senders: list[asyncio.Task[None]] = []
        self._closing = asyncio.Event()

    def start(self) -> None:
        self._senders = [
            asyncio.create_task(self._run(chat), name="telegram-sender") for chat in self._chats.values()
        ]

    def notify(self, notification: Notification) -> None:
        if self._closing.is_set():
            return
        try:
            text = f"{self._clock.now().astimezone(_INDIA):%H:%M:%S} {notification_text(notification)}"
        except Exception:  # the port never raises: who notifies is at work on orders
            log.exception("a notification cannot be written", kind=notification.kind)
            return
        for chat in self._chats.values():
            if notification.severity is Severity.HIGH:
                chat.high.append(text)
            elif len(chat.low) < self._settings.waiting_max:
                chat.low.append(text)
            else:
                chat.dropped += 1
                self._on_drop()
            chat.woken.set()

    def reply(self, chat_id: int, text: str, buttons: Sequence[Button] = ()) -> None:
        """Answer somebody in one of the chats: before what waits there, and alone in its message."""
        chat = self._chats.get(chat_id)
        if chat is None or self._closing.is_set():
            return
        chat.replies.append(_Outgoing(cut(text), tuple(buttons)))
        chat.woken.set()

    async def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        for chat in self._chats.values():
            chat.woken.set()
        if self._senders:
            _, unsent = await asyncio.wait(self._senders, timeout=self._settings.close_s)
            for sender in unsent:
                sender.cancel()
            await asyncio.gather(*self._senders, return_exceptions=True)
        left = sum(len(chat.high) + len(chat.low) + len(chat.replies) for chat in self._chats.values())
        if left:
            log.warning("notifications were not sent before the end", count=left)

    async def _run(self, chat: _Chat) -> None:
        while True:
            await chat.woken.wait()
            chat.woken.clear()
            if not chat.replies:
                await self._sleep(self._settings.gather_s, chat)
            while not chat.is_empty:
                try:
                    await self._deliver(chat, chat.take())
                except Exception:
                    # Whatever it is, the others are to be sent all the same.
                    log.exception("a message was lost")
            if self._closing.is_set():
                return

    async def _deliver(self, chat: _Chat, message: _Outgoing) -> None:
        failures = 0
        while True:
            await self._pace(chat)
            try:
                await self._bot.send(chat.chat_id, message.text, message.buttons)
            except TelegramRefused as error:
                log.error("Telegram refuses a message", chat_id=chat.chat_id, error=error.reason)
                self._on_drop()
                return
            except TelegramUnavailable as error:
                failures += 1
                if failures == 1:
                    log.warning("Telegram does not take a message", chat_id=chat.chat_id, error=error.reason)
                await self._clock.sleep(self._pause_s(error, failures))
            else:
                return

    async def _pace(self, chat: _Chat) -> None:
        # First the chat's turn: a slot of the bot's own pace is not held while waiting for that.
        await self._clock.sleep(chat.next_at - self._clock.monotonic())
        now = self._clock.monotonic()
        at = max(now, self._overall_next_at)
        self._overall_next_at = at + self._settings.overall_interval_s
        chat.next_at = at + self._settings.chat_interval_s
        await self._clock.sleep(at - now)

    def _pause_s(self, error: TelegramUnavailable, failures: int) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s + self._random.uniform(0, 0.5)
        longest = min(self._settings.retry_max_s, self._settings.retry_s * 2.0 ** min(failures - 1, 16))
        return self._random.uniform(longest / 2, longest)

    async def _sleep(self, seconds: float, chat: _Chat) -> None:
        """Wait for others to come, unless a reply is to be sent or the end has come."""
        if self._closing.is_set():
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            while not sleeping.done() and not self._closing.is_set() and not chat.replies:
                chat.woken.clear()
                woken = asyncio.ensure_future(chat.woken.wait())
                await asyncio.wait({sleeping, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
        finally:
            sleeping.cancel()
