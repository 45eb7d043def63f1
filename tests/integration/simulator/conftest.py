"""A simulator for the tests of a module; each test begins with a market of its own making."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kiteconnect import KiteConnect

from tests.integration.simulator.process import KiteProcess


@pytest.fixture
def start_kite(tmp_path: Path) -> Iterator[Callable[..., KiteProcess]]:
    """Start simulators that end with the test."""
    started: list[KiteProcess] = []

    def start(*more: str, **options: object) -> KiteProcess:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        process = KiteProcess(folder, *more, **options)  # type: ignore[arg-type]
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="module")
def shared_kite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KiteProcess]:
    process = KiteProcess(tmp_path_factory.mktemp("kite")).start()
    yield process
    process.stop()


@pytest.fixture
def kite_process(shared_kite: KiteProcess) -> KiteProcess:
    """A simulator where nothing goes wrong and INFY stands at 1500, without delays and limits."""
    shared_kite.control("DELETE", "/faults")
    shared_kite.pin("NSE:INFY", "1500", "1499.90", "1500.00")
    return shared_kite


@pytest.fixture
def kite(kite_process: KiteProcess) -> KiteConnect:
    return kite_process.client()
