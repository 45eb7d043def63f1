"""The vendors' instrument files: fetched, read row by row, and reported on."""

from pulse_adapters.instruments.dump import BadRow, Dump, DumpError
from pulse_adapters.instruments.source import KITE_URL, Source, fetch, parse, read_file

__all__ = ["KITE_URL", "BadRow", "Dump", "DumpError", "Source", "fetch", "parse", "read_file"]
