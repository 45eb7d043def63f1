"""From the simulated Kotak to a first paper order, by the commands of its guide."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulse.simulate import (
    DEFAULT_ACCESS_TOKEN,
    DEFAULT_MOBILE_NUMBER,
    DEFAULT_MPIN,
    DEFAULT_TOTP_SEED,
    DEFAULT_UCC,
)
from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.acceptance.conftest import PULSE, Services, migrate
from tests.integration.simulator.neo import KotakProcess


@pytest.fixture
def kotak(tmp_path: Path) -> Iterator[KotakProcess]:
    process = KotakProcess(tmp_path, delays=True, limits=True).start()
    yield process
    process.stop()


def test_a_paper_order_by_the_commands_of_the_guide(
    kotak: KotakProcess, own_postgres: EmbeddedPostgres, own_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    environ = {
        "BROKER_SESSION_SECRETS": "s" * 32,
        "BROKER_TYPE": "kotak",
        "KOTAK_LOGIN_URL": kotak.url,
        "KOTAK_BASE_URL": kotak.url,
        "KOTAK_ACCESS_TOKEN": DEFAULT_ACCESS_TOKEN,
        "KOTAK_MOBILE_NUMBER": DEFAULT_MOBILE_NUMBER,
        "KOTAK_UCC": DEFAULT_UCC,
        "KOTAK_MPIN": DEFAULT_MPIN,
        "KOTAK_TOTP_SEED": DEFAULT_TOTP_SEED,
        "OUTSIDE_SESSION": "accept",
    }
    migrate(own_postgres.dsn)

    def pulse(*arguments: str) -> str:
        done = subprocess.run(
            [PULSE, *arguments], env={**os.environ, **environ, "DATABASE_URL": own_postgres.dsn},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    logged_in = pulse("broker", "login", "kotak")
    synced = pulse("instruments", "sync", "--broker", "kotak")
    services = Services(own_postgres.dsn, own_redis.url, tmp_path, **environ)
    try:
        services.start()
        answer = services.place("paper", instrument="NSE:TCS", total_quantity=1, split_config=None)
        assert answer.status_code == 202, answer.text
        done = services.wait_done(answer.json()["order_id"], 60)
    finally:
        services.close()

    assert f"{DEFAULT_UCC} is logged in until" in logged_in
    assert "0 bad" in synced
    assert (done["state"], done["quantities"]["filled"]) == ("FILLED", 1)
    (order,) = kotak.book()
    assert (order["instrument"], order["filled"]) == ("NSE:TCS", 1)


def test_the_guide_names_the_person_that_the_simulator_has() -> None:
    guide = (Path(__file__).parents[2] / "doc/guides/kotak_integration.md").read_text()

    for name, value in {
        "ACCESS_TOKEN": DEFAULT_ACCESS_TOKEN, "MOBILE_NUMBER": DEFAULT_MOBILE_NUMBER, "UCC": DEFAULT_UCC,
        "MPIN": DEFAULT_MPIN, "TOTP_SEED": DEFAULT_TOTP_SEED,
    }.items():  # fmt: skip
        assert f"export KOTAK_{name}={value}\n" in guide
