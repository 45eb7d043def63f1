"""This API as an OpenAPI document."""

from typing import Any

from litestar import Litestar

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        }
    },
}
_ALWAYS = {"400": "malformed", "405": "wrong method", "500": "a fault of ours", "503": "send it again"}
_WITH_TOKEN = {"401": "no or wrong service token"}
_WITH_BODY = {"413": "body too large", "415": "not JSON", "422": "a business rule"}
_OF_ORDER = {"404": "no such order"}
_OF_EXECUTION = {"404": "no such execution", "409": "its fate is known, or not which one is meant"}
_OF_POSTBACK = {"403": "wrong checksum", "404": "not configured", "413": "body too large"}
_POSTBACK_BODY = {
    "required": True,
    "description": "As the broker posted it; the media type is not looked at.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["order_id", "order_timestamp", "checksum"],
                "properties": {
                    name: {"type": "string"} for name in ("order_id", "order_timestamp", "checksum")
                },
            }
        }
    },
}
_CONFLICTS = {
    "/internal/orders",
    "/internal/orders/{order_id}/cancel",
    "/internal/orders/{order_id}/pause",
}
_OF_STRATEGY = {"put": {"409": "to be stopped first"}, "post": {"404": "no such strategy"}}
_OF_RESUME = {"409": "only a confirmed reconcile ends this halt"}


def describe(app: Litestar) -> dict[str, Any]:
    """The document, with every error answer in the envelope of the contract."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    document["servers"] = [{"url": "/"}]
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["ErrorBody"] = _ERROR
    components["securitySchemes"] = {"serviceToken": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _declare_errors(path, method, operation)
    return document


def _declare_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    errors = dict(_ALWAYS)
    if path.startswith("/internal"):
        errors |= _WITH_TOKEN
        operation["security"] = [{"serviceToken": []}]
    if "requestBody" in operation:
        errors |= _WITH_BODY
    if path.startswith("/internal/postbacks"):
        errors |= _OF_POSTBACK
        operation["requestBody"] = _POSTBACK_BODY
    if "{order_id}" in path:
        errors |= _OF_ORDER
    if path.endswith("/resolve"):
        errors |= _OF_EXECUTION
    if method == "post" and path in _CONFLICTS:
        errors["409"] = "another request has the key, or the order is done"
    if method == "post" and path in ("/internal/trading/resume", "/internal/trading/reconcile"):
        errors |= _OF_RESUME
    if "/strategies/" in path:
        errors |= _OF_STRATEGY[method]
    if path.endswith("/events"):
        operation["responses"]["204"] = {"description": "The order is done and every row was sent"}
    for status, description in errors.items():
        operation["responses"][status] = {
            "description": description,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
        }
