"""Swagger UI from files that are installed with us: the page needs nothing from the internet."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Orders API</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""

_START = b"""\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  validatorUrl: null,
});
"""

# Nothing from elsewhere, and no script in the page itself. Swagger UI sets styles on its elements, and its
# style sheet holds images.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Asset(NamedTuple):
    content: bytes
    media_type: str


MEDIA_TYPES = {
    "favicon-16x16.png": "image/png",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


def asset(name: str) -> Asset | None:
    """Give one of the files that the page is made of; None for every other name."""
    media_type = MEDIA_TYPES.get(name)
    return Asset(_content(name), media_type) if media_type else None


@cache
def _content(name: str) -> bytes:
    return _START if name == "start.js" else (_folder() / name).read_bytes()


def _folder() -> Path:
    # Found without being imported: the package would import the web frameworks it supports.
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise RuntimeError("swagger-ui-py is not installed; it is among the requirements")
    return Path(spec.origin).parent / "static"
