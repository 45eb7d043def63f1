"""What ends a command early. Each ends as one line on stderr and an exit code, never as a traceback.

CommandError             1
├── GatewayError         1    the service refused or failed; shown as `CODE: message`
├── BadInput             2    the command line or a setting is wrong
│   └── StateError       2    the state folder cannot be used
└── Interrupted        130    Ctrl-C, where there is something to say
"""

from collections.abc import Mapping
from typing import Any

# Details that say what the caller has just typed.
_KNOWN = ("order_id", "field")


class CommandError(Exception):
    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadInput(CommandError):
    exit_code = 2


class StateError(BadInput):
    pass


class Interrupted(CommandError):
    exit_code = 130


class GatewayError(CommandError):
    """The gateway's refusal, or the lack of an answer.

    status: of the answer; None where there was none.
    """

    def __init__(
        self, code: str, message: str, status: int | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.details = dict(details or {})

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may fare better in a moment; what became of this one is not known."""
        return self.status is None or self.status == 429 or self.status >= 500

    def __str__(self) -> str:
        notes = [
            f"{name}={value}"
            for name, value in self.details.items()
            if name not in _KNOWN and isinstance(value, (str, int)) and str(value) not in self.message
        ]
        return f"{self.code}: {self.message}" + (f" [{', '.join(notes)}]" if notes else "")
