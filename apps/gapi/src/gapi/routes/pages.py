"""The description of this API, and a page to try it out on."""

from litestar import Response, get
from litestar.params import FromPath

from gapi import docs_page
from gapi.gateway import GatewayRequest
from service_kit import ServiceError

_TAGS = ["this API"]


@get("/openapi.json", media_type="application/json", tags=_TAGS, summary="This API as OpenAPI 3.1")
async def openapi_json(request: GatewayRequest) -> Response[bytes]:
    return Response(request.gateway.document, headers={"Cache-Control": "no-cache"})


@get("/docs", media_type="text/html", tags=_TAGS, summary="This API to try out")
async def docs() -> Response[str]:
    return Response(docs_page.PAGE, headers=_PAGE_HEADERS)


@get(
    "/docs/assets/{name:str}",
    media_type="application/octet-stream",
    tags=_TAGS,
    summary="What the page is made of",
)
async def docs_asset(name: FromPath[str]) -> Response[bytes]:
    asset = docs_page.asset(name)
    if asset is None:
        raise ServiceError("NOT_FOUND", "there is no such file")
    return Response(asset.content, media_type=asset.media_type, headers=_ASSET_HEADERS)


_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": docs_page.POLICY,
    "X-Content-Type-Options": "nosniff",
}
# The names stay the same over versions, so not for ever.
_ASSET_HEADERS = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}

HANDLERS = [openapi_json, docs, docs_asset]
