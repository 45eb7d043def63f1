"""The page about a run, written to a file."""

from os import PathLike
from pathlib import Path

from pulse_domain.backtest.page.document import document
from pulse_domain.backtest.result import BacktestResult
from pulse_domain.errors import MissingExtra


def write_report(result: BacktestResult, path: str | PathLike[str], *, title: str | None = None) -> Path:
    """Write the page about a run, in place of what the file was, and give the path back.

    The page carries its charts with it and fetches nothing; the same run gives the same bytes.

    title: by default the instruments.

    Raises:
        MissingExtra: plotly is not installed.
        OSError: the file cannot be written.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtra("plotly", "report") from None
    page = document(result, title=title, plotly_js=get_plotlyjs())
    written = Path(path)
    written.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    return written
