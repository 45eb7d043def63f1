"""A simulator for the tests of a module; each test begins with a market of its own making."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kiteconnect import KiteConnect

from tests.integration.simulator.neo import KotakProcess
from tests.integration.simulator.process import KiteProcess


@pytest.fixture
def start_kite(tmp_path: Path) -> Iterator[Callable[..., KiteProcess]]:
    """Start simulators that end with the test."""
    started: list[KiteProcess] = []

    def start(*more: str, **options: object) -> KiteProcess:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        process = KiteProcess(folder, *more, **options)
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


@pytest.fixture
def start_kotak(tmp_path: Path) -> Iterator[Callable[..., KotakProcess]]:
    """Start simulators that end with the test."""
    started: list[KotakProcess] = []

    def start(*more: str, **options: object) -> KotakProcess:
        folder = tmp_path / f"kotak-{len(started)}"
        folder.mkdir()
        process = KotakProcess(folder, *more, **options)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="module")
def shared_kotak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KotakProcess]:
    process = KotakProcess(tmp_path_factory.mktemp("kotak")).start()
    yield process
    process.stop()


@pytest.fixture
def kotak_process(shared_kotak: KotakProcess) -> KotakProcess:
    """A simulator where nothing goes wrong and INFY stands at 1500, without delays and limits."""
    shared_kotak.control("DELETE", "/faults")
    shared_kotak.control("POST", "/session", {"is_open": True})
    shared_kotak.pin("NSE:INFY", "1500", "1499.90", "1500.00")
    return shared_kotak


@pytest.fixture
def neo(kotak_process: KotakProcess) -> Any:
    return kotak_process.client()
