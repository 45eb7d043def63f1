import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.kept_logging import logging_of
from tests.unit.workers.floor import Floor, left_tidy


@pytest.fixture
async def floor() -> AsyncIterator[Floor]:
    async with left_tidy():
        yield Floor()


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the process has logged so far; logging is put back as it was."""
    with logging_of("pulse_background") as stream:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
