"""Bytes that are no prices, and prices that nobody wants."""

import json
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from pulse_domain.errors import FeedRefused
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from tests.integration.feeds.faulty import Face, KiteFace
from tests.integration.feeds.making import (
    INFY,
    TCS,
    UNLISTED,
    zerodha_feed,
)
from tests.integration.feeds.rig import faces, rig, seen, tick, until


def _garbage(face: Face, dice: Random) -> list[bytes | str]:
    whole = face.frame(tick(0), tick(0, instrument=TCS))
    torn = [whole[:cut] for cut in range(3, len(whole), 7)]
    noise = [dice.randbytes(dice.randrange(3, 300)) for _ in range(100)]
    texts = ["{", "nonsense", "[]", "null", "7", '{"type": 5}', "[" * 100_000, '{"message_code": "x"}']
    return [*torn, *noise, *texts]


def _latest_is(taken: list[Tick], price: int) -> bool:
    return bool(taken) and taken[-1].price == price


@faces
async def test_garbage_and_torn_packets_are_counted_and_harm_nothing(face: Callable[[], Face]) -> None:
    async with rig(made := face()) as it:
        await it.connected()
        dice = Random(20)
        for number, message in enumerate(_garbage(made, dice)):
            await it.server.say(message)
            if number % 10 == 0:
                # A good one among the bad. Bytes that happen to be a price are one.
                await it.server.send(tick(number, price=2000 + number))
                await until(partial(_latest_is, it.kept.taken, 2000 + number))
        figures = it.feed.figures()

    assert figures.connects == 1
    assert figures.bad > 50
    assert figures.ticks == len(it.kept.taken)


@faces
async def test_prices_of_others_and_prices_of_nothing_are_left_out(face: Callable[[], Face]) -> None:
    async with rig(face()) as it:
        await it.connected()
        it.feed.subscribe([INFY])
        await until(lambda: it.server.subscribed[-1] == {it.tokens[INFY]})
        await it.server.send(tick(0, instrument=TCS), tick(0, price=0), tick(1))
        await until(lambda: it.kept.taken)
        figures = it.feed.figures()

    assert seen(it.kept.taken) == seen([tick(1)])
    assert (figures.unknown, figures.ticks, figures.bad) == (1, 1, 0)


async def test_orders_and_notices_on_the_ticker_are_no_garbage() -> None:
    async with rig(KiteFace()) as it:
        await it.connected()
        for kind in ("order", "message", "error"):
            await it.server.say(json.dumps({"type": kind, "data": "planted", "id": ""}))
        await it.send(tick(0))

    assert it.feed.figures().bad == 0


async def test_what_the_broker_does_not_list_is_named_and_the_rest_has_prices() -> None:
    async with rig(KiteFace()) as it:
        it.feed.subscribe([INFY, TCS, UNLISTED])
        await it.connected()
        await it.send(tick(0))
        await until(lambda: it.feed.unlisted == {UNLISTED})


async def test_more_than_a_connection_takes_is_refused() -> None:
    feed = await zerodha_feed("http://127.0.0.1:1", "token")

    with pytest.raises(FeedRefused, match="3000 instruments at most, not of 3001"):
        feed.subscribe(Instrument.parse(f"NSE:S{number}") for number in range(3001))
