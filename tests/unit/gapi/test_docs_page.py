import re
import sys

import pytest

from gapi import docs_page


def test_the_page_asks_nothing_from_elsewhere() -> None:
    addresses = re.findall(r'(?:src|href)="([^"]*)"', docs_page.PAGE)

    assert addresses
    for address in addresses:
        assert re.fullmatch(r"/docs/assets/[a-z0-9.-]+", address)
    assert "//" not in docs_page.PAGE
    assert "<script>" not in docs_page.PAGE
    assert "http" not in docs_page.POLICY


def test_every_file_of_the_page_is_there() -> None:
    for address in re.findall(r'docs/assets/([^"]*)"', docs_page.PAGE):
        asset = docs_page.asset(address)

        assert asset is not None
        assert asset.content
        assert asset.media_type == docs_page.MEDIA_TYPES[address]


def test_the_script_starts_the_page_with_our_document() -> None:
    asset = docs_page.asset("start.js")

    assert asset is not None
    assert b'url: "/openapi.json"' in asset.content
    assert b"validatorUrl: null" in asset.content  # else the page asks a server of Swagger
    assert b"http" not in asset.content


@pytest.mark.parametrize(
    "name", ["", "index.css", "LICENSE", "../core.py", "swagger-ui.css/", "/etc/passwd", "."]
)
def test_other_files_are_not_served(name: str) -> None:
    assert docs_page.asset(name) is None


def test_the_package_of_the_files_is_not_imported() -> None:
    docs_page.asset("swagger-ui.css")

    assert "swagger_ui" not in sys.modules
