"""The file of a user: run as a script would be, and what it defines."""

import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from pulse.errors import BadInput
from pulse_domain.backtest import CandleSeries, Strategy, TickSeries, TimedOrder
from pulse_domain.orders.model import OrderRequest
from pulse_domain.strategies import STRATEGIES
from pulse_domain.strategy import NoParameters, read_parameters, strategy_from

_NAME = "pulse_strategy_file"
_ORDERS = "orders"


class FileFailed(BadInput):
    """The file raised something, which is chained; the message says on which line of it."""


def load(path: Path) -> ModuleType:
    """Execute a file; modules beside it can be imported, as by a script.

    Raises:
        BadInput: the file cannot be read, or raises.
    """
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        shipped = "" if path.suffix else f", and no strategy of that name; there are {', '.join(STRATEGIES)}"
        raise BadInput(f"{path}: there is no such file{shipped}") from None
    except OSError as error:
        raise BadInput(f"{path}: it cannot be read: {error.strerror}") from None
    module = ModuleType(_NAME)
    module.__file__ = str(path)
    sys.modules[_NAME] = module  # where classes look for the module that they are of
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with _told(path):
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return module


def strategy_of(
    module: ModuleType, path: Path, name: str | None, parameters: Mapping[str, Any]
) -> Strategy | None:
    """Make the strategy that the file defines, or the one of a name; None where it has `orders` instead.

    Raises:
        BadInput: there is none or more than one, or it cannot be made.
        InvalidSettings: a parameter is unknown or out of range.
    """
    own = {
        key: found
        for key, found in vars(module).items()
        if _is_strategy(found) and found.__module__ == _NAME and not key.startswith("_")
    }
    has_orders = hasattr(module, _ORDERS)
    if name is not None:
        found = getattr(module, name, None)
        if not _is_strategy(found):
            there = f"; there is {', '.join(own)}" if own else ""
            raise BadInput(f"{path}: there is no strategy {name}{there}")
        return _make(found, path, parameters)
    if len(own) > 1 or (own and has_orders):
        named = [*own, *([f"`{_ORDERS}`"] if has_orders else [])]
        raise BadInput(f"{path}: there are {', '.join(named)}: choose a strategy with --strategy")
    if not own and not has_orders:
        raise BadInput(
            f"{path}: there is no strategy and no `{_ORDERS}`: define a subclass of Strategy, or a list"
        )
    return next((_make(found, path, parameters) for found in own.values()), None)


def make_orders(
    module: ModuleType, path: Path, series: Sequence[CandleSeries | TickSeries]
) -> list[TimedOrder | OrderRequest]:
    """Take the list `orders` of the file, or what its function of that name returns.

    A function that takes an argument is given the series.

    Raises:
        BadInput: the function raises, or something in the list is no order.
    """
    orders: Any = getattr(module, _ORDERS)
    with _told(path):
        if callable(orders):
            orders = orders(series) if _needed(orders) else orders()
        if not isinstance(orders, Iterable):
            raise BadInput(f"{path}: `{_ORDERS}` is no list of orders, but of type {type(orders).__name__}")
        made = list(orders)
    for place, order in enumerate(made, start=1):
        if not isinstance(order, TimedOrder | OrderRequest):
            kind = type(order).__name__
            raise BadInput(
                f"{path}: order {place} is neither a TimedOrder nor an OrderRequest, but of type {kind}"
            )
    return made


def line_of(error: BaseException, path: Path) -> str:
    """The innermost line of the file that an error comes through, as FILE:LINE; else that of all files."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path)]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _make(kind: type[Strategy], path: Path, parameters: Mapping[str, Any]) -> Strategy:
    # First by itself: what is wrong with them is said without a line of the file.
    read_parameters(kind.Parameters, parameters)
    if kind.Parameters is NoParameters and (needed := _needed(kind)):
        raise BadInput(
            f"{path}: {kind.__name__} cannot be made without {', '.join(needed)}: give them defaults"
        )
    with _told(path):
        return strategy_from(kind, (), parameters)


def _needed(function: Any) -> list[str]:
    """The arguments without a default."""
    return [
        name
        for name, each in inspect.signature(function).parameters.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def _is_strategy(found: Any) -> TypeGuard[type[Strategy]]:
    return isinstance(found, type) and issubclass(found, Strategy) and found is not Strategy


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except BadInput:
        raise
    except SyntaxError as error:
        raise FileFailed(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise FileFailed(f"{line_of(error, path)}: {type(error).__name__}: {error}") from error
