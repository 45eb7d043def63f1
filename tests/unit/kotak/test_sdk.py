"""What loading the SDK does to the process: a stand-in that does at its import what the SDK does."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from pulse_adapters.kotak.sdk import load_sdk

INIT = """
import logging, os, sys
import structlog

if os.getenv("NEO_LOG_FILE_ENABLED", "true") == "true":
    raise AssertionError("it would open a log file in the working directory")
structlog.configure(processors=[structlog.processors.JSONRenderer()], cache_logger_on_first_use=True)
logging.getLogger("neo_api_client").addHandler(logging.StreamHandler(sys.stdout))
from neo_api_client import rest
"""
REST = """
import structlog

logger = structlog.get_logger("neo_api_client.rest")

def request():
    logger.error("api_error_response", body={"mpin": "planted"})
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "neo_api_client"
    package.mkdir()
    (package / "__init__.py").write_text(INIT)
    (package / "rest.py").write_text(REST)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NEO_LOG_FILE_ENABLED", "")
    monkeypatch.delenv("NEO_LOG_FILE_ENABLED")
    real = {name: sys.modules.pop(name) for name in tuple(sys.modules) if name.startswith("neo_api_client")}
    config, was_configured = structlog.get_config(), structlog.is_configured()
    yield
    for name in [name for name in sys.modules if name.startswith("neo_api_client")]:
        del sys.modules[name]
    sys.modules.update(real)
    structlog.reset_defaults()
    if was_configured:
        structlog.configure(**config)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("configured", [True, False])
def test_the_process_keeps_its_logging(configured: bool) -> None:
    structlog.reset_defaults()
    if configured:
        structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    before = structlog.get_config()["processors"]

    load_sdk()

    assert structlog.is_configured() is configured
    assert structlog.get_config()["processors"] == before
    assert logging.getLogger("neo_api_client").handlers == []
    assert os.environ["NEO_LOG_FILE_ENABLED"] == "false"


@pytest.mark.usefixtures("stand_in")
def test_the_sdk_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    load_sdk()

    with structlog.testing.capture_logs() as logs:
        sys.modules["neo_api_client.rest"].request()

    assert logs == []
    assert "planted" not in str(capfd.readouterr())


@pytest.mark.usefixtures("stand_in")
def test_loading_it_twice_is_loading_it_once() -> None:
    assert load_sdk() is load_sdk()
