"""`pulse_domain` as others get it: a wheel in a bare environment, with msgspec and nothing else."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "packages/pulse_domain"
GUIDE = ROOT / "doc/guides/backtesting.md"


def run(*command: str | Path, folder: Path) -> str:
    # Nothing of this environment may leak in, or the test proves nothing.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(
        PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "dist")
    )
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=source)
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and msgspec, which is copied from this one."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    python = folder / "venv/bin/python"
    packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    )
    msgspec = distribution("msgspec")
    for file in msgspec.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            copied = packages / file
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(msgspec.locate_file(file)), copied)
    pip = sys.executable, "-m", "pip", "--python", python
    run(*pip, "install", "--no-index", "--no-deps", "--quiet", wheel, folder=folder)
    run(*pip, "check", folder=folder)
    return python


def test_the_wheel_has_the_library_its_types_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]

    source = {
        path.relative_to(PACKAGE / "src").as_posix() for path in (PACKAGE / "src").rglob("*") if path.is_file()
    }
    library = {name for name in names if ".dist-info/" not in name}
    assert library == {name for name in source if "__pycache__" not in name}
    assert "pulse_domain/py.typed" in library
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert [name for name in required if "extra ==" not in name] == ["msgspec>=0.22"]


def test_the_ten_lines_run_on_msgspec_alone(python: Path, tmp_path: Path) -> None:
    found = re.search(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    [shown] = re.findall(r"^# -> (.*)$", found[1], re.MULTILINE)
    loaded = """
import sys
places = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(sorted({name.partition(".")[0] for name, place in places.items() if "site-packages" in place}))
"""

    said = run(python, "-I", "-c", found[1] + loaded, folder=tmp_path).splitlines()

    assert said == [shown, "['msgspec', 'pulse_domain']"]


def test_every_module_but_the_doubles_imports(python: Path, tmp_path: Path) -> None:
    script = """
import importlib, pkgutil, pulse_domain
for module in pkgutil.walk_packages(pulse_domain.__path__, "pulse_domain."):
    if not module.name.startswith("pulse_domain.testing"):
        importlib.import_module(module.name)
        print(module.name)
"""

    imported = run(python, "-I", "-c", script, folder=tmp_path).split()

    assert {"pulse_domain.backtest.files", "pulse_domain.backtest.report"} <= set(imported)


def test_files_are_read_and_what_needs_an_extra_names_it(python: Path, tmp_path: Path) -> None:
    (tmp_path / "tcs.csv").write_text(
        "timestamp,open,high,low,close,volume\n"
        "2026-01-05T09:15:00+05:30,100,101,99,100.05,500\n"
        "2026-01-05T09:16:00+05:30,100.05,101,99,100,500\n"
    )
    (tmp_path / "tcs.parquet").write_bytes(b"PAR1")
    script = """
from pulse_domain.backtest import Strategy, run_backtest
from pulse_domain.backtest.files import read_candles
from pulse_domain.errors import MissingExtra
from pulse_domain.instruments import Instrument

tcs = Instrument.parse("NSE:TCS")
candles = read_candles("tcs.csv", tcs)
print(len(candles))
result = run_backtest(Strategy(), candles)
for needs_extra in (lambda: read_candles("tcs.parquet", tcs), lambda: result.report("report.html")):
    try:
        needs_extra()
    except MissingExtra as missing:
        print(missing)
"""

    assert run(python, "-I", "-c", script, folder=tmp_path).splitlines() == [
        "2",
        'pyarrow is not installed: pip install "pulse-domain[parquet]"',
        'plotly is not installed: pip install "pulse-domain[report]"',
    ]


def test_importing_takes_milliseconds(python: Path, tmp_path: Path) -> None:
    """Machines differ, so the figures are shown (`-s`) and not judged."""
    script = """
import json, sys, time
began = time.perf_counter()
import {module}
print(json.dumps([time.perf_counter() - began, len(sys.modules)]))
"""
    for module in ("msgspec", "pulse_domain", "pulse_domain.backtest"):
        told = [
            json.loads(run(python, "-I", "-c", script.format(module=module), folder=tmp_path)) for _ in range(5)
        ]
        milliseconds = 1000 * min(seconds for seconds, _ in told)
        sys.stdout.write(f"import {module}: {milliseconds:.1f} ms, {told[0][1]} modules\n")
