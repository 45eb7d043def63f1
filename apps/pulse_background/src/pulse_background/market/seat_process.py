"""A seat in a process of its own, for strategies that compute for long, and for the files of users.

The process is told nothing but messages, over a pair of sockets, and its environment holds no secret of ours.
It ends with its socket, so it does not outlive whoever started it.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import msgspec

from pulse_background.market.messages import Answer, Done, Failed, Message
from pulse_background.market.seat import SeatFailed

HEAD = 4  # bytes that tell how long a frame is
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ")

encode = msgspec.msgpack.Encoder().encode
decode_messages = msgspec.msgpack.Decoder(tuple[Message, ...]).decode
decode_answer: Callable[[bytes], Answer] = msgspec.msgpack.Decoder(Answer).decode


def frame(content: object) -> bytes:
    body = encode(content)
    return len(body).to_bytes(HEAD) + body


class SeatProcess:
    """Implements `SeatLine`; `start` makes one.

    on_gone: called once if the process ends while nobody has asked it to, with what is known of why.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_answer: Callable[[Answer], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._process = process
        self._reader, self._writer = reader, writer
        self._on_answer = on_answer
        self._closed = False
        self._watching = asyncio.create_task(self._watch(on_gone), name="strategy-process")

    @classmethod
    async def start(cls, on_answer: Callable[[Answer], None], on_gone: Callable[[str], None]) -> "SeatProcess":
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "pulse_background.market.seat_worker", str(theirs.fileno()),
                pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if name in _PASSED_ON},
            )  # fmt: skip
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer, on_answer, on_gone)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def call(self, *messages: Message) -> None:
        try:
            self._writer.write(frame(messages))
            await self._writer.drain()
            while True:
                size = int.from_bytes(await self._reader.readexactly(HEAD))
                answer = decode_answer(await self._reader.readexactly(size))
                if isinstance(answer, Done):
                    return
                if isinstance(answer, Failed):
                    raise SeatFailed(answer.text)
                if not self._closed:
                    self._on_answer(answer)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise SeatFailed(_ended(await self._process.wait())) from error

    async def close(self) -> None:
        self._closed = True
        self._watching.cancel()
        self._writer.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self, on_gone: Callable[[str], None]) -> None:
        code = await self._process.wait()
        if not self._closed:
            on_gone(_ended(code))


def _ended(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process has ended with {code}"
