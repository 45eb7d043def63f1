"""Commands, from a chat to the store and back, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
import pytest
from structlog.testing import capture_logs

from pulse_adapters.ids import RandomIds
from pulse_adapters.telegram.bot import Press
from pulse_domain.instruments import Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Product, Side
from pulse_domain.ports.order_store import Booking, BookResult
from pulse_domain.ports.strategy_store import StrategyMode, StrategyRow, StrategyState
from pulse_domain.risk import PriceFacts
from pulse_domain.testing.factories import new_order, split_order
from pulse_domain.testing.memory_audit import InMemoryAuditLog
from tests.integration.telegram.conftest import House
from tests.integration.telegram.fake_bot_api import TOKEN


async def confirm(house: House, word: str = "Yes", **who: int) -> None:
    [data] = [data for label, data in house.telegram.sent[-1].buttons.items() if label.startswith(word)]
    await house.telegram.press(data, **who)


async def test_status_tells_how_trading_and_orders_stand(house: House) -> None:
    await split_order(house.store, RandomIds(house.clock), due_in_s=600)

    running = await house.answer("/status")
    await house.store.halt("operator", "lunch")
    halted = await house.answer("/status@pulse_bot")

    assert "Trading goes on" in running
    assert "1 SCHEDULED" in running
    assert "HALTED by operator: lunch" in halted


async def test_orders_lists_those_that_are_not_done(house: House) -> None:
    ids = RandomIds(house.clock)
    order = await split_order(house.store, ids, due_in_s=600, strategy_tag="macd")
    done = await house.store.accept(new_order(ids))
    await house.store.request_cancel(done.order_id, "desk-1")

    text = await house.answer("/orders")
    by_tag = await house.answer("/strategies")

    assert f"BUY 100 NSE:RELIANCE SCHEDULED, 0 filled ({order.order_id})" in text
    assert done.order_id not in text
    assert "macd: 1 orders, 1 open, 0 units filled" in by_tag
    assert "(no tag): 1 orders, 0 open" in by_tag


async def traded(house: House, side: Side, quantity: int, price: str, tag: str | None = "macd") -> None:
    order = await split_order(
        house.store, RandomIds(house.clock), total_quantity=quantity, side=side, strategy_tag=tag,
        product=Product.MIS,
    )  # fmt: skip
    await house.store.claim_executions(1, "executor", 60.0)
    fill = ev.Fill(
        trade_id=f"T-{order.order_id[-6:]}",
        broker_order_id=BrokerOrderId(f"B-{order.order_id[-6:]}"),
        quantity=quantity,
        price=Decimal(price),
        at=house.clock.now(),
    )
    event = ev.ExecutionFilled(seq=1, chunk=0, fill=fill)
    [booked] = await house.store.book([Booking(order_id=order.order_id, event=event)])
    assert booked.result is BookResult.APPLIED


async def test_positions_and_results_are_told_by_strategy(house: House) -> None:
    await traded(house, Side.BUY, 1500, "1400.5")
    await traded(house, Side.SELL, 500, "1410.5")
    await traded(house, Side.SELL, 10, "1400", tag=None)
    reliance = Instrument.parse("NSE:RELIANCE")
    at = await house.store.now()
    await house.prices.publish({reliance: PriceFacts(at=at, last_price=Decimal("1402"))})

    positions, pnl = await house.answer("/positions"), await house.answer("/pnl")

    assert "macd NSE:RELIANCE MIS: 1,000 at 1,400.50, last 1,402.00" in positions
    assert "unrealised 1,500.00, realised 5,000.00" in positions
    assert "(no tag) NSE:RELIANCE MIS: -10 at 1,400.00" in positions
    assert pnl.startswith("Today: net ")
    assert "macd: net " in pnl
    assert "realised 5,000.00, unrealised 1,500.00, charges" in pnl
    assert "unknown" not in pnl


async def test_what_is_not_known_is_told_as_such(house: House) -> None:
    await traded(house, Side.BUY, 10, "1400")

    assert "no price is known; unrealised unknown" in await house.answer("/positions")
    pnl = await house.answer("/pnl")
    assert pnl.startswith("Today: net unknown (realised 0.00, unrealised unknown, charges ")


async def test_nothing_held_and_nothing_traded_is_told_as_such(house: House) -> None:
    assert await house.answer("/positions") == "No position is open."
    assert await house.answer("/pnl") == "Nothing was traded yet."


async def test_help_names_every_command_and_others_are_pointed_to_it(house: House) -> None:
    text = await house.answer("/help")

    for command in (
        "/status",
        "/pnl",
        "/orders",
        "/positions",
        "/strategies",
        "/strategy start",
        "/halt",
        "/resume",
        "/kill",
    ):
        assert command in text
    assert "/help" in await house.answer("/frobnicate now")
    assert (await _audited_to(house, "unknown"))[-1] == ("70", "7", "frobnicate", "unknown")


async def test_halt_is_done_once_it_is_confirmed(house: House) -> None:
    question = await house.answer("/halt fat \x00 finger")
    before = await house.store.trading_state()
    await confirm(house)
    answer = (await house.telegram.texts(2))[1]

    state = await house.store.trading_state()
    assert "Halt all trading?" in question
    assert not before.halted
    assert (state.halted, state.changed_by, state.reason) == (True, "telegram:70", "fat finger")
    assert "HALTED by telegram:70" in answer
    await house.telegram.until(lambda: "Confirmed." in house.telegram.notes)
    assert await _audited_to(house, "done") == [("70", "7", "halt", "asked"), ("70", "7", "halt", "done")]


async def test_resume_lets_trading_go_on(house: House) -> None:
    await house.store.halt("operator", "lunch")

    await house.answer("/resume")
    await confirm(house)
    answer = (await house.telegram.texts(2))[1]

    assert "Trading goes on" in answer
    assert not (await house.store.trading_state()).halted


async def test_resume_that_needs_a_reconcile_says_so(house: House) -> None:
    await house.store.halt_for_reconcile("worker-1", "STRANGERS: X-1")

    await house.answer("/resume")
    await confirm(house)
    answer = (await house.telegram.texts(2))[1]

    assert "RECONCILE_REQUIRED" in answer
    assert (await _audited_to(house, "failed"))[-1] == ("70", "7", "resume", "failed")
    assert (await house.store.trading_state()).halted


async def test_kill_halts_and_cancels(house: House) -> None:
    order = await split_order(house.store, RandomIds(house.clock), due_in_s=600)

    await house.answer("/kill it all")
    await confirm(house)
    answer = (await house.telegram.texts(2))[1]

    assert "Cancel asked for: 1 orders." in answer
    assert (await house.store.trading_state()).reason == "it all"
    assert await house.store.open_orders(10) == []
    assert [job.order_id for job in house.queue.jobs] == [order.order_id]


async def test_dismissed_command_does_nothing(house: House) -> None:
    await house.answer("/kill")
    await confirm(house, "No")

    assert "nothing was done" in (await house.telegram.texts(2))[1]
    assert not (await house.store.trading_state()).halted


async def test_question_can_be_answered_for_a_minute_and_once(house: House) -> None:
    await house.answer("/halt")
    data = next(iter(house.telegram.sent[-1].buttons.values()))
    house.clock.shift_s = 61

    await house.telegram.press(data)
    await house.telegram.until(lambda: house.telegram.notes)
    late = await house.store.trading_state()
    await house.answer("/halt")
    await confirm(house)
    await house.telegram.texts(3)
    await house.store.resume("operator", "again")
    await confirm_again(house)

    assert "not open any more" in house.telegram.notes[0]
    assert not late.halted
    assert not (await house.store.trading_state()).halted
    assert [entry[3] for entry in await house.audited()] == ["asked", "expired", "asked", "done", "expired"]


async def confirm_again(house: House) -> None:
    notes = len(house.telegram.notes)
    [asked] = [sent for sent in house.telegram.sent[-2:] if sent.buttons]
    await house.telegram.press(next(iter(asked.buttons.values())))
    await house.telegram.until(lambda: len(house.telegram.notes) > notes)
    await _audited_to(house, "expired", count=2)


async def test_only_who_asked_can_answer_and_only_in_the_same_chat(house: House) -> None:
    await house.answer("/halt", chat_id=-100200)

    await confirm(house, chat_id=-100200, user_id=71)
    await house.telegram.until(lambda: len(house.telegram.notes) == 1)
    await _audited_to(house, "refused")
    await confirm(house, chat_id=7, user_id=70)
    await house.telegram.until(lambda: len(house.telegram.notes) == 2)
    await _audited_to(house, "expired")

    assert not (await house.store.trading_state()).halted
    assert "Only who asked" in house.telegram.notes[0]
    assert ("71", "-100200", "halt", "refused") in await house.audited()


async def test_stranger_is_logged_and_neither_heard_nor_answered(house: House) -> None:
    with capture_logs() as lines:
        await house.say("/halt secret words", chat_id=666, user_id=70)
        await house.telegram.press("code1:yes", chat_id=666)
        await house.answer("/help")

    strangers = [line for line in lines if line.get("chat_id") == 666]
    assert len(strangers) == 2
    assert "secret words" not in str(lines)
    assert {sent.chat_id for sent in house.telegram.sent} == {7}
    assert house.telegram.notes == []
    assert await house.audited() == [("70", "7", "help", "answered")]


async def test_what_is_no_command_is_left_alone(house: House) -> None:
    await house.say("good morning")
    await house.telegram.photograph()
    await house.answer("/help")

    assert len(house.telegram.sent) == 1


async def test_old_command_is_ignored(house: House) -> None:
    at = house.clock.now()
    house.clock.shift_s = 121
    with capture_logs() as lines:
        await house.telegram.write("/halt", at=at)
        await house.telegram.write("/status", at=at)
        await house.answer("/help")

    assert len(house.telegram.sent) == 1
    assert [line["action"] for line in lines if line["event"] == "a command is too old"] == ["halt", "status"]
    assert [entry[2:] for entry in await house.audited()] == [
        ("halt", "too old"), ("status", "too old"), ("help", "answered"),
    ]  # fmt: skip


async def test_updates_are_confirmed_before_they_are_acted_on(house: House) -> None:
    await house.answer("/help")
    await house.answer("/help")

    assert house.telegram.waiting == 0
    offsets = [offset for offset in house.telegram.polls if offset is not None]
    assert offsets == sorted(offsets)
    assert len(house.telegram.sent) == 2


async def test_commands_are_taken_after_an_outage(house: House) -> None:
    house.telegram.fail("getUpdates", 502, "Bad Gateway", times=2)
    house.telegram.fail("getUpdates", 429, "Too Many Requests", retry_after=1)
    # Another process listens with the same token, as for a moment after a change of leader.
    house.telegram.fail("getUpdates", 409, "Conflict: terminated by other getUpdates request", times=2)
    with capture_logs() as lines:
        await house.say("/help")
        text = (await house.telegram.texts(1))[0]

    assert "/status" in text
    told = [line["event"] for line in lines if line["event"].startswith("Telegram can")]
    assert told == ["Telegram cannot be listened to", "Telegram can be listened to again"]


async def test_order_api_that_does_not_answer_is_told(house: House) -> None:
    # The desk's own way to the order API is cut for good.
    await house.desk._api.close()
    house.desk._api = type(house.desk._api)("http://127.0.0.1:9", "order-api-service-token")

    status = await house.answer("/status")
    await house.answer("/halt")
    await confirm(house)
    halt = (await house.telegram.texts(3))[2]

    assert "cannot be reached" in status
    assert "/halt failed" in halt
    assert not (await house.store.trading_state()).halted


async def test_token_is_in_no_log_line_error_or_repr(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with capture_logs() as lines:
        house.telegram.fail("sendMessage", 401, f"Unauthorized {TOKEN}", times=2)
        house.telegram.fail("sendMessage", 400, f"Bad Request: {TOKEN}")
        house.telegram.fail("sendMessage", 500, "oops")
        await house.say("/help")
        await house.telegram.until(lambda: any("refuses a message" in line["event"] for line in lines))
        house.telegram.away = True
        await house.say("/help")
        calls = house.telegram.calls
        await house.telegram.until(lambda: house.telegram.calls > calls + 3)
        house.telegram.away = False
        await house.answer("/help")

    seen = f"{lines} {caplog.text} {house.bot!r} {house.desk!r} {house.notifier!r} {vars(house.bot).keys()}"
    assert "[redacted]" in seen
    assert TOKEN not in seen
    assert TOKEN.partition(":")[2] not in seen


async def _audited_to(house: House, outcome: str, count: int = 1) -> list[tuple[str, str, str, str]]:
    """The audit log, once it holds an outcome so often; the entry is written after the answer."""
    async with asyncio.timeout(30):
        while sum(entry[3] == outcome for entry in await house.audited()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return await house.audited()


async def test_command_does_not_wait_for_the_audit_log(house: House) -> None:
    broken = InMemoryAuditLog(house.clock)
    broken.down = True
    house.desk._audit = broken

    with capture_logs() as lines:
        await house.answer("/halt")
        await confirm(house)
        await house.telegram.texts(2)

    assert (await house.store.trading_state()).halted
    missing = [line["outcome"] for line in lines if line["event"] == "a command is not in the audit log"]
    assert missing[0] == "asked"
    assert next(line["user_id"] for line in lines if line["event"] == "command") == 70


async def test_confirmed_halt_does_not_wait_for_telegram(house: House) -> None:
    await house.answer("/halt")
    hold = house.telegram.hold_answers()

    await confirm(house)
    answer = (await house.telegram.texts(2))[1]
    noted = list(house.telegram.notes)
    hold.set()
    await house.telegram.until(lambda: house.telegram.notes == ["Confirmed."])

    assert "HALTED by telegram:70" in answer
    assert noted == []


# --- what waits for what


@asynccontextmanager
async def locked(database: asyncpg.Pool, table: str) -> AsyncIterator[None]:
    """Whatever touches the table waits."""
    async with database.acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def test_what_is_confirmed_overtakes_what_others_read(house: House, database: asyncpg.Pool) -> None:
    async with locked(database, "strategies"):
        for reader in (71, 72, 73):
            await house.say("/strategies", user_id=reader)
        # Asked for behind them, too.
        await house.answer("/halt")
        await confirm(house)
        told = (await house.telegram.texts(2))[:2]
        halted = (await house.store.trading_state()).halted
    answers = (await house.telegram.texts(5))[2:]

    assert "Halt all trading?" in told[0]
    assert "HALTED by telegram:70" in told[1]
    assert halted
    assert len(answers) == 3
    entries = await _audited_to(house, "done")
    assert entries[:2] == [("70", "7", "halt", "asked"), ("70", "7", "halt", "done")]


async def test_a_chat_does_not_wait_for_the_reads_of_another(house: House, database: asyncpg.Pool) -> None:
    async with locked(database, "orders"):
        await house.say("/orders")
        assert "/status" in await house.answer("/help", chat_id=-100200)
    assert len(await house.telegram.texts(2)) == 2


async def test_the_reads_of_a_chat_are_answered_in_their_order(house: House, database: asyncpg.Pool) -> None:
    async with locked(database, "orders"):
        await house.say("/orders")
        await house.say("/frobnicate")
        await house.say("/help")
        # They have come: what follows them is told.
        await house.answer("/halt")
    texts = await house.telegram.texts(4)

    assert [text.split()[0] for text in texts[1:]] == ["No", "There", "/status"]
    assert [entry[2] for entry in await _audited_to(house, "answered", 2)] == [
        "halt", "orders", "frobnicate", "help",
    ]  # fmt: skip


async def test_no_more_than_so_many_reads_wait_in_a_chat(house: House, database: asyncpg.Pool) -> None:
    async with locked(database, "orders"):
        for _ in range(21):
            await house.say("/orders")
        [refused] = await house.telegram.texts(1)
    texts = await house.telegram.texts(21)

    assert "Too many commands" in refused
    assert len(texts) == 21
    entries = await _audited_to(house, "answered", 20)
    assert [entry[3] for entry in entries].count("refused") == 1


@pytest.mark.parametrize(("late_s", "is_halted"), [(0.0, True), (2.0, False)])
async def test_an_answer_counts_from_when_it_came(house: House, late_s: float, is_halted: bool) -> None:
    await house.answer("/halt")
    asked_before = house.clock.monotonic()
    data = next(iter(house.telegram.sent[-1].buttons.values()))
    # Whatever has held it up.
    house.clock.shift_s = 120

    press = Press(press_id="1", chat_id=7, user_id=70, data=data)
    await house.desk.press(press, asked_before + 60 + late_s if late_s else asked_before)

    assert (await house.store.trading_state()).halted is is_halted


async def test_what_is_confirmed_one_after_another_is_done_so(house: House, database: asyncpg.Pool) -> None:
    datas = []
    for command in ("/halt", "/resume"):
        await house.answer(command)
        datas.append(next(iter(house.telegram.sent[-1].buttons.values())))
    async with locked(database, "trading_halts"):
        for data in datas:
            await house.telegram.press(data)
        await house.telegram.until(lambda: house.telegram.notes == ["Confirmed."] * 2)
    texts = (await house.telegram.texts(4))[2:]

    assert ["HALTED" in text for text in texts] == [True, False]
    assert not (await house.store.trading_state()).halted


async def test_a_button_does_not_wait_until_telegram_listens_again(house: House) -> None:
    await house.answer("/halt")
    house.telegram.fail("getUpdates", 502, "Bad Gateway", times=1000)
    await confirm(house)

    answer = (await house.telegram.texts(2))[1]

    assert "HALTED" in answer
    assert house.telegram.failures["getUpdates"]


# --- strategies


async def add_strategy(
    house: House, name: str = "macd-tcs", mode: str = "paper", kind: str = "macd", capital: str | None = None
) -> None:
    await house.strategies.put(
        name,
        kind=kind,
        instruments=(Instrument.parse("NSE:TCS"),),
        parameters={"fast": "5"},
        mode=StrategyMode(mode),
        capital=None if capital is None else Decimal(capital),
        changed_by="asha",
    )


async def strategy(house: House) -> StrategyRow:
    [row] = await house.strategies.rows()
    return row


async def test_strategies_are_listed_as_they_fare(house: House) -> None:
    none = await house.answer("/strategies")
    for name, mode in (("a", "paper"), ("b", "live"), ("c", "paper"), ("d", "paper")):
        await add_strategy(house, name, mode, capital="500000.00" if name == "b" else None)
        await house.strategies.want(name, StrategyState.RUNNING, "asha")
    await house.strategies.report("b", 1, StrategyState.RUNNING, None)
    await house.strategies.report("c", 1, StrategyState.FAILED, "ValueError: bad\nluck")
    await house.strategies.want("d", StrategyState.STOPPED, "asha")

    text = await house.answer("/strategies")

    assert none.startswith("There is no strategy.")
    assert text.splitlines()[:4] == [
        "a (paper, macd on NSE:TCS fast=5): STOPPED, to be RUNNING",
        "b (live, macd on NSE:TCS fast=5, capital 500,000.00): RUNNING",
        "c (paper, macd on NSE:TCS fast=5): FAILED: ValueError: bad luck",
        "d (paper, macd on NSE:TCS fast=5): STOPPED",
    ]


async def test_strategy_is_started_and_stopped_once_that_is_confirmed(house: House) -> None:
    await add_strategy(house, mode="live")

    question = await house.answer("/strategy start macd-tcs")
    before = await strategy(house)
    await confirm(house)
    started = (await house.telegram.texts(2))[1]
    running = await strategy(house)
    await house.answer("/Strategy@pulse_bot  stop   macd-tcs")
    await confirm(house)
    stopped = (await house.telegram.texts(4))[3]

    assert "LIVE" in question
    assert before.plan.wanted is StrategyState.STOPPED
    assert (running.plan.wanted, running.plan.changed_by) == (StrategyState.RUNNING, "telegram:70")
    assert started == "macd-tcs (live, macd on NSE:TCS fast=5): STOPPED, to be RUNNING"
    assert stopped == "macd-tcs (live, macd on NSE:TCS fast=5): STOPPED"
    assert (await strategy(house)).plan.wanted is StrategyState.STOPPED
    # On record with the chat, and with the order API.
    expected = {
        ("70", "7", "strategy start", "asked"),
        ("telegram:70", "telegram:70", "strategy start", "done"),
        ("70", "7", "strategy start", "done"),
        ("70", "7", "strategy stop", "asked"),
        ("telegram:70", "telegram:70", "strategy stop", "done"),
        ("70", "7", "strategy stop", "done"),
    }
    assert set(await _audited_to(house, "done", 4)) == expected


async def test_parameters_of_a_stopped_strategy_are_set_and_the_rest_stays(house: House) -> None:
    await add_strategy(house, capital="500000.50")

    question = await house.answer("/strategy set macd-tcs risk_percent=0.5 fast=7")
    await confirm(house)
    answer = (await house.telegram.texts(2))[1]

    row = await strategy(house)
    assert "risk_percent=0.5 fast=7" in question
    assert row.plan.parameters == {"fast": "7", "risk_percent": "0.5"}
    assert (row.plan.version, row.plan.kind, row.plan.mode) == (2, "macd", StrategyMode.PAPER)
    assert row.plan.changed_by == "telegram:70"
    assert row.plan.capital == Decimal("500000.50")
    assert "fast=7 risk_percent=0.5" in answer


async def test_bad_parameters_and_files_are_refused_and_told(house: House) -> None:
    await add_strategy(house)
    await house.answer("/strategy set macd-tcs fast=0")
    await confirm(house)
    bad = (await house.telegram.texts(2))[1]
    await add_strategy(house, kind="/srv/mine.py:Mine")
    await house.answer("/strategy set macd-tcs n=1")
    await confirm(house)
    of_file = (await house.telegram.texts(4))[3]

    assert bad.startswith("/strategy set failed: INVALID_REQUEST: parameter fast")
    assert "may have been done" not in bad
    assert "pulse strategy add" in of_file
    assert (await strategy(house)).plan.parameters == {"fast": "5"}


async def test_what_runs_is_not_set(house: House) -> None:
    await add_strategy(house)
    await house.strategies.want("macd-tcs", StrategyState.RUNNING, "asha")

    answer = await house.answer("/strategy set macd-tcs fast=7")

    assert "stopped first" in answer
    assert house.telegram.sent[-1].buttons == {}
    assert (await _audited_to(house, "refused"))[-1] == ("70", "7", "strategy set", "refused")


async def test_what_is_started_between_question_and_answer_is_not_set(house: House) -> None:
    await add_strategy(house)
    await house.answer("/strategy set macd-tcs fast=7")
    await house.strategies.want("macd-tcs", StrategyState.RUNNING, "asha")

    await confirm(house)

    assert "failed: INVALID_REQUEST" in (await house.telegram.texts(2))[1]
    assert (await strategy(house)).plan.version == 1


@pytest.mark.parametrize(
    "text",
    [
        "/strategy",
        "/strategy start",
        "/strategy start macd-tcs now",
        "/strategy frobnicate macd-tcs",
        "/strategy set macd-tcs",
        "/strategy set macd-tcs fast",
        "/strategy set macd-tcs fast=5 fast=6",
        "/strategy set macd-tcs 1=2",
    ],
)
async def test_strategy_command_that_makes_no_sense_is_told_how(house: House, text: str) -> None:
    await add_strategy(house)

    assert (await house.answer(text)).startswith("Write /strategy start NAME")
    assert [entry[3] for entry in await _audited_to(house, "refused")] == ["refused"]


async def test_strategy_that_is_not_there_is_told(house: House) -> None:
    for text in ("/strategy start nonsense", "/strategy stop ../orders", "/strategy set nonsense a=1"):
        assert "There is no strategy" in await house.answer(text)
    assert house.telegram.sent[-1].buttons == {}


async def test_dismissed_strategy_command_does_nothing(house: House) -> None:
    await add_strategy(house)

    await house.answer("/strategy start macd-tcs")
    await confirm(house, "No")

    assert "nothing was done" in (await house.telegram.texts(2))[1]
    assert (await strategy(house)).plan.wanted is StrategyState.STOPPED


async def test_stranger_moves_no_strategy_and_is_not_answered(house: House) -> None:
    await add_strategy(house)

    with capture_logs() as logs:
        for text in ("/strategies", "/strategy start macd-tcs", "/strategy set macd-tcs fast=9"):
            await house.say(text, chat_id=999, user_id=666)
        await house.telegram.press("code1:yes", chat_id=999, user_id=666)
        await house.answer("/help")

    assert [sent.chat_id for sent in house.telegram.sent] == [7]
    assert [line["event"] for line in logs].count("a message from a chat that is not on the list") == 3
    assert "macd-tcs" not in str(logs)
    row = await strategy(house)
    assert (row.plan.wanted, row.plan.version) == (StrategyState.STOPPED, 1)
    assert [entry[2] for entry in await _audited_to(house, "answered")] == ["help"]
