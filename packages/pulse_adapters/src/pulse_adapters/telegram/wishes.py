"""What a chat may ask for and has to confirm."""

from collections.abc import Awaitable, Callable

from msgspec import Struct


class Wish(Struct, frozen=True, kw_only=True):
    """yes: on the button. detail: for the record. work: does it, told who; its answer is what the chat is told.
    It raises OrderApiError."""

    action: str
    question: str
    yes: str
    detail: str
    work: Callable[[str], Awaitable[str]]


class Refusal(Exception):
    """The text is for the chat."""

    def __init__(self, action: str, text: str) -> None:
        super().__init__(text)
        self.action = action
        self.text = text
