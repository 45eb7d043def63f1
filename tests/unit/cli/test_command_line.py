import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jwt
import pytest

from pulse.cli import main
from pulse.options import UpOptions
from pulse.state import load_or_create_secrets


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder, still to be made; nothing else of the environment counts."""
    for name in ("GAPI_JWT_SECRETS", "PULSE_GATEWAY_URL", "PULSE_TOKEN", "PULSE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULSE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[UpOptions]:
    """What `pulse up` was started with; nothing is started."""
    started: list[UpOptions] = []
    module = ModuleType("pulse.up")

    def up(options: UpOptions) -> int:
        started.append(options)
        return 7

    module.__dict__["up"] = up
    monkeypatch.setitem(sys.modules, "pulse.up", module)
    return started


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("ordr", "No such command"),
        ("order plaice", "No such command"),
        ("order place", "INSTRUMENT"),
        ("order place NSE:TCS", "SIDE"),
        ("order place NSE:TCS hold 1", "hold"),
        ("order place NSE:TCS buy many", "QUANTITY"),
        ("order place NSE:TCS buy 0", "QUANTITY"),
        ("order place NSE:TCS buy 1.5", "QUANTITY"),
        ("order place NSE:TCS buy 1 --splits 101 --minutes 1", "--splits"),
        ("order place NSE:TCS buy 1 --splits 2", "--minutes"),
        ("order place NSE:TCS buy 1 --type ICEBERG", "ICEBERG"),
        ("order place NSE:TCS buy 1 --colour red", "--colour"),
        ("order place TCS buy 1", "EXCHANGE:SYMBOL"),
        ("order show", "ORDER_ID"),
        ("order show 42", "42"),
        ("order list --limit 201", "--limit"),
        ("order list --url desk:8000", "--url"),
        ("token --hours soon", "--hours"),
        ("up --port 65536", "--port"),
        ("up --feed-speed 0", "--feed-speed"),
        ("up --log-level LOUD", "--log-level"),
        ("up --workers 2", "--workers goes with --cluster"),
        ("up --seed 7", "--seed goes with --cluster"),
        ("up --cluster --workers 0", "--workers"),
        ("up --cluster --feed yesterday", "yesterday"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    line: str, named: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_or_create_secrets(folder)

    assert main(line.split()) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert named in said.err


@pytest.mark.parametrize("line", ["", "order"])
def test_without_a_command_there_is_help_and_code_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2

    assert "Usage: pulse" in capsys.readouterr().out


def test_help_lists_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    shown = capsys.readouterr().out
    for code in ("0 ", "1 ", "2 ", "3 ", "130 "):
        assert f"\n {code}" in shown


def test_no_token_is_one_line_that_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["order", "list"]) == 2

    said = capsys.readouterr().err
    assert "PULSE_TOKEN" in said
    assert "pulse up" in said
    assert len(said.splitlines()) == 1


def test_token_is_all_that_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = load_or_create_secrets(folder)

    assert main(["token", "--client", "desk", "--scope", "admin", "--hours", "0.5"]) == 0

    token = capsys.readouterr().out.strip()
    claims = jwt.decode(token, secrets.jwt_secret, algorithms=["HS256"])
    assert (claims["sub"], claims["scope"]) == ("desk", "admin")


def test_a_gateway_of_its_own_takes_the_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load_or_create_secrets(folder)
    newest, oldest = "newest" * 8, "oldest" * 8
    monkeypatch.setenv("GAPI_JWT_SECRETS", f"{newest}, {oldest}")

    assert main(["token"]) == 0

    assert jwt.decode(capsys.readouterr().out.strip(), newest, algorithms=["HS256"])["sub"] == "demo"


@pytest.mark.parametrize("secret", ["short", "\udc80" * 40])
def test_a_secret_that_no_gateway_takes_signs_nothing(
    secret: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAPI_JWT_SECRETS", secret)

    assert main(["token"]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert "GAPI_JWT_SECRETS" in said.err
    assert secret not in said.err


def test_token_as_json_says_when_it_ends(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_or_create_secrets(folder)

    assert main(["token", "--json"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert answer.keys() == {"token", "client", "scope", "expires_at"}
    assert answer["expires_at"].endswith("Z")


@pytest.mark.parametrize(
    "line", ["token", "token --hours 0", "token --hours nan", "token --scope root", "token --client a,b"]
)
def test_token_that_cannot_be_made_is_code_2(
    line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if line != "token":
        load_or_create_secrets(folder)

    assert main(line.split()) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_unreadable_state_is_code_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_or_create_secrets(folder)
    (folder / "secrets.json").chmod(0o644)

    assert main(["token"]) == 2

    assert "open to other users" in capsys.readouterr().err


def test_up_starts_with_the_defaults(folder: Path, started: list[UpOptions]) -> None:
    assert main(["up"]) == 7

    assert started == [
        UpOptions(
            feed="synthetic",
            feed_speed=1.0,
            port=8000,
            host="127.0.0.1",
            state_dir=folder,
            log_level="WARNING",
        )
    ]


def test_up_takes_every_option(tmp_path: Path, started: list[UpOptions]) -> None:
    line = f"up --feed replay:a --feed-speed 60 --port 0 --host :: --state-dir {tmp_path} --log-level info"

    assert main(line.split()) == 7

    assert started == [
        UpOptions(feed="replay:a", feed_speed=60.0, port=0, host="::", state_dir=tmp_path, log_level="INFO")
    ]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("two\nlines"), 1, "INTERNAL_ERROR: RuntimeError: two lines; PULSE_DEBUG=1 shows where\n"),
        (OSError(28, "No space left on device"), 1, "INTERNAL_ERROR: OSError"),
    ],
)
def test_whatever_happens_is_no_traceback(
    error: BaseException,
    code: int,
    said: str,
    started: list[UpOptions],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def up(options: UpOptions) -> int:
        raise error

    monkeypatch.setitem(sys.modules["pulse.up"].__dict__, "up", up)

    assert main(["up"]) == code

    assert capsys.readouterr().err.startswith(said)


def test_traceback_is_there_for_who_asks(started: list[UpOptions], monkeypatch: pytest.MonkeyPatch) -> None:
    def up(options: UpOptions) -> int:
        raise RuntimeError("here")

    monkeypatch.setitem(sys.modules["pulse.up"].__dict__, "up", up)
    monkeypatch.setenv("PULSE_DEBUG", "1")

    with pytest.raises(RuntimeError, match="here"):
        main(["up"])


def test_importing_the_command_line_is_cheap() -> None:
    slow = {"litestar", "asyncpg", "gapi", "pulse_api", "pulse_background", "sqlalchemy", "uvicorn"}
    later = {"httpx", "jwt", "pulse_domain.backtest", "rich"}
    script = f"import sys, pulse.cli; print(*({slow | later!r} & set(sys.modules)))"

    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []
