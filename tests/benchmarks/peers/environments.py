"""Environments of peers, made from the package index when their pins change; `make clean` removes them.

They live under .venv-peers, each alone: what one brings along must not make another look bigger.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
PEERS = ROOT / ".venv-peers"

# Nautilus brings pyarrow, which pandas then loads too.
PINS = {
    "nautilus": ("nautilus_trader==1.221.0", "pandas==2.3.3", "numpy==2.4.6"),
    "backtesting": ("backtesting==0.6.6", "pandas==3.1.0", "numpy==2.4.6", "bokeh==3.9.2"),
    "procrastinate": ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "uvloop==0.23.0"),
}
OURS = "ours"


class Invalid(Exception):
    """The figures compare unlike things, or there are none."""


def python_of(side: str) -> str:
    """The interpreter of an environment; a peer's is made where it is missing or has other pins."""
    if side == OURS:
        return sys.executable
    folder, pins = PEERS / side, PINS[side]
    python, stamp = folder / "bin" / "python", folder / "pins.txt"
    wanted = "\n".join((sys.version, *pins))
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {' '.join(pins)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        command("making an environment", [sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command(f"installing {side}", [*pip, *pins])
        stamp.write_text(wanted)
    return str(python)


def command(what: str, args: Sequence[str]) -> str:
    """Run to the end; the output.

    Raises:
        Invalid: it failed; the message carries the end of what it said.
    """
    # A progress bar would cost its owner time, and only one of the engines has one.
    env = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run(args, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Invalid(f"{what} failed with {done.returncode}:\n{(done.stderr or done.stdout)[-4000:]}")
    return done.stdout
