"""Which access token is used, and what happens without one."""

import asyncio
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from pulse_adapters.real_broker.sessions import session_ends_at
from pulse_adapters.sealing import CannotOpen, TokenSeal
from pulse_adapters.zerodha.sessions import ZerodhaSessions, may_be_flushed_early
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.ports.broker_sessions import BrokerSession
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.unit.zerodha.make import SECRETS, TOKEN, seal, session, sessions


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.fromisoformat("2026-01-05T09:00:00+05:30").astimezone(UTC))


@pytest.fixture
def store() -> InMemorySessions:
    return InMemorySessions()


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def alerts(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [line["reason"] for line in logs if line["log_level"] == "error" and "reason" in line]


async def refusal(under_test: ZerodhaSessions) -> str:
    with pytest.raises(BrokerUnavailable) as refused:
        await under_test.current()
    return refused.value.reason_code


@pytest.mark.parametrize(
    ("login", "ends"),
    [
        ("2026-01-05T09:00:00+05:30", "2026-01-06T06:00:00+05:30"),
        ("2026-01-05T06:00:00+05:30", "2026-01-06T06:00:00+05:30"),
        ("2026-01-05T05:59:59+05:30", "2026-01-05T06:00:00+05:30"),
        ("2026-01-05T00:10:00+05:30", "2026-01-05T06:00:00+05:30"),
        ("2026-01-05T23:59:59+05:30", "2026-01-06T06:00:00+05:30"),
        ("2026-12-31T20:00:00+00:00", "2027-01-01T06:00:00+05:30"),
    ],
)
def test_a_session_ends_at_the_next_flush(login: str, ends: str) -> None:
    assert session_ends_at(datetime.fromisoformat(login).astimezone(UTC)) == datetime.fromisoformat(ends)


@pytest.mark.parametrize(
    ("time", "early"), [("05:59", False), ("06:00", True), ("07:29", True), ("07:30", False)]
)
def test_a_login_during_the_flush_may_be_ended_by_it(time: str, early: bool) -> None:
    assert may_be_flushed_early(datetime.fromisoformat(f"2026-01-05T{time}:00+05:30").astimezone(UTC)) is early


async def test_the_stored_session_is_used(store: InMemorySessions, clock: FakeClock) -> None:
    await store.save(session(clock=clock))

    under_test = sessions(store, clock)

    assert await under_test.current() == TOKEN
    assert await under_test.is_open()
    assert not under_test.paused


async def test_the_newest_wins_within_the_refresh(store: InMemorySessions, clock: FakeClock) -> None:
    under_test = sessions(store, clock, refresh_s=2)
    await store.save(session("first", clock=clock))
    before = await under_test.current()
    await store.save(session("second", clock=clock))

    await clock.advance(1.9)
    kept = await under_test.current()
    await clock.advance(0.2)

    assert (before, kept, await under_test.current()) == ("first", "first", "second")


async def test_the_initial_token_is_used_until_a_session_is_stored(
    store: InMemorySessions, clock: FakeClock
) -> None:
    under_test = sessions(store, clock, initial_token="initial", refresh_s=0)

    before = await under_test.current()
    await store.save(session(clock=clock))

    assert (before, await under_test.current()) == ("initial", TOKEN)


async def test_yesterdays_session_leaves_the_initial_token_its_day(
    store: InMemorySessions, clock: FakeClock
) -> None:
    await store.save(session("yesterday", clock=clock, hours=-1))

    under_test = sessions(store, clock, initial_token="initial")

    assert await under_test.current() == "initial"


async def test_without_any_session_nothing_is_sent(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    under_test = sessions(store, clock)

    assert await refusal(under_test) == "NO_SESSION"
    assert not await under_test.is_open()
    assert under_test.paused
    assert alerts(logs) == ["NO_SESSION"]


async def test_the_daily_flush_is_noticed_and_told_once(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    under_test = sessions(store, clock)
    await store.save(session(clock=clock, hours=21))
    await under_test.current()

    await clock.advance(21 * 3600)

    for _ in range(5):
        assert await refusal(under_test) == "SESSION_EXPIRED"
        await clock.advance(10)
    assert under_test.paused
    assert alerts(logs) == ["SESSION_EXPIRED"]


async def test_an_initial_token_is_flushed_too(store: InMemorySessions, clock: FakeClock) -> None:
    under_test = sessions(store, clock, initial_token="initial")

    await clock.advance(21 * 3600)

    assert await refusal(under_test) == "SESSION_EXPIRED"


async def test_a_token_that_the_broker_refuses_is_not_tried_again(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    under_test = sessions(store, clock)
    await store.save(session(clock=clock))
    token = await under_test.current()

    under_test.refused(token)

    assert await refusal(under_test) == "SESSION_EXPIRED"
    await clock.advance(60)
    assert await refusal(under_test) == "SESSION_EXPIRED"
    assert alerts(logs) == ["SESSION_EXPIRED"]


async def test_whoever_asks_first_makes_the_others_wait(
    clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    class SlowStore(InMemorySessions):
        async def newest(self, broker: str) -> BrokerSession | None:
            await asyncio.sleep(0.05)
            return await super().newest(broker)

    store = SlowStore()
    await store.save(session(clock=clock))
    under_test = sessions(store, clock)

    assert await asyncio.gather(*(under_test.current() for _ in range(5))) == [TOKEN] * 5
    assert alerts(logs) == []


async def test_two_dead_tokens_are_not_tried_in_turns(store: InMemorySessions, clock: FakeClock) -> None:
    under_test = sessions(store, clock, initial_token="initial")
    await store.save(session(clock=clock))

    tried = []
    for _ in range(2):
        tried.append(await under_test.current())
        under_test.refused(tried[-1])

    assert tried == [TOKEN, "initial"]
    assert await refusal(under_test) == "SESSION_EXPIRED"


async def test_a_new_login_resumes_and_the_next_end_is_told_again(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    under_test = sessions(store, clock)
    await store.save(session("first", clock=clock))
    under_test.refused(await under_test.current())
    await refusal(under_test)

    await store.save(session("second", clock=clock))
    await clock.advance(3)

    assert await under_test.current() == "second"
    assert not under_test.paused
    under_test.refused("second")
    await refusal(under_test)
    assert alerts(logs) == ["SESSION_EXPIRED"] * 2


async def test_a_refusal_of_an_old_token_does_not_touch_the_new_one(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    under_test = sessions(store, clock)
    await store.save(session("first", clock=clock))
    first = await under_test.current()
    await store.save(session("second", clock=clock))

    under_test.refused(first)  # by a call that was on its way

    # Whoever asks meanwhile waits for the look, and no false alarm is given.
    assert await asyncio.gather(*(under_test.current() for _ in range(5))) == ["second"] * 5
    assert alerts(logs) == []


async def test_a_store_that_is_down_does_not_stop_what_is_known(
    store: InMemorySessions, clock: FakeClock
) -> None:
    under_test = sessions(store, clock)
    await store.save(session(clock=clock))
    await under_test.current()
    store.down = True
    await clock.advance(60)

    assert await under_test.current() == TOKEN


async def test_a_store_that_was_never_up_is_told_apart(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    under_test = sessions(store, clock)
    store.down = True

    assert await refusal(under_test) == "SESSION_STORE_UNAVAILABLE"

    assert alerts(logs) == []
    store.down = False
    await clock.advance(3)
    assert await refusal(under_test) == "NO_SESSION"
    assert alerts(logs) == ["NO_SESSION"]


async def test_a_session_sealed_with_another_secret_is_none(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    await store.save(session(clock=clock, secrets=("another secret that is long enough..",)))

    assert await refusal(sessions(store, clock)) == "NO_SESSION"
    assert any("of no use" in line["event"] for line in logs)


async def test_no_token_is_shown(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    saved = session(clock=clock)
    await store.save(saved)
    under_test = sessions(store, clock, initial_token="planted-initial")
    await under_test.current()
    under_test.refused(TOKEN)
    under_test.refused(await under_test.current())
    await refusal(under_test)

    told = f"{logs} {under_test!r} {under_test._stored!r} {under_test._initial!r} {saved!r}"
    assert all(secret not in told for secret in (TOKEN, "planted-initial", *SECRETS))


# --- sealing


def test_what_is_sealed_can_be_opened_and_not_read() -> None:
    sealed = seal().seal(broker="zerodha", user_id="AB1234", token=TOKEN)

    assert TOKEN.encode() not in sealed
    assert seal().open(sealed, broker="zerodha", user_id="AB1234") == TOKEN
    assert sealed != seal().seal(broker="zerodha", user_id="AB1234", token=TOKEN)


def test_secrets_can_be_replaced_without_a_gap() -> None:
    old, new = "o" * 32, "n" * 32
    sealed = TokenSeal((old,)).seal(broker="zerodha", user_id="AB1234", token=TOKEN)

    assert TokenSeal((new, old)).open(sealed, broker="zerodha", user_id="AB1234") == TOKEN
    with pytest.raises(CannotOpen):
        TokenSeal((new,)).open(sealed, broker="zerodha", user_id="AB1234")


@pytest.mark.parametrize(("broker", "user_id"), [("kotak", "AB1234"), ("zerodha", "XY9999")])
def test_a_token_is_good_for_its_owner_only(broker: str, user_id: str) -> None:
    sealed = seal().seal(broker="zerodha", user_id="AB1234", token=TOKEN)

    with pytest.raises(CannotOpen):
        seal().open(sealed, broker=broker, user_id=user_id)


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff" * 40])
def test_what_is_damaged_cannot_be_opened(damage: bytes) -> None:
    sealed = seal().seal(broker="zerodha", user_id="AB1234", token=TOKEN)

    for bad in (damage, sealed[:-8] + damage, sealed[:40] + b"AAAA" + sealed[44:]):
        with pytest.raises(CannotOpen):
            seal().open(bad, broker="zerodha", user_id="AB1234")


def test_sessions_of_the_store_hold_no_token() -> None:
    row = session(clock=FakeClock())

    assert isinstance(row, BrokerSession)
    assert TOKEN not in repr(row)
    assert row.valid_until - FakeClock().now() == timedelta(hours=12)
