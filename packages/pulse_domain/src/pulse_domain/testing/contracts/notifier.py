"""What every notifier promises."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from pulse_domain.ports.notifier import Notification, NotificationKind, Notifier, Severity

# The texts that came out at the other end so far, all in one.
Received = Callable[[], Awaitable[str]]


def _note(about: str, severity: Severity = Severity.LOW) -> Notification:
    return Notification(
        kind=NotificationKind.FILL,
        severity=severity,
        about=about,
        parts={"quantity": 10, "price": Decimal("402.35"), "side": "BUY"},
    )


class NotifierContract:
    """Subclass it and override `notifier`, which keeps fewer than 2000 LOW ones waiting, and `received`."""

    @pytest.fixture
    def notifier(self) -> Notifier:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def received(self) -> Received:
        pytest.fail("a subclass overrides this fixture")

    @pytest.mark.parametrize("kind", NotificationKind)
    @pytest.mark.parametrize("severity", Severity)
    async def test_every_kind_is_told(
        self, notifier: Notifier, received: Received, kind: NotificationKind, severity: Severity
    ) -> None:
        notifier.notify(Notification(kind=kind, severity=severity, about="NSE:TCS", parts={"reason": "why"}))

        await notifier.close()

        text = await received()
        assert "NSE:TCS" in text
        assert "why" in text

    async def test_values_are_told_as_they_are(self, notifier: Notifier, received: Received) -> None:
        notifier.notify(_note("<b>&\u20b9 *_[x](y)"))

        await notifier.close()

        text = await received()
        for part in ("<b>&\u20b9 *_[x](y)", "10", "402.35", "BUY"):
            assert part in text

    async def test_order_is_kept(self, notifier: Notifier, received: Received) -> None:
        names = [f"NAME-{number:03}" for number in range(50)]
        for name in names:
            notifier.notify(_note(name))

        await notifier.close()

        text = await received()
        places = [text.index(name) for name in names]
        assert places == sorted(places)

    async def test_what_matters_is_told_through_a_flood_of_the_rest(
        self, notifier: Notifier, received: Received
    ) -> None:
        for number in range(2000):
            notifier.notify(_note(f"LOW-{number:04}"))
        for number in range(20):
            notifier.notify(_note(f"HIGH-{number:04}", Severity.HIGH))

        await notifier.close()

        text = await received()
        assert all(f"HIGH-{number:04}" in text for number in range(20))
        assert "LOW-1999" not in text

    async def test_telling_neither_waits_nor_raises_after_the_end(self, notifier: Notifier) -> None:
        await notifier.close()

        notifier.notify(_note("late"))
        notifier.notify(_note("late", Severity.HIGH))

    async def test_closing_twice_ends(self, notifier: Notifier) -> None:
        notifier.notify(_note("once"))

        await asyncio.wait_for(notifier.close(), timeout=30)
        await asyncio.wait_for(notifier.close(), timeout=30)
