"""Strategies by kind: those that are shipped, and `FILE.py:Class` of a user."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pulse_domain.errors import InvalidSettings
from pulse_domain.instruments import Instrument
from pulse_domain.strategies import STRATEGIES, make_strategy
from pulse_domain.strategy import Strategy, strategy_from

_MODULE = "pulse_user_strategy"


def make_kind(kind: str, instruments: Iterable[Instrument], parameters: Mapping[str, Any]) -> Strategy:
    """Make a strategy; the file of a user is run.

    Raises:
        InvalidSettings: there is no such kind, or a parameter is wrong.
    """
    if kind in STRATEGIES:
        return make_strategy(kind, instruments, parameters)
    return strategy_from(_class_of(kind), instruments, parameters)


def wants_process(kind: str) -> bool:
    """Whether the kind is for a process of its own: it says that it computes for long, or a user wrote it."""
    shipped = STRATEGIES.get(kind)
    return shipped.cpu_bound if shipped is not None else True


def _class_of(kind: str) -> type[Strategy]:
    path, _, name = kind.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise InvalidSettings(
            f"there is no kind {kind!r}: it is {', '.join(STRATEGIES)} or FILE.py:Class", field="kind"
        )
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror}", field="kind") from None
    module = ModuleType(_MODULE)
    module.__file__ = path
    sys.modules[_MODULE] = module  # where classes look for the module that they are of
    folder = str(Path(path).absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise InvalidSettings(f"{path} has no strategy {name}", field="kind")
    return found
