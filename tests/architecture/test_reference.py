import importlib
import re
from pathlib import Path

import pytest

from tests.architecture import reference

PUBLIC = ("account", "backtest", "matching", "splitting")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    # What cannot be documented is a warning, and a warning is an error here.
    reference.write(folder)
    return folder


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(pages: Path, name: str) -> None:
    page = (pages / "pulse_domain" / f"{name}.html").read_text(encoding="utf-8")

    documented = set(re.findall(r'<section id="(\w+)"', page))

    assert set(importlib.import_module(f"pulse_domain.{name}").__all__) <= documented


def test_the_pages_need_no_network(pages: Path) -> None:
    for page in pages.rglob("*.html"):
        fetched = re.findall(r'(?:src|href)="(https?:[^"]+)"', page.read_text(encoding="utf-8"))
        assert [url for url in fetched if not url.startswith("https://pdoc.dev")] == [], page
