"""The API reference of the domain library, from its docstrings: `make reference`."""

import sys
from pathlib import Path

import pdoc

# The doubles and contract suites are read in their source.
MODULES = ("pulse_domain", "!pulse_domain.testing")


def write(folder: Path) -> None:
    """Write the pages, which need no network, into a folder."""
    pdoc.render.configure(docformat="google", footer_text="pulse-domain")
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
