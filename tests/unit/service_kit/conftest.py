import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.stdlib import ProcessorFormatter

from service_kit import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where `configure` wrote to; logging is put back as it was."""
    root = logging.getLogger()
    talkative = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "uvicorn.access")}
    level, raising = root.level, logging.raiseExceptions
    stream = io.StringIO()
    logs.configure("shop", stream=stream)
    yield stream
    # Those of pytest come and go with each phase of a test.
    root.handlers[:] = [it for it in root.handlers if not isinstance(it.formatter, ProcessorFormatter)]
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name, former in talkative.items():
        logging.getLogger(name).setLevel(former)
    structlog.reset_defaults()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
