"""What `pulse up --cluster` tells its processes, and what it refuses before it starts one."""

import socket
from pathlib import Path

import pytest

import pulse_api.settings
import pulse_background.settings
from pulse.cluster import run_cluster
from pulse.cluster_plan import Plan
from pulse.errors import BadInput
from pulse.options import ClusterOptions
from pulse.state import Secrets

SECRETS = Secrets(jwt_secret="j" * 32, service_token="s" * 16, webhook_secret="w" * 16)
REAL = {
    "ZERODHA_API_KEY": "real-key",
    "ZERODHA_API_SECRET": "real-secret",
    "ZERODHA_ACCESS_TOKEN": "real-token",
    "ZERODHA_BASE_URL": "https://api.kite.trade",
    "ZERODHA_TICKER_URL": "wss://ws.kite.trade",
    "BROKER_SESSION_SECRETS": "r" * 32,
    "KOTAK_ACCESS_TOKEN": "real-access-token",
    "KOTAK_BASE_URL": "https://e21.kotaksecurities.com",
    "KOTAK_LOGIN_URL": "https://mis.kotaksecurities.com",
    "KOTAK_MOBILE_NUMBER": "+911112223334",
    "KOTAK_MPIN": "765432",
    "KOTAK_TOTP_SEED": "R" * 32,
    "KOTAK_UCC": "REAL1",
    "KOTAK_UNATTENDED_LOGIN": "yes",
}
DSN, REDIS = "postgresql://embedded", "redis://embedded"


@pytest.fixture
def options(tmp_path: Path) -> ClusterOptions:
    return ClusterOptions(port=0, state_dir=tmp_path / "state", workers=3)


@pytest.mark.parametrize("broker", ["", "zerodha", "kotak"])
def test_nothing_of_a_real_broker_reaches_a_process(options: ClusterOptions, broker: str) -> None:
    plan = Plan(options, REAL | {"BROKER_TYPE": broker}, SECRETS)
    plan.check()

    environs = (
        plan.for_exchange(),
        plan.for_gateway(),
        plan.for_order_api(DSN, REDIS),
        plan.for_worker(0, DSN, REDIS),
    )
    for environ in environs:
        assert not set(REAL.values()) & set(environ.values())
    worker = pulse_background.settings.read_settings(plan.for_worker(2, DSN, REDIS))
    assert worker.broker_type == (broker or "zerodha")
    if worker.kotak is not None:
        assert not worker.kotak.unattended_login
        assert worker.kotak.login_url == plan.exchange
    else:
        assert worker.zerodha is not None
        assert worker.zerodha.access_token is None
        assert worker.zerodha.base_url == plan.exchange
    assert plan.exchange.startswith("http://127.0.0.1:")


def test_every_process_has_a_port_of_its_own(options: ClusterOptions) -> None:
    plan = Plan(options, {"METRICS_PORT": "9100"}, SECRETS)

    ports = [plan.gateway_port, plan.order_api_port, plan.exchange_port, *plan.metrics_ports]
    assert len(set(ports)) == 6
    assert "METRICS_PORT" not in plan.for_order_api(DSN, REDIS)


@pytest.mark.parametrize("broker", ["zerodha", "kotak"])
def test_hours_are_not_checked_unless_asked_for(options: ClusterOptions, broker: str) -> None:
    def outside(**environ: str) -> str:
        environ = Plan(options, {"BROKER_TYPE": broker, **environ}, SECRETS).for_order_api(DSN, REDIS)
        return pulse_api.settings.read_settings(environ).market.rules.outside_session

    assert (outside(), outside(OUTSIDE_SESSION=""), outside(OUTSIDE_SESSION="reject")) == (
        "accept", "accept", "reject",
    )  # fmt: skip


def test_what_an_exchange_under_a_call_takes_with_it_can_be_proven_absent_and_sent_in_time(
    options: ClusterOptions,
) -> None:
    def worker(**environ: str) -> pulse_background.settings.Settings:
        return pulse_background.settings.read_settings(
            Plan(options, environ, SECRETS).for_worker(0, DSN, REDIS)
        )

    usual, two_reads_s = worker(), 2 * (worker().broker_sync_interval_seconds + 5)
    assert usual.slice_grace_seconds > usual.unknown_settle_seconds + two_reads_s
    assert worker(SLICE_GRACE_SECONDS="20").slice_grace_seconds == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_TYPE", "virtual"),
        ("BROKER_TYPE", "other"),
        ("OUTSIDE_SESSION", "ignore"),
        ("SLICE_GRACE_SECONDS", "long"),
        ("GAPI_WEBHOOK_HOOKS", "none"),
        ("ZERODHA_POOL_SIZE", "0"),
    ],
)
def test_a_wrong_setting_starts_nothing(name: str, value: str, options: ClusterOptions) -> None:
    with pytest.raises(BadInput, match=name):
        run_cluster(options, {name: value})

    assert not (options.state_dir / "cluster").exists()


def test_a_port_that_is_taken_is_told(options: ClusterOptions) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = ClusterOptions(port=port, state_dir=options.state_dir)
        with pytest.raises(BadInput, match=rf"127\.0\.0\.1:{port}.*choose another --port"):
            run_cluster(given, {})
