"""The SDK, in the threads of the lanes: each has a client of its own."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx
import msgspec

from pulse_adapters.kotak.connections import CallTransport
from pulse_adapters.kotak.outcomes import Answer, Ending, Refused
from pulse_adapters.kotak.sdk import NeoClient
from pulse_adapters.kotak.sessions import NeoSession
from pulse_adapters.real_broker.calls import NotSent, Unanswered
from pulse_adapters.real_broker.connections import Call
from pulse_adapters.real_broker.lanes import Lane, Lanes
from pulse_domain.ports.clock import Clock


class Line:
    """pool_size: how many orders may be on their way at once."""

    def __init__(self, *, access_token: str, login_url: str, clock: Clock, pool_size: int = 10) -> None:
        self._access_token = access_token
        self._login_url = login_url
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._lanes = Lanes(clock, name="neo", pool_size=pool_size)
        self._local = threading.local()
        self._transports: list[CallTransport] = []

    async def run(
        self,
        lane: Lane,
        work: Callable[[NeoClient], object],
        *,
        session: NeoSession | None,
        timeout_s: float,
    ) -> Ending:
        """Do `work`, one request by a client, and tell how it ended: within `timeout_s`, whatever happens."""
        return await self._lanes.run(lane, lambda call: self._send(call, work, session), timeout_s=timeout_s)

    async def close(self) -> None:
        """Cut off what is on its way and end all connections."""
        await self._lanes.close()
        for transport in self._transports:
            transport.close()

    # --- in a thread of a lane

    def _send(self, call: Call, work: Callable[[NeoClient], object], session: NeoSession | None) -> Ending:
        said: object
        try:
            client = self._client()
            if session is not None:
                client.use(session)
            said = work(client)
        except Exception as error:  # what happened is known by the call; the SDK's errors are of any kind
            said = error
        return _ending(call, said)

    def _client(self) -> NeoClient:
        client: NeoClient | None = getattr(self._local, "client", None)
        if client is None:
            transport = CallTransport(self._tls, self._login_url)
            self._transports.append(transport)
            client = self._local.client = NeoClient(self._access_token, transport)
        return client


def _ending(call: Call, said: object) -> Ending:
    if call.answer is not None:
        said = _json(call.answer.body)
        return Answer(
            status=call.answer.status,
            body=said if isinstance(said, dict) else None,
            items=said if isinstance(said, list) else None,
        )
    if call.sent:
        return Unanswered(reason_code=call.failure or "CONNECTION_LOST", ended=True)
    if call.failure is not None:
        return NotSent(call.failure)
    return Refused(_words(said))


def _json(content: bytes) -> object:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(content)
    return None


def _words(said: object) -> str:
    """The SDK returns its errors, under one of several keys, as exceptions or texts or lists."""
    if isinstance(said, Mapping):
        said = next(iter(said.values()), "")
    return str(said)[:200]
