"""Where instrument files come from: a vendor's address, or a file on disk."""

import gzip
import io
import time
import zlib
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

import msgspec
from msgspec import Struct

from pulse_adapters.instruments.dump import Dump, DumpError, collect, merged
from pulse_adapters.instruments.kite import read_kite
from pulse_adapters.instruments.kotak import SEGMENTS, read_kotak
from pulse_domain.instruments import Exchange

KITE_URL = "https://api.kite.trade"

_READERS = {"zerodha": read_kite, "kotak": read_kotak}
_GZIP = b"\x1f\x8b"
_BYTES_MAX = 256 * 1024 * 1024
_PIECE = 1 << 20


class Source(Struct, frozen=True, kw_only=True):
    """A vendor's service.

    url: where it is; a simulator's address for tests and drills.
    access_token: Kotak's; Kite's file needs none.
    timeout_s: for the whole of one file.
    """

    broker: str
    url: str
    access_token: str = ""
    timeout_s: float = 60.0

    def __repr__(self) -> str:
        return f"Source(broker={self.broker!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("broker", self.broker)]


def read_file(broker: str, path: Path) -> Dump:
    """Read a file, gzip or plain.

    Raises:
        DumpError: it cannot be read, or is not such a file.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise DumpError(f"{path} cannot be read: {error.strerror}") from error
    return parse(broker, body)


def fetch(source: Source, exchanges: frozenset[Exchange]) -> Dump:
    """Fetch and read the files of the exchanges, all of them where none is named. Blocks: call it in a thread.

    Raises:
        DumpError: the service does not answer, or with something else.
    """
    if source.broker == "zerodha":
        paths = [f"/instruments/{exchange}" for exchange in sorted(exchanges)] or ["/instruments"]
        headers = {"X-Kite-Version": "3"}
        return merged([parse("zerodha", _get(source.url + path, headers, source.timeout_s)) for path in paths])
    return merged([parse("kotak", _get(url, {}, source.timeout_s)) for url in _kotak_files(source, exchanges)])


def parse(broker: str, body: bytes) -> Dump:
    """Read a file's bytes.

    Raises:
        DumpError: it is not such a file.
    """
    try:
        return collect(_READERS[broker](_lines(body)))
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DumpError(f"the file is damaged: {error}") from error


def _lines(body: bytes) -> Iterator[str]:
    raw = io.BytesIO(body)
    if body.startswith(_GZIP):
        yield from io.TextIOWrapper(gzip.GzipFile(fileobj=raw), encoding="utf-8", newline="")
    else:
        yield from io.TextIOWrapper(raw, encoding="utf-8", newline="")


class _Paths(Struct):
    filesPaths: list[str]  # the vendor's spelling
    baseFolder: str = ""


class _PathsAnswer(Struct):
    data: _Paths


def _kotak_files(source: Source, exchanges: frozenset[Exchange]) -> list[str]:
    """The addresses of the day's files. Names are matched exactly: nse_com is not nse_cm."""
    url = f"{source.url}/script-details/1.0/masterscrip/file-paths"
    body = _get(url, {"Authorization": source.access_token}, source.timeout_s)
    try:
        paths = msgspec.json.decode(body, type=_PathsAnswer).data
    except msgspec.DecodeError as error:
        raise DumpError(f"the list of files cannot be read: {error}") from error
    found: dict[Exchange, str] = {}
    for path in paths.filesPaths:
        stem = PurePosixPath(urlsplit(path).path).stem.removesuffix("-v1")
        exchange = SEGMENTS.get(stem)
        if exchange is not None and (not exchanges or exchange in exchanges):
            found[exchange] = urljoin(paths.baseFolder.rstrip("/") + "/", path)
    if missing := sorted(exchanges - found.keys()):
        raise DumpError(f"the vendor lists no file for {', '.join(missing)}")
    if not found:
        raise DumpError("the vendor lists no file of ours")
    return [found[exchange] for exchange in sorted(found)]


def _get(url: str, headers: Mapping[str, str], timeout_s: float) -> bytes:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DumpError(f"{url} is not an http address")
    request = Request(url, headers={"Accept-Encoding": "gzip"})  # noqa: S310  # checked above
    for name, value in headers.items():
        request.add_unredirected_header(name, value)  # a token is for the host that was named
    deadline = time.monotonic() + timeout_s
    pieces, size = [], 0
    try:
        with urlopen(request, timeout=timeout_s) as answer:  # noqa: S310  # checked above
            while piece := answer.read1(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if time.monotonic() > deadline:
                    raise DumpError(f"{url} took more than {timeout_s:g} s")
                if size > _BYTES_MAX:
                    raise DumpError(f"{url} sent more than {_BYTES_MAX} bytes")
            expected = answer.headers.get("Content-Length")
    except HTTPError as error:
        raise DumpError(f"{url} answered {error.code}") from error
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DumpError(f"{url} cannot be read: {reason}") from error
    if expected is not None and size < int(expected):
        # http.client notices this in read() but not in read1().
        raise DumpError(f"{url} ended after {size} of {expected} bytes")
    return b"".join(pieces)
