"""The real children of the supervisor: processes of ours behind a guard, and the embedded servers."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from pulse import child_guard
from pulse.supervisor import ChildFailed
from pulse_adapters.embedded import EmbeddedServerError
from pulse_adapters.embedded.guard import alive
from pulse_domain.ports.clock import Clock

READY_S = 60.0
_READY_CHECK_S = 0.1
_ALIVE_CHECK_S = 0.3
# The guard kills after its own time is over; this is for a guard that does not.
_GUARD_MORE_S = 5.0
_LINE_MAX = 1 << 16


class ProcessChild:
    """A process of ours, whose output is told line by line.

    is_ready: asked again and again after a start.
    graceful_s: how long it may take to end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        clock: Clock,
        *,
        is_ready: Callable[[], Awaitable[bool]],
        tell: Callable[[str, str], None],
        graceful_s: float,
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self._command = command
        self._environ = environ
        self._clock = clock
        self._is_ready = is_ready
        self._tell = tell
        self._graceful_s = graceful_s
        self._guard: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        guard = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", child_guard.__file__, str(self._graceful_s), *self._command,
            env=self._environ, stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True,
        )  # fmt: skip
        self._guard = guard
        self._reading = asyncio.create_task(self._read(guard), name=f"output-of-{self.name}")
        try:
            await self._become_ready(guard)
        except BaseException:
            await self.stop()
            raise

    async def ended(self) -> str:
        assert self._guard is not None
        code = await self._guard.wait()
        await self._output_told()
        self.pid = None
        return _how(code)

    async def stop(self) -> None:
        guard = self._guard
        if guard is None:
            return
        if guard.returncode is None:
            with suppress(ProcessLookupError):
                guard.terminate()
            try:
                async with asyncio.timeout(self._graceful_s + _GUARD_MORE_S):
                    await guard.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    guard.kill()
                await guard.wait()
        await self._output_told()
        self.pid = None

    async def _become_ready(self, guard: Process) -> None:
        deadline = self._clock.monotonic() + READY_S
        while guard.returncode is None:
            # Its id is its first line; before that an old process might answer in its place.
            if self.pid is not None and await self._is_ready():
                return
            if self._clock.monotonic() > deadline:
                raise ChildFailed(f"was not ready within {READY_S:g} s")
            await self._clock.sleep(_READY_CHECK_S)
        raise ChildFailed(_how(guard.returncode))

    async def _read(self, guard: Process) -> None:
        assert guard.stdout is not None
        first = True
        async for line in _lines(guard.stdout):
            if first and line.isdigit():
                self.pid = int(line)
            else:
                self._tell(self.name, line)
            first = False

    async def _output_told(self) -> None:
        if self._reading is not None:
            # Somebody else may hold the other end open; that is not waited for.
            await asyncio.wait({self._reading}, timeout=1)
            self._reading.cancel()


class Server(Protocol):
    """What `EmbeddedPostgres` and `EmbeddedRedis` have in common."""

    @property
    def pid(self) -> int | None: ...

    def resume(self) -> None: ...

    def stop(self) -> None: ...


class ServerChild:
    """An embedded server, which has a guard already. start: blocks until it accepts connections."""

    def __init__(self, name: str, start: Callable[[], Server], clock: Clock) -> None:
        self.name = name
        self._start = start
        self._clock = clock
        self._server: Server | None = None

    @property
    def pid(self) -> int | None:
        return None if self._server is None else self._server.pid

    async def start(self) -> None:
        starting = asyncio.ensure_future(asyncio.to_thread(self._run))
        try:
            await asyncio.shield(starting)
        except EmbeddedServerError as error:
            raise ChildFailed(f"cannot run: {error}") from error
        except asyncio.CancelledError:
            await asyncio.wait({starting})  # a thread cannot be cut short; stop() then has what to stop
            raise

    async def ended(self) -> str:
        while self.pid is not None and alive(self.pid):
            await self._clock.sleep(_ALIVE_CHECK_S)
        return "ended"

    async def stop(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    def _run(self) -> None:
        if self._server is None:
            self._server = self._start()
        else:
            self._server.resume()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines however long; one without an end is cut."""
    buffer = b""
    while piece := await stream.read(_LINE_MAX):
        *lines, buffer = (buffer + piece).split(b"\n")
        if len(buffer) > _LINE_MAX:
            lines.append(buffer)
            buffer = b""
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r")
    if buffer:
        yield buffer.decode(errors="replace")


def _how(code: int) -> str:
    return f"was ended by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
