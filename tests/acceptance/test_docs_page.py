"""/docs in a real browser that cannot reach anything but this machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import Services

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_docs_page_works_without_the_internet(services: Services, tmp_path: Path) -> None:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--virtual-time-budget=8000", "--dump-dom", f"{services.url}/docs",
    ]  # fmt: skip

    page = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    assert 'class="swagger-ui' in page
    for shown in ("/api/orders", "/api/webhooks/tradingview", "/api/trading", "Authorize"):
        assert shown in page
