"""What every store of broker sessions promises."""

from datetime import UTC, datetime, timedelta

import pytest

from pulse_domain.ports.broker_sessions import BrokerSession, BrokerSessions

_UNTIL = datetime(2026, 1, 6, 0, 30, tzinfo=UTC)


class BrokerSessionsContract:
    """Subclass it and override `sessions`, empty at every test."""

    @pytest.fixture
    def sessions(self) -> BrokerSessions:
        pytest.fail("a subclass overrides this fixture")

    async def test_nothing_is_the_newest_of_a_broker_without_sessions(self, sessions: BrokerSessions) -> None:
        assert await sessions.newest("zerodha") is None

    async def test_a_session_comes_back_as_it_was_saved(self, sessions: BrokerSessions) -> None:
        saved = _session(b"\x00sealed\xff")

        await sessions.save(saved)

        read = await sessions.newest("zerodha")
        assert read == saved
        assert read is not None
        assert read.valid_until.tzinfo is not None

    async def test_the_session_saved_last_wins(self, sessions: BrokerSessions) -> None:
        for number in range(3):
            # Each valid for a shorter time than the one before, and of another user.
            await sessions.save(_session(b"%d" % number, user_id=f"U{number}", hours=-number))

        read = await sessions.newest("zerodha")
        assert read is not None
        assert (read.user_id, read.sealed_token) == ("U2", b"2")

    async def test_an_expired_session_is_still_the_newest(self, sessions: BrokerSessions) -> None:
        await sessions.save(_session(b"old", hours=-24 * 365 * 10))

        assert await sessions.newest("zerodha") is not None

    async def test_brokers_have_sessions_of_their_own(self, sessions: BrokerSessions) -> None:
        await sessions.save(_session(b"mine"))
        await sessions.save(_session(b"other", broker="kotak"))

        read = await sessions.newest("zerodha")
        assert read is not None
        assert read.sealed_token == b"mine"

    async def test_saving_twice_is_harmless(self, sessions: BrokerSessions) -> None:
        for _ in range(2):
            await sessions.save(_session(b"sealed"))

        assert await sessions.newest("zerodha") == _session(b"sealed")


def _session(
    sealed: bytes, *, broker: str = "zerodha", user_id: str = "AB1234", hours: float = 0
) -> BrokerSession:
    return BrokerSession(
        broker=broker, user_id=user_id, sealed_token=sealed, valid_until=_UNTIL + timedelta(hours=hours)
    )
