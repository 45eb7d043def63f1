"""The tutorials and the README are true: their blocks run one after the other, and print what they show."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE, README = ROOT / "doc/guides/backtesting.md", ROOT / "README.md"
STRATEGIES = ROOT / "doc/guides/strategies.md"


def blocks(path: Path) -> list[tuple[int, str]]:
    """The Python of a document: (lines before it, code)."""
    text = path.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, block.start(1)), block[1]) for block in found]


@pytest.mark.parametrize("path", [GUIDE, README, STRATEGIES], ids=lambda path: path.stem)
def test_the_blocks_print_what_they_show(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "document"}
    for line, code in blocks(path):
        # An error is told by its line in the document.
        exec(compile("\n" * line + code, path, "exec"), names)

        shown = [text.removeprefix("# -> ") for text in code.splitlines() if text.startswith("# -> ")]
        assert capsys.readouterr().out.splitlines() == shown, f"{path.name}, line {line}"
    assert "result" in names


def test_the_ten_lines_are_ten() -> None:
    _, code = blocks(GUIDE)[0]

    assert len([line for line in code.splitlines() if line and not line.startswith("#")]) == 10
