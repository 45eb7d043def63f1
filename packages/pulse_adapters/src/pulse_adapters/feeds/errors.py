"""What can be wrong with a feed, named so that a person can mend it."""

from pathlib import Path

from pulse_domain.errors import PulseError


class FeedSpecError(PulseError):
    """The feed is not written as synthetic, synthetic:SEED or replay:FILE[,FILE...]."""


class FeedFileError(PulseError):
    """A feed file cannot be played; `row` counts the file's lines, the header being row 1."""

    def __init__(self, path: Path, problem: str, row: int | None = None) -> None:
        place = f"{path}" if row is None else f"{path} row {row}"
        super().__init__(f"{place}: {problem}", path=str(path), row=row)
        self.path = path
        self.problem = problem
        self.row = row
