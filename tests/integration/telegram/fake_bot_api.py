"""Telegram's Bot API, as far as it is called, on a real socket of this machine."""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from aiohttp import web

TOKEN = "123456789:AAplantedTelegramTokenThatNobodyMaySee0"


class Sent(NamedTuple):
    chat_id: int
    text: str
    buttons: dict[str, str]
    at: float


class FakeBotApi:
    """sent: what the bot wrote, in order. failures: the next calls of a method fail so, one by one.
    polls: the offset of each poll that was answered or waits. away: connections are cut without an answer.
    """

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[Sent] = []
        self.notes: list[str] = []
        self.polls: list[int | None] = []
        self.calls = 0
        self.away = False
        self.failures: dict[str, deque[tuple[int, dict[str, Any]]]] = {}
        self._updates: dict[int, dict[str, Any]] = {}
        self._ids = itertools.count(1000)
        self._changed = asyncio.Condition()
        self._polling = 0
        self._answers_pass = asyncio.Event()
        self._answers_pass.set()

    # --- what people do

    async def write(self, text: str, *, chat_id: int = 7, user_id: int = 70, at: datetime) -> None:
        message = {
            "message_id": next(self._ids),
            "date": int(at.timestamp()),
            "chat": {"id": chat_id, "type": "private"},
            "from": {"id": user_id, "is_bot": False, "first_name": "Asha"},
            "text": text,
        }
        await self._add({"message": message})

    async def press(self, data: str, *, chat_id: int = 7, user_id: int = 70) -> None:
        query = {
            "id": str(next(self._ids)),
            "from": {"id": user_id, "is_bot": False, "first_name": "Asha"},
            "chat_instance": "1",
            "data": data,
            "message": {"message_id": 1, "date": 1, "chat": {"id": chat_id, "type": "private"}},
        }
        await self._add({"callback_query": query})

    async def photograph(self, *, chat_id: int = 7) -> None:
        message = {"message_id": 1, "date": 1, "chat": {"id": chat_id, "type": "private"}}
        await self._add({"message": message})

    async def _add(self, update: dict[str, Any]) -> None:
        update_id = next(self._ids)
        async with self._changed:
            self._updates[update_id] = {"update_id": update_id, **update}
            self._changed.notify_all()

    def fail(self, method: str, status: int, description: str, *, times: int = 1, **parameters: Any) -> None:
        body = {"ok": False, "error_code": status, "description": description}
        if parameters:
            body["parameters"] = parameters
        self.failures.setdefault(method, deque()).extend([(status, body)] * times)

    def hold_answers(self) -> asyncio.Event:
        """Keep the bot's answers to buttons waiting until the event is set."""
        self._answers_pass.clear()
        return self._answers_pass

    @property
    def waiting(self) -> int:
        """Updates that nobody has confirmed."""
        return len(self._updates)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110  # anything that a test can see
                await asyncio.sleep(0.01)

    async def texts(self, count: int) -> list[str]:
        """The first texts, once there are so many."""
        await self.until(lambda: len(self.sent) >= count)
        return [each.text for each in self.sent]

    # --- what the bot calls

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if request.match_info["token"] != TOKEN:
            return _error(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        method = request.match_info["method"]
        given = dict(await request.post())
        if self.failures.get(method):
            return _error(*self.failures[method].popleft())
        match method:
            case "getUpdates":
                return await self._get_updates(given)
            case "sendMessage":
                return self._send(given)
            case "answerCallbackQuery":
                await self._answers_pass.wait()
                self.notes.append(str(given.get("text", "")))
                return _ok(True)
        return _error(404, {"ok": False, "error_code": 404, "description": "Not Found"})

    async def _get_updates(self, given: dict[str, Any]) -> web.Response:
        if self._polling:
            told = "Conflict: terminated by other getUpdates request"
            return _error(409, {"ok": False, "error_code": 409, "description": told})
        offset = int(given["offset"]) if "offset" in given else None
        self.polls.append(offset)
        if offset is not None:
            self._updates = {key: each for key, each in self._updates.items() if key >= offset}
        self._polling += 1
        try:
            async with asyncio.timeout(float(given.get("timeout", 0))), self._changed:
                await self._changed.wait_for(lambda: self._updates)
        except TimeoutError:
            pass
        finally:
            self._polling -= 1
        return _ok(list(self._updates.values()))

    def _send(self, given: dict[str, Any]) -> web.Response:
        text = str(given["text"])
        if not text or len(text.encode("utf-16-le")) > 2 * 4096:
            told = "Bad Request: message is too long"
            return _error(400, {"ok": False, "error_code": 400, "description": told})
        markup = json.loads(str(given.get("reply_markup", "{}")))
        buttons = {b["text"]: b["callback_data"] for row in markup.get("inline_keyboard", []) for b in row}
        chat_id = int(given["chat_id"])
        self.sent.append(Sent(chat_id, text, buttons, asyncio.get_running_loop().time()))
        return _ok({"message_id": len(self.sent), "date": 1, "chat": {"id": chat_id, "type": "private"}})


def _ok(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _error(status: int, body: dict[str, Any]) -> web.Response:
    return web.json_response(body, status=status)


@asynccontextmanager
async def bot_api_served() -> AsyncIterator[FakeBotApi]:
    fake = FakeBotApi()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", fake.handle)
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        shutdown_timeout=0.1,
        access_log=None,  # it would write the token
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
