"""Simulators for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.integration.simulator.neo import KotakProcess
from tests.integration.simulator.process import KiteProcess


@pytest.fixture(scope="module")
def kite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KiteProcess]:
    process = KiteProcess(tmp_path_factory.mktemp("kite")).start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def kotak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KotakProcess]:
    process = KotakProcess(tmp_path_factory.mktemp("kotak")).start()
    yield process
    process.stop()
