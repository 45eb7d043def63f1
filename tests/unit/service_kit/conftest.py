import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kept_logging import logging_of

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where `configure` wrote to; logging is put back as it was."""
    with logging_of("shop") as stream:
        yield stream


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
