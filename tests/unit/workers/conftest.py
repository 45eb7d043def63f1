import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.stdlib import ProcessorFormatter

from service_kit import configure
from tests.unit.workers.floor import Floor, left_tidy


@pytest.fixture
async def floor() -> AsyncIterator[Floor]:
    async with left_tidy():
        yield Floor()


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the process has logged so far; logging is put back as it was."""
    root = logging.getLogger()
    talkative = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "uvicorn.access")}
    level, raising = root.level, logging.raiseExceptions
    stream = io.StringIO()
    configure("pulse_background", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = [it for it in root.handlers if not isinstance(it.formatter, ProcessorFormatter)]
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name, former in talkative.items():
        logging.getLogger(name).setLevel(former)
    structlog.reset_defaults()
