"""What operators type wrongly ends as one line and exit code 2, before anybody is asked."""

from pathlib import Path

import pytest

from pulse.cli import main
from pulse.connection import order_api_url, service_token
from pulse.errors import BadInput
from pulse.state import load_or_create_secrets, write_endpoint

ORDER = "ord_" + "0" * 26
EXECUTION = "exe_" + "0" * 26 + "_1_0"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["order", "pause", "nonsense"], "ord_"),
        (["order", "resume"], "ORDER_ID"),
        (["order", "resolve", "nonsense", "--absent"], "exe_"),
        (["order", "resolve", EXECUTION], "either"),
        (["order", "resolve", EXECUTION, "--absent", "--found", "B-1"], "either"),
        (["order", "resolve", EXECUTION, "--found", "B 1"], "order id"),
        (["order", "resolve", EXECUTION, "--absent", "--note", "x" * 501], "--note"),
        (["order", "pause", ORDER, "--by", "a b"], "--by"),
        (["order", "pause", ORDER, "--pulse-url", "ftp://x"], "PULSE_URL"),
        (["reconcile", "--confirm"], "--reason"),
        (["reconcile", "--reason", "looked"], "--confirm"),
        (["reconcile", "--confirm", "--reason", "x" * 501], "--reason"),
        (["reconcile", "--confirm", "--reason", "  "], "--reason"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load_or_create_secrets(tmp_path)
    monkeypatch.setenv("PULSE_STATE_DIR", str(tmp_path))

    assert main(arguments) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert says in shown.err


def test_without_a_service_token_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PULSE_STATE_DIR", str(tmp_path / "nothing"))
    monkeypatch.delenv("PULSE_SERVICE_TOKEN", raising=False)

    assert main(["reconcile"]) == 2

    assert "PULSE_SERVICE_TOKEN" in capsys.readouterr().err


def test_order_api_is_the_given_one_else_the_running_one_else_the_usual_one(tmp_path: Path) -> None:
    assert order_api_url(None, tmp_path) == "http://127.0.0.1:8001"
    write_endpoint(tmp_path, "http://127.0.0.1:8123", "http://127.0.0.1:8123/pulse")

    assert order_api_url(None, tmp_path) == "http://127.0.0.1:8123/pulse"
    assert order_api_url("http://pulse.internal:8001/", tmp_path) == "http://pulse.internal:8001"
    with pytest.raises(BadInput):
        order_api_url("unix:/run/pulse.sock", tmp_path)


def test_service_token_is_the_given_one_else_that_of_the_state_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        service_token(None, tmp_path)
    secrets = load_or_create_secrets(tmp_path)

    assert service_token(None, tmp_path)() == secrets.service_token
    assert service_token("a-token", tmp_path)() == "a-token"
    with pytest.raises(BadInput, match="PULSE_SERVICE_TOKEN"):
        service_token("a token", tmp_path)
