"""The import contracts hold, and each of them can fail."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("packages/*/src"), *ROOT.glob("apps/*/src")]

# contract -> (file to add, its text): the smallest change that breaks it
CANARIES = {
    "gateway-imports-no-pulse": ("gapi/canary.py", "import pulse_domain.errors\n"),
    "pulse-imports-no-gateway": ("pulse_api/canary.py", "import gapi\n"),
    "domain-imports-nothing-of-ours": ("pulse_domain/orders/canary.py", "import sqlalchemy\n"),
    "layers": ("pulse_adapters/canary.py", "import pulse_api\n"),
    "domain-layers": ("pulse_domain/orders/canary.py", "import pulse_domain.use_cases\n"),
    "service-kit-imports-no-product": ("service_kit/canary.py", "import pulse_domain.errors\n"),
    "adapters-are-independent": ("pulse_adapters/queue/canary.py", "import pulse_adapters.postgres\n"),
    "what-brokers-share-knows-no-broker": (
        "pulse_adapters/real_broker/canary.py",
        "import pulse_adapters.zerodha\n",
    ),
}


def lint(sources: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", str(ROOT / "importlinter.ini")]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(sources) if sources else ""}
    return subprocess.run(
        [*command, "--no-cache"],
        cwd=sources or ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def copied_sources(tmp_path: Path) -> Path:
    for source in SOURCES:
        shutil.copytree(source, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_contracts_hold() -> None:
    result = lint()

    assert result.returncode == 0, result.stdout


def test_a_copy_without_canary_holds(copied_sources: Path) -> None:
    result = lint(copied_sources)

    assert result.returncode == 0, result.stdout


def test_every_contract_has_a_canary() -> None:
    config = ConfigParser()
    config.read(ROOT / "importlinter.ini")

    contracts = {name.rpartition(":")[2] for name in config.sections() if ":contract:" in name}

    assert contracts == set(CANARIES)


@pytest.mark.parametrize("contract", CANARIES)
def test_contract_can_fail(contract: str, copied_sources: Path) -> None:
    config = ConfigParser()
    config.read(ROOT / "importlinter.ini")
    name = config[f"importlinter:contract:{contract}"]["name"]
    path, text = CANARIES[contract]
    (copied_sources / path).write_text(text)

    result = lint(copied_sources)

    assert result.returncode == 1, result.stdout
    assert f"{name} BROKEN" in result.stdout


def test_a_module_outside_the_domain_layers_breaks_the_build(copied_sources: Path) -> None:
    (copied_sources / "pulse_domain/utils.py").write_text("")

    result = lint(copied_sources)

    assert result.returncode == 1
    assert "Layers inside the domain BROKEN" in result.stdout
