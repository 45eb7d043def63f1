"""What is typed wrongly about strategies ends as one line and exit code 2, before anybody is asked."""

from pathlib import Path

import pytest

from pulse.cli import main
from pulse.state import load_or_create_secrets

ADD = ["strategy", "add", "macd-tcs", "--kind", "macd", "--instrument", "NSE:TCS"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["strategy", "add"], "NAME"),
        (["strategy", "add", "macd-tcs", "--kind", "macd"], "--instrument"),
        (["strategy", "add", "macd-tcs", "--instrument", "NSE:TCS"], "--kind"),
        (["strategy", "add", "a b", "--kind", "macd", "--instrument", "NSE:TCS"], "name"),
        (["strategy", "add", "..", "--kind", "macd", "--instrument", "NSE:TCS"], "name"),
        (["strategy", "add", "x", "--kind", "ema", "--instrument", "NSE:TCS"], "macd, rsi"),
        (["strategy", "add", "x", "--kind", "macd", "--instrument", "TCS"], "EXCHANGE:SYMBOL"),
        ([*ADD, "--instrument", "NSE:TCS"], "twice"),
        ([*ADD, "--param", "fast"], "NAME=VALUE"),
        ([*ADD, "--param", "fast=1", "--param", "fast=2"], "twice"),
        ([*ADD, "--param", "fast=0"], "fast"),
        ([*ADD, "--param", "fast=many"], "fast"),
        ([*ADD, "--param", "speed=1"], "speed"),
        ([*ADD, "--mode", "demo"], "--mode"),
        ([*ADD, "--by", "a b"], "--by"),
        ([*ADD, "--pulse-url", "ftp://x"], "PULSE_URL"),
        ([*ADD, "--capital", "0"], "capital must be above 0"),
        ([*ADD, "--capital", "1.005"], "2 decimals"),
        ([*ADD, "--capital", "-5"], "--capital must be a number"),
        ([*ADD, "--capital", "NaN"], "--capital must be a number"),
        ([*ADD, "--capital", "5000000000000"], "at most"),
        ([*ADD, "--capital", ""], "--capital"),
        (["strategy", "set", "macd-tcs", "--capital", "much"], "--capital must be a number"),
        (["strategy", "set", "macd-tcs"], "nothing is to be changed"),
        (["strategy", "start"], "NAME"),
        (["strategy", "stop", "macd-tcs", "--by", ""], "--by"),
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


def test_group_alone_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategy"]) == 2

    out = capsys.readouterr().out
    for command in ("add", "set", "start", "stop", "list", "show"):
        assert command in out
