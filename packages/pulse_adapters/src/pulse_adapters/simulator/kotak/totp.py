"""One-time codes by the clock, as RFC 6238 has them: six digits, SHA-1, 30 seconds."""

import base64
import hmac
from datetime import datetime

STEP_S = 30
_DIGITS = 6


def code_at(seed: str, at: datetime) -> str:
    """The code of an instant. Raises ValueError for a seed that is not base32."""
    return _code(seed, int(at.timestamp()) // STEP_S)


def is_code(seed: str, code: str, at: datetime) -> bool:
    """Whether it is the code of now, of the step before, or of the next: clocks differ, and people type."""
    step = int(at.timestamp()) // STEP_S
    return any(
        hmac.compare_digest(_code(seed, each).encode(), code.encode()) for each in range(step - 1, step + 2)
    )


def _code(seed: str, step: int) -> str:
    padded = seed.upper() + "=" * (-len(seed) % 8)
    digest = hmac.digest(base64.b32decode(padded), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**_DIGITS).zfill(_DIGITS)
