"""When the cluster opens the next day at its exchange."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest_asyncio

from pulse.exchange_session import AFTER_END_S, CHECK_S, keep_day_open
from pulse_adapters.zerodha.login import LoginFailed
from pulse_domain.testing.fake_clock import FakeClock

DAY_S = 3600.0


class Exchange:
    """Its days last an hour; `failures` logins in a row fail."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.opened: list[datetime] = []
        self.failures = 0
        self.said: list[str] = []

    async def open_next(self) -> datetime:
        if self.failures > 0:
            self.failures -= 1
            raise LoginFailed("it does not answer")
        self.opened.append(self.clock.now())
        return self.clock.now() + timedelta(seconds=DAY_S)


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    until = exchange.clock.now() + timedelta(seconds=DAY_S)
    keeping = asyncio.create_task(
        keep_day_open(exchange.clock, until, exchange.open_next, exchange.said.append)
    )
    yield exchange
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_day_is_opened_once_and_not_before_the_old_one_has_surely_ended(exchange: Exchange) -> None:
    began = exchange.clock.now()
    await exchange.clock.advance(DAY_S + AFTER_END_S - 1)
    before = list(exchange.opened)
    await exchange.clock.advance(DAY_S / 2)

    assert before == []
    [opened] = exchange.opened
    assert AFTER_END_S <= (opened - began).total_seconds() - DAY_S <= AFTER_END_S + CHECK_S
    assert exchange.said == ["a new day's session at the exchange is open"]


async def test_a_login_that_fails_is_tried_again(exchange: Exchange) -> None:
    exchange.failures = 2
    await exchange.clock.advance(DAY_S + AFTER_END_S + 3 * CHECK_S)

    assert len(exchange.opened) == 1
    assert exchange.said[0] == "there is no new session at the exchange yet: LoginFailed"
    assert len(exchange.said) == 3
