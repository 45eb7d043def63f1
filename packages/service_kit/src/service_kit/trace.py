"""The two ids that join the log lines, rows and messages of one story.

A request id names one call from outside, a trace id the whole chain of calls it belongs to. Both come from
the caller where they are well formed, and are made here where not; what was refused is repeated to nobody.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeGuard

REQUEST_ID_HEADER = "x-request-id"
TRACE_ID_HEADER = "x-trace-id"

Random = Callable[[int], bytes]

_REQUEST_ID, _TRACE_ID, _TRACEPARENT = REQUEST_ID_HEADER.encode(), TRACE_ID_HEADER.encode(), b"traceparent"
_READ = frozenset((_REQUEST_ID, _TRACE_ID, _TRACEPARENT))

_match_id = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch
# W3C trace context: version, trace id, parent id, flags. Version 00 ends there, a higher one may go on; ff is
# not a version.
_match_traceparent = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.DOTALL
).fullmatch


class Ids(NamedTuple):
    request_id: str
    trace_id: str


# The asgi and dramatiq modules set it themselves; everybody else uses `bind` and `current`.
CURRENT: ContextVar[Ids | None] = ContextVar("ids", default=None)


def current() -> Ids | None:
    return CURRENT.get()


@contextmanager
def bind(ids: Ids) -> Iterator[Ids]:
    """Make `ids` the current ones inside the block, and bring back the former ones after it."""
    token = CURRENT.set(ids)
    try:
        yield ids
    finally:
        CURRENT.reset(token)


def new_request_id(random: Random = os.urandom) -> str:
    return "req_" + random(16).hex()


def new_trace_id(random: Random = os.urandom) -> str:
    return random(16).hex()


def is_valid(given: object) -> TypeGuard[str]:
    return isinstance(given, str) and _match_id(given) is not None


def adopt(request_id: object, trace_id: object) -> Ids:
    """Take over ids from outside; a missing or malformed one is replaced by a new one."""
    return Ids(
        request_id if is_valid(request_id) else new_request_id(),
        trace_id if is_valid(trace_id) else new_trace_id(),
    )


def from_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Ids, list[str]]:
    """Read the ids from ASGI headers, and name the id headers that were refused.

    The trace id is that of `X-Trace-Id`, else that of a valid `traceparent`, else new.
    """
    given: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            # A header given twice is joined, as a proxy would, and then is not well formed.
            given[name] = given[name] + b"," + value if name in given else value
    if not given:
        return adopt(None, None), []

    texts = {name: value.decode("latin-1") for name, value in given.items()}
    request_id, trace_id = texts.get(_REQUEST_ID), texts.get(_TRACE_ID)
    refused = []
    if request_id is not None and not is_valid(request_id):
        refused.append(REQUEST_ID_HEADER)
    if trace_id is not None and not is_valid(trace_id):
        refused.append(TRACE_ID_HEADER)
    if not is_valid(trace_id) and (parent := _match_traceparent(given.get(_TRACEPARENT, b""))):
        trace_id = parent[1].decode()
    return adopt(request_id, trace_id), refused
