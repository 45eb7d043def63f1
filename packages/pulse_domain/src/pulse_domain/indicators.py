"""Technical indicators, fed one value at a time: each takes the same time, however much came before.

`value` is None until there is enough to tell it; each class says when that is, and how it begins. Figures and
beginnings are those of TA-Lib (https://ta-lib.org), with its defaults, where a class does not say otherwise.

A snapshot is plain JSON. An indicator of the same lengths that restores one goes on as if it had seen all that
came before, to the last bit, also when the JSON was written and read meanwhile.

Values are floats, and finite: prices and volumes that a candle can have. Money stays out of here.
"""

from collections import deque
from collections.abc import Mapping
from math import fsum
from typing import Any

from pulse_domain.errors import InvalidSettings

State = dict[str, Any]


def _checked(length: int, name: str = "length") -> int:
    if type(length) is not int or length < 1:
        raise InvalidSettings(f"{name} of an indicator must be a whole number above 0", field=name)
    return length


def _known(value: Any) -> float | None:
    return None if value is None else float(value)


class Sma:
    """The mean of the last `length` values, from the value of that number on. Of volumes: their average."""

    __slots__ = ("_added", "_total", "_window", "length", "value")

    def __init__(self, length: int) -> None:
        self.length = _checked(length)
        self.value: float | None = None
        self._window: deque[float] = deque()
        self._total = 0.0
        self._added = 0  # since the total was added up anew

    def add(self, value: float) -> float | None:
        window = self._window
        window.append(value)
        self._total += value
        if len(window) > self.length:
            self._total -= window.popleft()
        self._added += 1
        if self._added >= self.length:
            # What rounding leaves behind with every step does not grow over a long run.
            self._total, self._added = fsum(window), 0
        if len(window) == self.length:
            self.value = self._total / self.length
        return self.value

    def snapshot(self) -> State:
        return {
            "window": list(self._window), "total": self._total, "added": self._added, "value": self.value,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self._window = deque(map(float, state["window"]))
        self._total, self._added = float(state["total"]), int(state["added"])
        self.value = _known(state["value"])


class Ema:
    """The exponential average: each value counts for 2 / (length + 1) of it.

    It begins as the mean of the first `length` values, with the last of them.
    """

    __slots__ = ("_seen", "_share", "_total", "length", "value")

    def __init__(self, length: int) -> None:
        self.length = _checked(length)
        self.value: float | None = None
        self._share = 2 / (length + 1)
        self._seen = 0
        self._total = 0.0

    def add(self, value: float) -> float | None:
        if self.value is not None:
            self.value += (value - self.value) * self._share
            return self.value
        self._seen += 1
        self._total += value
        if self._seen == self.length:
            self.value = self._total / self.length
        return self.value

    def snapshot(self) -> State:
        return {"seen": self._seen, "total": self._total, "value": self.value}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._seen, self._total = int(state["seen"]), float(state["total"])
        self.value = _known(state["value"])


class Macd:
    """Moving average convergence and divergence (Appel): a fast EMA less a slow one, and the EMA of that.

    value: the fast EMA less the slow one.
    signal: the EMA of `value` over `signal_length`.
    histogram: `value` less `signal`.

    Both EMAs begin with the value of number `slow`: the fast one as the mean of the `fast` values up to there.
    `signal` and `histogram` begin `signal_length` - 1 values later. TA-Lib tells `value` only from there on.
    """

    __slots__ = ("_fast", "_seen", "_signal", "_slow", "histogram", "signal", "value")

    def __init__(self, fast: int = 12, slow: int = 26, signal_length: int = 9) -> None:
        if _checked(fast, "fast") >= _checked(slow, "slow"):
            raise InvalidSettings(f"fast must be below slow, and {fast} is not below {slow}", field="fast")
        self._fast, self._slow, self._signal = Ema(fast), Ema(slow), Ema(_checked(signal_length))
        self._seen = 0
        self.value: float | None = None
        self.signal: float | None = None
        self.histogram: float | None = None

    def add(self, value: float) -> float | None:
        slow = self._slow.add(value)
        if self._seen < self._slow.length - self._fast.length:
            self._seen += 1
            return None
        fast = self._fast.add(value)
        if fast is not None and slow is not None:
            self.value = fast - slow
            self.signal = self._signal.add(self.value)
            if self.signal is not None:
                self.histogram = self.value - self.signal
        return self.value

    def snapshot(self) -> State:
        return {
            "fast": self._fast.snapshot(), "slow": self._slow.snapshot(), "signal": self._signal.snapshot(),
            "seen": self._seen,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self._fast.restore(state["fast"])
        self._slow.restore(state["slow"])
        self._signal.restore(state["signal"])
        self._seen = int(state["seen"])
        fast, slow, self.signal = self._fast.value, self._slow.value, self._signal.value
        self.value = None if fast is None or slow is None else fast - slow
        self.histogram = None if self.value is None or self.signal is None else self.value - self.signal


class Rsi:
    """The relative strength index (Wilder 1978): which part of all movement was upward, of 100.

    It begins with the value of number `length` + 1, from the mean gain and the mean loss of the `length` moves
    up to there; from then on each move counts for 1 / `length`. Of a price that has not moved at all it is 50:
    neither strong nor weak, where TA-Lib says 0.
    """

    __slots__ = ("_before", "_gain", "_loss", "_moves", "length", "value")

    def __init__(self, length: int = 14) -> None:
        self.length = _checked(length)
        self.value: float | None = None
        self._before: float | None = None
        self._gain = self._loss = 0.0  # sums until there are enough moves, then means
        self._moves = 0

    def add(self, value: float) -> float | None:
        before, self._before = self._before, value
        if before is None:
            return None
        move = value - before
        gain, loss = (move, 0.0) if move > 0 else (0.0, -move)
        length = self.length
        if self._moves < length:
            self._moves += 1
            self._gain += gain
            self._loss += loss
            if self._moves < length:
                return None
            self._gain /= length
            self._loss /= length
        else:
            self._gain = (self._gain * (length - 1) + gain) / length
            self._loss = (self._loss * (length - 1) + loss) / length
        moved = self._gain + self._loss
        self.value = 100.0 * (self._gain / moved) if moved else 50.0
        return self.value

    def snapshot(self) -> State:
        return {
            "before": self._before, "gain": self._gain, "loss": self._loss, "moves": self._moves,
            "value": self.value,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self._before, self.value = _known(state["before"]), _known(state["value"])
        self._gain, self._loss, self._moves = float(state["gain"]), float(state["loss"]), int(state["moves"])


class Atr:
    """The average true range (Wilder 1978): how far a candle reaches, a gap since the last close included.

    It begins with the candle of number `length` + 1, as the mean of the `length` true ranges up to there: the
    first candle has none, as there is no close before it. From then on each counts for 1 / `length`.
    """

    __slots__ = ("_close", "_ranges", "_total", "length", "value")

    def __init__(self, length: int = 14) -> None:
        self.length = _checked(length)
        self.value: float | None = None
        self._close: float | None = None
        self._ranges = 0
        self._total = 0.0

    def add(self, high: float, low: float, close: float) -> float | None:
        before, self._close = self._close, close
        if before is None:
            return None
        true_range = max(high, before) - min(low, before)
        if self.value is not None:
            self.value = (self.value * (self.length - 1) + true_range) / self.length
            return self.value
        self._ranges += 1
        self._total += true_range
        if self._ranges == self.length:
            self.value = self._total / self.length
        return self.value

    def snapshot(self) -> State:
        return {"close": self._close, "ranges": self._ranges, "total": self._total, "value": self.value}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._close, self.value = _known(state["close"]), _known(state["value"])
        self._ranges, self._total = int(state["ranges"]), float(state["total"])
