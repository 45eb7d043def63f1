"""A seat in a thread of its own: a strategy that sleeps or computes holds up nobody but itself.

A thread cannot be ended from outside. One that never comes back is left to itself, and nobody hears of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from pulse_background.market.messages import Answer, Message
from pulse_background.market.seat import Seat, SeatFailed

_Work = tuple[Sequence[Message], "asyncio.Future[None]"]


class SeatLine(Protocol):
    """The way to a seat, wherever it is."""

    async def call(self, *messages: Message) -> None:
        """Hand messages over and wait until they are worked on; answers are heard meanwhile, in order, on the
        event loop's thread. One call at a time.

        Raises:
            SeatFailed: the strategy raised, or its process is gone. Nothing more is to be handed over.
        """
        ...

    async def close(self) -> None:
        """End it, also in the middle of a call."""
        ...


class SeatThread:
    """Implements `SeatLine`. on_answer: hears what the strategy asks for."""

    def __init__(self, name: str, on_answer: Callable[[Answer], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_answer = on_answer
        self._inbox: SimpleQueue[_Work | None] = SimpleQueue()
        self._closed = False
        # As a daemon it does not keep the process from ending, should the strategy never return.
        self._thread = Thread(target=self._work, name=f"strategy {name}", daemon=True)
        self._thread.start()

    async def call(self, *messages: Message) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._inbox.put((messages, done))
        await done

    async def close(self) -> None:
        self._closed = True
        self._inbox.put(None)

    def _work(self) -> None:
        seat = Seat(lambda answer: self._on_loop(self._hear, answer))
        while (work := self._inbox.get()) is not None:
            messages, done = work
            error: SeatFailed | None = None
            try:
                for message in messages:
                    seat.take(message)
            except SeatFailed as failed:
                error = failed
            self._on_loop(_finish, done, error)

    def _hear(self, answer: Answer) -> None:
        if not self._closed:
            self._on_answer(answer)

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(call, *args)


def _finish(done: "asyncio.Future[None]", error: SeatFailed | None) -> None:
    if done.done():
        return  # nobody waits any more
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
