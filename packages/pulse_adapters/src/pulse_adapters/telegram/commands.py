"""What may be asked for in a chat, by whom, and what came of it.

Only chats of the list are heard; of others nobody learns that somebody is here. What changes something is
asked twice, of the same person in the same chat. Everything that is taken is on record.

Nothing that changes something waits for an answer to somebody's question: what is asked for and confirmed goes
ahead of what is only read. Otherwise the commands of a chat are done in the order in which they came.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from msgspec import Struct

from pulse_adapters.telegram.bot import BotApi, Button, Message, Press, TelegramRefused, TelegramUnavailable
from pulse_adapters.telegram.order_api import OrderApi, OrderApiError, OrderRow, Trading
from pulse_adapters.telegram.result_texts import pnl_text, positions_text
from pulse_adapters.telegram.strategy_commands import StrategyCommands
from pulse_adapters.telegram.wishes import Refusal, Wish
from pulse_domain.errors import PortError
from pulse_domain.orders.events import storable
from pulse_domain.ports.audit_log import AuditEntry, AuditLog
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

CHANNEL = "telegram"
CONFIRM_S = 60.0
# What waited longer than this at Telegram was asked for in another situation.
OLD_AFTER = timedelta(minutes=2)
_PENDING_MAX = 100
# Commands of one chat that wait for their turn.
_WAITING_MAX = 20
_SHOWN_MAX = 10
_LOOKED_AT = 200
_REASON_MAX = 300

HELP = """\
/status - whether trading is halted, and how orders stand
/orders - orders that are not done
/strategies - strategies, and how they fare; the newest orders by strategy tag
/strategy start NAME, /strategy stop NAME - have one run, or end
/strategy set NAME PARAMETER=VALUE - change one that is stopped
/positions - what is held, by strategy
/pnl - the day's result, and that of each strategy
/halt [reason] - place nothing new
/resume [reason] - let trading go on
/kill [reason] - halt, and cancel every order that is not done
/help - this

/halt, /resume, /kill and /strategy ask for a confirmation."""

_QUESTIONS: Mapping[str, str] = {
    "halt": "Halt all trading?",
    "resume": "Let trading go on?",
    "kill": "Kill: halt all trading AND cancel every order that is not done?",
}
_STRATEGY = "strategy"
_ASKED_TWICE = frozenset((*_QUESTIONS, _STRATEGY))


class Chats(Protocol):
    def reply(self, chat_id: int, text: str, buttons: Sequence[Button] = ()) -> None: ...


class _Pending(Struct, frozen=True, kw_only=True):
    chat_id: int
    user_id: int
    wish: Wish
    until: float


class _Turns:
    """What is done one after another in one chat; a lock lets pass in the order of asking."""

    def __init__(self) -> None:
        self.reads = asyncio.Lock()
        self.waiting = 0
        # A halt does not wait until a strategy has stopped; but of halt and resume the last one stands.
        self.trading = asyncio.Lock()
        self.strategies = asyncio.Lock()
        self.records = asyncio.Lock()


class CommandDesk:
    """Several messages and presses may be in hand at once; each is begun in the order in which it came.

    new_code: a code that nobody can guess, another one each time.
    """

    def __init__(
        self,
        chat_ids: Collection[int],
        bot: BotApi,
        chats: Chats,
        api: OrderApi,
        audit: AuditLog,
        clock: Clock,
        new_code: Callable[[], str],
    ) -> None:
        self._turns = {chat_id: _Turns() for chat_id in chat_ids}
        self._bot = bot
        self._chats = chats
        self._api = api
        self._audit = audit
        self._clock = clock
        self._new_code = new_code
        self._strategy_commands = StrategyCommands(api)
        self._pending: dict[str, _Pending] = {}
        self._answers: Mapping[str, Callable[[], Awaitable[str]]] = {
            "status": self._status,
            "orders": self._orders,
            "strategies": self._strategies,
            "positions": self._positions,
            "pnl": self._pnl,
            "help": self._help,
            "start": self._help,  # what every app sends first
        }

    async def take(self, message: Message, came_at: datetime) -> None:
        """Do what a message asks for, if it is a command; came_at: when it was here."""
        if message.chat_id not in self._turns:
            log.warning("a message from a chat that is not on the list", chat_id=message.chat_id)
            return
        if not message.text.startswith("/"):
            return
        age = came_at - message.sent_at
        word, _, rest = storable(message.text)[1:].partition(" ")
        # In groups the app writes /status@name_of_the_bot.
        action, rest = word.partition("@")[0].lower(), " ".join(rest.split())
        turns = self._turns[message.chat_id]
        if action in _QUESTIONS and age <= OLD_AFTER:
            await self._ask(message, self._wish(action, rest[:_REASON_MAX]))
        elif turns.waiting >= _WAITING_MAX:
            self._chats.reply(message.chat_id, "Too many commands are waiting; try again in a minute.")
            await self._record(message.chat_id, message.user_id, action[:32], "refused", "too many")
        else:
            turns.waiting += 1
            try:
                async with turns.reads:
                    await self._take_in_turn(message, action, rest, age)
            finally:
                turns.waiting -= 1

    async def _take_in_turn(self, message: Message, action: str, rest: str, age: timedelta) -> None:
        if action not in self._answers and action not in _ASKED_TWICE:
            self._chats.reply(message.chat_id, "There is no such command; /help lists them.")
            await self._record(message.chat_id, message.user_id, action[:32], "unknown")
        elif age > OLD_AFTER:
            log.warning(
                "a command is too old", chat_id=message.chat_id, action=action, age_s=round(age.total_seconds())
            )
            await self._record(message.chat_id, message.user_id, action, "too old")
        elif action == _STRATEGY:
            await self._ask_strategy(message, rest)
        else:
            await self._answer(message, action)

    async def press(self, press: Press, came_at: float) -> None:
        """Take the answer to a question of ours; came_at: when it was here, by the monotonic clock."""
        if press.chat_id is None or press.chat_id not in self._turns:
            log.warning("a button in a chat that is not on the list", chat_id=press.chat_id)
            return
        code, _, word = press.data.partition(":")
        pending = self._pending.get(code)
        # The app's spinner is nothing that a command, or its record, should wait for.
        if pending is None or pending.chat_id != press.chat_id or pending.until < came_at:
            action = pending.wish.action if pending else "confirm"
            await asyncio.gather(
                self._record(press.chat_id, press.user_id, action, "expired"),
                self._note(press, "This question is not open any more."),
            )
        elif pending.user_id != press.user_id:
            await asyncio.gather(
                self._record(press.chat_id, press.user_id, pending.wish.action, "refused", "another person"),
                self._note(press, "Only who asked can answer."),
            )
        else:
            del self._pending[code]
            if word == "yes":
                await asyncio.gather(self._do(pending), self._note(press, "Confirmed."))
            else:
                action = pending.wish.action
                self._chats.reply(press.chat_id, f"/{action} is dismissed; nothing was done.")
                await asyncio.gather(
                    self._record(press.chat_id, press.user_id, action, "dismissed"),
                    self._note(press, "Dismissed."),
                )

    def _wish(self, action: str, reason: str) -> Wish:
        because = reason or f"/{action} by Telegram"
        return Wish(
            action=action,
            question=_QUESTIONS[action],
            yes=f"Yes, {action}",
            detail=because,
            work=lambda who: self._trade(action, who, because),
        )

    async def _ask_strategy(self, message: Message, rest: str) -> None:
        try:
            wish = await self._strategy_commands.wish(rest)
        except Refusal as refusal:
            self._chats.reply(message.chat_id, refusal.text)
            await self._record(message.chat_id, message.user_id, refusal.action, "refused", refusal.text)
        except OrderApiError as error:
            self._chats.reply(message.chat_id, f"No answer: {error.text}.")
            await self._record(message.chat_id, message.user_id, _STRATEGY, "failed", error.text)
        else:
            await self._ask(message, wish)

    async def _ask(self, message: Message, wish: Wish) -> None:
        action = wish.action
        if message.user_id is None:
            self._chats.reply(message.chat_id, "Only a person can ask for this, not a chat in its own name.")
            await self._record(message.chat_id, None, action, "refused", "nobody's name")
            return
        now = self._clock.monotonic()
        self._pending = {code: each for code, each in self._pending.items() if each.until >= now}
        if len(self._pending) >= _PENDING_MAX:
            self._chats.reply(message.chat_id, "Too many questions are open; try again in a minute.")
            await self._record(message.chat_id, message.user_id, action, "refused", "too many")
            return
        code = self._new_code()
        self._pending[code] = _Pending(
            chat_id=message.chat_id,
            user_id=message.user_id,
            wish=wish,
            until=now + CONFIRM_S,
        )
        buttons = (Button(wish.yes, f"{code}:yes"), Button("No", f"{code}:no"))
        self._chats.reply(message.chat_id, f"{wish.question} Answer within {CONFIRM_S:.0f} seconds.", buttons)
        await self._record(message.chat_id, message.user_id, action, "asked", wish.detail)

    async def _do(self, pending: _Pending) -> None:
        who, action = f"{CHANNEL}:{pending.user_id}", pending.wish.action
        turns = self._turns[pending.chat_id]
        try:
            async with turns.strategies if action.startswith(_STRATEGY) else turns.trading:
                text = await pending.wish.work(who)
            outcome, detail = "done", pending.wish.detail
        except OrderApiError as error:
            outcome, detail = "unknown" if error.unknown else "failed", error.text
            text = f"/{action} failed: {error.text}."
            if error.unknown:
                look = "/strategies" if action.startswith(_STRATEGY) else "/status"
                text += f" It may have been done all the same: look at {look}, and ask again if it was not."
        log.warning(
            "a command was carried out", action=action, by=who, chat_id=pending.chat_id, outcome=outcome
        )
        self._chats.reply(pending.chat_id, text)
        await self._record(pending.chat_id, pending.user_id, action, outcome, detail)

    async def _trade(self, action: str, who: str, reason: str) -> str:
        if action != "kill":
            return _trading_text(await self._api.change("halt" if action == "halt" else "resume", who, reason))
        killed = await self._api.kill(who, reason)
        return f"{_trading_text(killed.trading)}\nCancel asked for: {killed.cancelled} orders."

    async def _answer(self, message: Message, action: str) -> None:
        outcome = "answered"
        try:
            text = await self._answers[action]()
        except OrderApiError as error:
            text, outcome = f"No answer: {error.text}.", "failed"
        self._chats.reply(message.chat_id, text)
        await self._record(message.chat_id, message.user_id, action, outcome)

    async def _status(self) -> str:
        ready = await self._api.is_ready()
        if not ready:
            return "The order API runs, but its database does not answer."
        trading, orders = await self._api.trading(), await self._api.newest_orders(_LOOKED_AT)
        states = Counter(order.state for order in orders)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        of = f"the newest {_LOOKED_AT}" if len(orders) == _LOOKED_AT else f"all {len(orders)}"
        return f"{_trading_text(trading)}\nOrders, of {of}: {counts or 'none'}."

    async def _orders(self) -> str:
        looked_at = await self._api.newest_orders(_LOOKED_AT)
        working = [order for order in looked_at if not order.done]
        if not working:
            return f"No order is open, of the newest {_LOOKED_AT}."
        lines = [_order_text(order) for order in working[:_SHOWN_MAX]]
        if len(working) > _SHOWN_MAX:
            lines.append(f"... and {len(working) - _SHOWN_MAX} more")
        return "\n".join(lines)

    async def _strategies(self) -> str:
        by_tag: dict[str, list[OrderRow]] = {}
        for order in await self._api.newest_orders(_LOOKED_AT):
            by_tag.setdefault(order.strategy_tag or "(no tag)", []).append(order)
        lines = [
            f"{tag}: {len(orders)} orders, {sum(not order.done for order in orders)} open,"
            f" {sum(order.quantities.filled for order in orders):,} units filled"
            for tag, orders in sorted(by_tag.items())
        ]
        strategies = await self._strategy_commands.listing()
        return "\n".join([strategies, "", f"Of the newest {_LOOKED_AT} orders:", *(lines or ["none"])])

    async def _positions(self) -> str:
        return positions_text(await self._api.positions())

    async def _pnl(self) -> str:
        return pnl_text(await self._api.positions())

    async def _help(self) -> str:
        return HELP

    async def _note(self, press: Press, text: str) -> None:
        try:
            await self._bot.answer(press.press_id, text)
        except (TelegramUnavailable, TelegramRefused) as error:
            # The app shows a clock for a while; the command does not wait for that.
            log.debug("a button's answer was not taken", error=error.reason)

    async def _record(
        self, chat_id: int, user_id: int | None, action: str, outcome: str, detail: str = ""
    ) -> None:
        entry = AuditEntry(
            channel=CHANNEL,
            actor=str(user_id) if user_id is not None else "nobody",
            place=str(chat_id),
            action=action,
            outcome=outcome,
            detail=detail,
        )
        log.info("command", chat_id=chat_id, user_id=user_id, action=action, outcome=outcome)
        try:
            async with self._turns[chat_id].records:
                await self._audit.record(entry)
        except PortError as error:
            # The line above is the record then: a halt is not to wait for a database.
            log.error("a command is not in the audit log", action=action, outcome=outcome, error=error.message)


def _trading_text(trading: Trading) -> str:
    if not trading.halted:
        return "Trading goes on."
    text = f"Trading is HALTED by {trading.changed_by}: {trading.reason}."
    if trading.needs_reconcile:
        text += " Only a confirmed reconcile ends it (pulse reconcile)."
    if trading.in_flight:
        text += f" {len(trading.in_flight)} orders were already on their way."
    return text


def _order_text(order: OrderRow) -> str:
    quantities = order.quantities
    text = f"{order.side} {quantities.total:,} {order.instrument} {order.state}, {quantities.filled:,} filled"
    if quantities.unknown:
        text += f", {quantities.unknown:,} in doubt"
    return f"{text} ({order.order_id})"
