"""Commands, from a chat to the store and back, over real sockets."""

import asyncio

import pytest
from structlog.testing import capture_logs

from pulse_adapters.ids import RandomIds
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


@pytest.mark.parametrize("command", ["/pnl", "/positions"])
async def test_what_is_not_known_is_told_as_such(house: House, command: str) -> None:
    assert "not available in this deployment" in await house.answer(command)


async def test_help_names_every_command_and_others_are_pointed_to_it(house: House) -> None:
    text = await house.answer("/help")

    for command in ("/status", "/pnl", "/orders", "/positions", "/strategies", "/halt", "/resume", "/kill"):
        assert command in text
    assert "/help" in await house.answer("/frobnicate now")
    assert (await house.audited())[-1] == ("70", "7", "frobnicate", "unknown")


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
