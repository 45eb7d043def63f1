"""The Bot API through python-telegram-bot, which is imported here only, and when a bot is made.

The bot's token is a part of every address. The library shows it in its own debug log, in the `repr` of a bot
and in some errors: none of these leaves this module.
"""

import logging
import warnings
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TypeVar

from msgspec import Struct
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    RetryAfter,
    TelegramError,
)
from telegram.request import HTTPXRequest
from telegram.warnings import PTBDeprecationWarning

T = TypeVar("T")

_TIMEOUT_S = 10.0
_CONNECTIONS = 8
_UPDATES_MAX = 100


class TelegramUnavailable(Exception):
    """The call may work later; `retry_after_s` is what Telegram asks to wait."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class TelegramRefused(Exception):
    """The same call will not work later either."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Message(Struct, frozen=True, kw_only=True):
    """What somebody wrote in a chat. user_id: None for a chat that writes in its own name."""

    chat_id: int
    user_id: int | None
    text: str
    sent_at: datetime


class Press(Struct, frozen=True, kw_only=True):
    """A button under a message of ours was pressed."""

    press_id: str
    chat_id: int | None
    user_id: int
    data: str


class Received(Struct, frozen=True, kw_only=True):
    """what: None for what is not for us, such as a photograph."""

    update_id: int
    what: Message | Press | None


class Button(Struct, frozen=True):
    label: str
    data: str


class BotApi:
    def __init__(self, token: str, api_url: str) -> None:
        # Both write addresses out.
        for name in ("telegram", "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", category=PTBDeprecationWarning)
        self._token = token
        self._bot = Bot(
            token,
            base_url=f"{api_url}/bot",
            request=_http(_CONNECTIONS),
            # It is always busy with the long poll.
            get_updates_request=_http(1),
        )

    def __repr__(self) -> str:
        return "BotApi()"

    async def send(self, chat_id: int, text: str, buttons: Sequence[Button] = ()) -> None:
        """Write a message of at most 4096 characters, as it is.

        Raises:
            TelegramUnavailable, TelegramRefused.
        """
        row = [InlineKeyboardButton(button.label, callback_data=button.data) for button in buttons]
        await self._call(
            self._bot.send_message(
                chat_id,
                text,
                disable_web_page_preview=True,
                reply_markup=InlineKeyboardMarkup([row]) if row else None,
            )
        )

    async def answer(self, press_id: str, text: str = "") -> None:
        """Tell the app that a button was taken note of; the text is shown for a moment.

        Raises:
            TelegramUnavailable, TelegramRefused.
        """
        await self._call(self._bot.answer_callback_query(press_id, text or None))

    async def updates(self, offset: int | None, *, wait_s: int) -> list[Received]:
        """What came, from an update id on; what is before that is forgotten at Telegram, for good.

        wait_s: how long to wait for something to come.

        Raises:
            TelegramUnavailable, TelegramRefused.
        """
        found = await self._call(
            self._bot.get_updates(
                offset=offset,
                limit=_UPDATES_MAX,
                timeout=wait_s,
                read_timeout=_TIMEOUT_S,
                allowed_updates=[Update.MESSAGE, Update.CALLBACK_QUERY],
            )
        )
        return [_received(update) for update in found]

    async def close(self) -> None:
        await self._bot.shutdown()
        for request in self._bot._request:  # shutdown leaves alone what was never initialised
            await request.shutdown()

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except RetryAfter as error:
            seconds = error._retry_after.total_seconds()  # the public one warns
            raise TelegramUnavailable("too many messages", seconds) from None
        except (Forbidden, BadRequest, ChatMigrated) as error:
            raise TelegramRefused(self._hide(error.message)) from None
        except (InvalidToken, Conflict) as error:
            # A person may mend it while this runs.
            raise TelegramUnavailable(self._hide(error.message)) from None
        except TelegramError as error:
            raise TelegramUnavailable(self._hide(error.message)[:200]) from None

    def _hide(self, text: str) -> str:
        return text.replace(self._token, "[redacted]")


def _http(connections: int) -> HTTPXRequest:
    return HTTPXRequest(
        connection_pool_size=connections,
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        write_timeout=_TIMEOUT_S,
        pool_timeout=_TIMEOUT_S,
    )


def _received(update: Update) -> Received:
    message, press = update.message, update.callback_query
    what: Message | Press | None = None
    if press is not None:
        what = Press(
            press_id=press.id,
            chat_id=press.message.chat.id if press.message else None,
            user_id=press.from_user.id,
            data=press.data or "",
        )
    elif message is not None and message.text:
        what = Message(
            chat_id=message.chat.id,
            user_id=message.from_user.id if message.from_user else None,
            text=message.text,
            sent_at=message.date,
        )
    return Received(update_id=update.update_id, what=what)
