"""What a command hands to the code behind it."""

from pathlib import Path

from msgspec import Struct


class UpOptions(Struct, frozen=True, kw_only=True):
    """The options of `pulse up`, checked.

    feed: what the virtual exchange trades on, such as `synthetic` or `replay:FILE`.
    feed_speed: market seconds per second, above 0.
    port: 0 takes a free one.
    state_dir: absolute; it may not exist yet.
    log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
    """

    feed: str = "synthetic"
    feed_speed: float = 1.0
    port: int = 8000
    host: str = "127.0.0.1"
    state_dir: Path
    log_level: str = "WARNING"
