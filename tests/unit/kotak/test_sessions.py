"""Which session is used, and what happens without one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from pulse_adapters.kotak.sessions import BROKER, KotakSessions
from pulse_adapters.real_broker.sessions import session_ends_at
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.ports.broker_sessions import BrokerSession
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.unit.kotak.make import PLANTED, TOKEN, UCC, neo_session, seal, stored


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


def sessions(
    store: InMemorySessions,
    clock: FakeClock,
    renew: Callable[[], Awaitable[bool]] | None = None,
    refresh_s: float = 2.0,
) -> KotakSessions:
    return KotakSessions(store, seal(), clock, renew=renew, refresh_s=refresh_s)


async def refusal(under_test: KotakSessions) -> str:
    with pytest.raises(BrokerUnavailable) as refused:
        await under_test.current()
    return refused.value.reason_code


@pytest.mark.parametrize(
    ("login", "ends"),
    [
        ("2026-01-05T09:00:00+05:30", "2026-01-06T06:00:00+05:30"),
        ("2026-01-05T05:59:59+05:30", "2026-01-05T06:00:00+05:30"),
        ("2026-01-05T06:00:00+05:30", "2026-01-06T06:00:00+05:30"),
        ("2026-12-31T20:00:00+00:00", "2027-01-01T06:00:00+05:30"),
    ],
)
def test_a_session_ends_before_the_next_trading_day(login: str, ends: str) -> None:
    assert session_ends_at(datetime.fromisoformat(login).astimezone(UTC)) == datetime.fromisoformat(ends)


async def test_the_newest_wins_within_the_refresh(store: InMemorySessions, clock: FakeClock) -> None:
    under_test = sessions(store, clock)
    await store.save(stored(neo_session(token="first"), clock=clock))
    before = await under_test.current()
    await store.save(stored(neo_session(token="second"), clock=clock))

    await clock.advance(1.9)
    kept = await under_test.current()
    await clock.advance(0.2)

    after = await under_test.current()
    assert (before.token, kept.token, after.token) == ("first", "first", "second")
    assert await under_test.is_open()


async def test_without_a_session_nothing_is_sent_and_it_is_told_once(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    under_test = sessions(store, clock, refresh_s=0)

    assert [await refusal(under_test) for _ in range(3)] == ["NO_SESSION"] * 3
    assert not await under_test.is_open()
    assert under_test.paused
    await store.save(stored(neo_session(), clock=clock))
    assert (await under_test.current()).token == TOKEN
    assert not under_test.paused
    assert [line["log_level"] for line in logs] == ["error", "info"]


async def test_a_session_that_is_over_is_not_used(store: InMemorySessions, clock: FakeClock) -> None:
    await store.save(stored(neo_session(), clock=clock, hours=1))
    under_test = sessions(store, clock)
    await under_test.current()

    await clock.advance(3600)

    assert await refusal(under_test) == "SESSION_EXPIRED"


async def test_a_session_that_the_broker_refused_is_dead(store: InMemorySessions, clock: FakeClock) -> None:
    await store.save(stored(neo_session(), clock=clock))
    under_test = sessions(store, clock)

    under_test.refused(await under_test.current())

    assert await refusal(under_test) == "SESSION_EXPIRED"
    await store.save(stored(neo_session(token="new"), clock=clock))
    await clock.advance(3)
    assert (await under_test.current()).token == "new"


async def test_an_unreachable_store_is_not_a_missing_session(store: InMemorySessions, clock: FakeClock) -> None:
    await store.save(stored(neo_session(), clock=clock))
    known, unknown = sessions(store, clock, refresh_s=0), sessions(store, clock, refresh_s=0)
    await known.current()
    store.down = True

    assert (await known.current()).token == TOKEN
    assert await refusal(unknown) == "SESSION_STORE_UNAVAILABLE"
    assert not unknown._renewing


@pytest.mark.parametrize("token", ["not json", '{"token":1}'])
async def test_what_cannot_be_opened_is_no_session(
    store: InMemorySessions, clock: FakeClock, logs: list[MutableMapping[str, Any]], token: str
) -> None:
    sealed = seal().seal(broker=BROKER, user_id=UCC, token=token)
    whole = stored(neo_session(), clock=clock)
    await store.save(
        BrokerSession(broker=BROKER, user_id=UCC, sealed_token=sealed, valid_until=whole.valid_until)
    )
    assert await refusal(sessions(store, clock)) == "NO_SESSION"

    await store.save(
        BrokerSession(
            broker=BROKER, user_id="OTHER", sealed_token=whole.sealed_token, valid_until=whole.valid_until
        )
    )
    assert await refusal(sessions(store, clock)) == "NO_SESSION"
    assert not any(secret in str(logs) for secret in PLANTED)


async def test_a_process_that_may_logs_in_by_itself(store: InMemorySessions, clock: FakeClock) -> None:
    async def renew() -> bool:
        await store.save(stored(neo_session(), clock=clock))
        return True

    under_test = sessions(store, clock, renew)

    assert await refusal(under_test) == "NO_SESSION"
    await asyncio.sleep(0.01)
    assert (await under_test.current()).token == TOKEN
    await under_test.close()


async def test_it_waits_between_tries(store: InMemorySessions, clock: FakeClock) -> None:
    tries: list[None] = []

    async def renew() -> bool:
        tries.append(None)
        if len(tries) > 1:
            raise RuntimeError("planted")
        return True

    under_test = sessions(store, clock, renew)
    for seconds in (0, 30, 29, 2, 59):
        await clock.advance(seconds)
        await refusal(under_test)
        await asyncio.sleep(0.01)

    assert len(tries) == 2


async def test_it_does_not_try_again_what_the_broker_refused(store: InMemorySessions, clock: FakeClock) -> None:
    tries: list[None] = []

    async def renew() -> bool:
        tries.append(None)
        return False

    under_test = sessions(store, clock, renew)
    for _ in range(3):
        await refusal(under_test)
        await asyncio.sleep(0.01)
        await clock.advance(100)

    assert len(tries) == 1


async def test_a_login_on_its_way_ends_with_the_process(store: InMemorySessions, clock: FakeClock) -> None:
    async def renew() -> bool:
        await asyncio.Event().wait()
        return True

    under_test = sessions(store, clock, renew)
    await refusal(under_test)

    async with asyncio.timeout(1):
        await under_test.close()


def test_a_session_does_not_show_its_token() -> None:
    assert "planted" not in f"{neo_session()!r} {neo_session()} {[neo_session()]}"
