"""`pulse instruments`, as far as no database is needed; tests/integration/cli has the rest."""

from pathlib import Path

import pytest

from pulse.cli import main


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "ZERODHA_BASE_URL", "KOTAK_BASE_URL", "KOTAK_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://pulse:a-secret@127.0.0.1:9/pulse")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("instruments", "sync"),
        ("instruments sync --broker upstox", "upstox"),
        ("instruments sync --exchange NYSE", "NYSE"),
        ("instruments sync", "DATABASE_URL"),
        ("instruments show", "INSTRUMENT"),
        ("instruments show TCS", "EXCHANGE:SYMBOL"),
        ("instruments show NSE:TCS", "DATABASE_URL"),
    ],
)
def test_bad_input_is_named(line: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert named in captured.err + captured.out


@pytest.mark.usefixtures("nowhere")
def test_kotaks_address_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["instruments", "sync", "--broker", "kotak"]) == 2
    assert "KOTAK_BASE_URL" in capsys.readouterr().err


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("content", [None, b"<html>", b"a,b\n1,2\n"], ids=["absent", "a page", "another table"])
def test_a_file_that_is_none_stops_before_the_database(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dump.csv"
    if content is not None:
        path.write_bytes(content)

    assert main(["instruments", "sync", "--file", str(path)]) == 1

    [line] = capsys.readouterr().err.splitlines()
    assert "cannot be read" in line or "no Kite instrument file" in line


@pytest.mark.usefixtures("nowhere")
def test_a_database_that_does_not_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["instruments", "show", "NSE:TCS"]) == 1

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("DATABASE_ERROR")
    assert "a-secret" not in line


def test_an_address_that_cannot_be_read_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://pulse:a-secret@h/d")

    assert main(["instruments", "show", "NSE:TCS"]) == 2
    assert "a-secret" not in capsys.readouterr().err
