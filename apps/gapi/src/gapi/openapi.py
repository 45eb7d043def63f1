"""This API as an OpenAPI 3.1 document.

The routes come from Litestar, the types from msgspec (Litestar leaves out patterns inside unions, and that
unknown fields are refused), the errors from the tables below, which repeat the contract.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig

from gapi import answers, api_examples
from gapi.auth import Scope
from gapi.docs_page import MEDIA_TYPES
from gapi.gateway import GatewayRequest
from gapi.orders import OrderRequest, PreviewRequest, TradingCommand
from gapi.routes import HANDLERS
from gapi.strategies import StrategyRequest
from service_kit import ErrorBody

_DESCRIPTION = """\
Send orders to be executed in slices, and watch them.

Every request may carry `X-Request-Id` and `X-Trace-Id` (1 to 128 of `A-Z a-z 0-9 _ . : -`) or a W3C
`traceparent`; every answer carries both ids, and so does every log line about the order. Bodies are JSON of at
most 64 KiB. An error is `{"error": {"code", "message", "details"}}`; after a 503 send the same request again.
"""

_TYPES = (
    OrderRequest, PreviewRequest, TradingCommand, answers.Health, answers.Readiness, answers.Accepted,
    answers.Order, answers.OrderPage, answers.Slices, answers.Preview, answers.TradingState,
    answers.Taken, StrategyRequest, answers.Strategy, answers.Strategies, answers.Positions,
    answers.LedgerPage, ErrorBody,
)  # fmt: skip

_BODY = (400, 413, 415)
_ALERT = (400, 401, 409, 413, 422, 503)
_TOKEN = (401, 403)
# By the name of the handler; each also has 500.
_ERRORS: dict[str, tuple[int, ...]] = {
    "health": (),
    "ready": (),
    "internal_ready": (401,),
    "metrics": (401,),
    "openapi_json": (),
    "docs": (),
    "docs_asset": (404,),
    "create_order": (*_TOKEN, *_BODY, 409, 422, 503),
    "preview_order": (*_TOKEN, *_BODY, 422, 503),
    "list_orders": (*_TOKEN, 400, 503),
    "get_order": (*_TOKEN, 404, 503),
    "get_slices": (*_TOKEN, 404, 503),
    "follow_order": (*_TOKEN, 400, 404, 503),
    "cancel_order": (*_TOKEN, 404, 409, 503),
    "halt": (*_TOKEN, *_BODY, 503),
    "resume": (*_TOKEN, 409, *_BODY, 503),
    "list_strategies": (*_TOKEN, 503),
    "put_strategy": (*_TOKEN, *_BODY, 409, 503),
    "start_strategy": (*_TOKEN, 404, 503),
    "stop_strategy": (*_TOKEN, 404, 503),
    "get_positions": (*_TOKEN, 400, 503),
    "list_ledger": (*_TOKEN, 400, 503),
    "tradingview_alert": _ALERT,
    "tradingview_alert_by_path": _ALERT,
    "zerodha_postback": (400, 403, 404, 413, 503),
}
_MEANINGS = {
    400: "INVALID_REQUEST, INVALID_INSTRUMENT, INVALID_QUANTITY, INVALID_PRICE, INVALID_SPLIT_CONFIG: "
    "`details.field` is missing, unknown, of the wrong type or out of range",
    401: "UNAUTHORIZED: no credentials, or bad or expired ones",
    403: "FORBIDDEN: the token lacks the scope in `details.scope`, or the checksum is wrong",
    404: "NOT_FOUND: there is none, none for this client, or it is not configured",
    409: "DUPLICATE_ORDER_UNIQUE_KEY, NOT_CANCELLABLE, RECONCILE_REQUIRED: it contradicts what is stored; "
    "INVALID_REQUEST: the strategy is to be stopped first",
    413: "PAYLOAD_TOO_LARGE: the body is above 64 KiB",
    415: "UNSUPPORTED_MEDIA_TYPE: the body is not application/json",
    422: "MARKET_CLOSED, LIMITS_EXCEEDED, RISK_REJECTED, TRADING_HALTED, and the INVALID codes where a rule of "
    "the market or of the broker is broken",
    500: "INTERNAL_ERROR: a fault of ours; the log has the request id",
    503: "UPSTREAM_UNAVAILABLE, DATABASE_ERROR: send the same request again",
}
_SCOPES = {
    Scope.READ: (
        "preview_order",
        "list_orders",
        "get_order",
        "get_slices",
        "follow_order",
        "list_strategies",
        "get_positions",
        "list_ledger",
    ),
    Scope.WRITE: ("create_order", "cancel_order"),
    Scope.ADMIN: ("halt", "resume", "put_strategy", "start_strategy", "stop_strategy"),
}
_SECURITY = {
    "/api/orders": "token",
    "/api/trading": "token",
    "/api/strategies": "token",
    "/api/positions": "token",
    "/api/ledger": "token",
    "/internal": "serviceToken",
}
_SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "HMAC SHA-256, with `sub`, `exp` and `scope`: orders:read, orders:write, admin.",
    },
    "serviceToken": {"type": "http", "scheme": "bearer", "description": "For operations."},
}
_EXAMPLES = {
    "create_order": api_examples.ORDERS,
    "preview_order": api_examples.PREVIEWS,
    "halt": api_examples.TRADING,
    "resume": api_examples.TRADING,
    "put_strategy": api_examples.STRATEGIES,
}
_ALERT_EXAMPLES = {
    "tradingview_alert": api_examples.ALERTS,
    "tradingview_alert_by_path": api_examples.ALERTS_BY_PATH,
}


def document() -> dict[str, Any]:
    """Build the document; this needs no server and no settings."""
    app = Litestar(
        HANDLERS,
        request_class=GatewayRequest,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Orders API",
            version="1.0.0",
            description=_DESCRIPTION,
            operation_id_creator=lambda handler, _method, _path: handler.handler_name,
        ),
    )
    made: dict[str, Any] = app.openapi_schema.to_schema()
    for path, operation in _operations(made):
        _complete(path, operation)
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    schemas["Alert"] = api_examples.ALERT
    made["components"] = {
        "schemas": dict(sorted(schemas.items())),
        "headers": _COMPONENT_HEADERS,
        "securitySchemes": _SECURITY_SCHEMES,
    }
    # How Python has to say "to the very end"; in JSON Schema the plain sign means that.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made).replace(rb"(?!\\n)$", b"$"))
    return plain


def _operations(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in made["paths"].items():
        for operation in item.values():
            yield path, operation


def _complete(path: str, operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    del operation["deprecated"]
    for scope, names in _SCOPES.items():
        if name in names:
            operation["description"] = f"Needs the scope {scope}."
    operation["security"] = [{scheme: []} for prefix, scheme in _SECURITY.items() if path.startswith(prefix)]
    operation["parameters"] = [_parameter(found) for found in operation.get("parameters", ())]
    if name == "create_order":
        operation["parameters"].append(_IDEMPOTENCY_KEY)
    if name == "zerodha_postback":
        operation["requestBody"] = _POSTBACK_BODY
    elif name in _ALERT_EXAMPLES:
        operation["requestBody"] = _alert_body(_ALERT_EXAMPLES[name])
    elif name in _EXAMPLES:
        operation["requestBody"]["content"]["application/json"]["examples"] = _EXAMPLES[name]
    operation["responses"] = dict(_responses(name, operation["responses"]))


def _responses(name: str, found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, answer in found.items():
        if status < "300":
            accepted = ("Location", "Idempotent-Replayed") if name in _ACCEPTING else ()
            content = _CONTENTS.get(name) or answer["content"]
            yield status, {"description": "Done", "headers": _headers(*accepted), "content": content}
    if name == "follow_order":
        yield "204", {"description": "The order is done and every event was sent", "headers": _headers()}
    if name in ("ready", "internal_ready"):
        body = {"application/json": {"schema": {"$ref": "#/components/schemas/Readiness"}}}
        yield "503", {"description": "Not ready", "headers": _headers("Retry-After"), "content": body}
    for error in sorted((*_ERRORS[name], 500)):
        yield (
            str(error),
            {
                "description": _MEANINGS[error],
                "headers": _headers(*(("Retry-After",) if error == 503 else ())),
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
            },
        )


def _headers(*more: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "X-Trace-Id", *more)}


def _parameter(found: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        key: int(value) if isinstance(value, float) else value  # Litestar writes "maximum": 200.0
        for key, value in found["schema"].items()
        if key != "description"
    }
    if "oneOf" in schema:  # "or null" is how an absent parameter reaches the handler; nobody can send it
        schema |= schema.pop("oneOf")[0]
    if found["name"] in _PATTERNS:
        schema["pattern"] = _PATTERNS[found["name"]]
    kept: dict[str, Any] = {key: found[key] for key in _PARAMETER_KEYS if key in found}
    return {**kept, "schema": schema}


def _alert_body(examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "description": "The media type is not looked at.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Alert"}, "examples": examples},
            "text/plain": {"schema": {"type": "string", "description": "The same JSON as text."}},
        },
    }


def _header(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "schema": schema}


_ACCEPTING = ("create_order", *_ALERT_EXAMPLES)
# Where the handler answers with ready bytes.
_CONTENTS: dict[str, dict[str, Any]] = {
    "openapi_json": {"application/json": {"schema": {"type": "object"}}},
    "metrics": {"text/plain": {"schema": {"type": "string"}}},
    "docs_asset": {kind: {"schema": {"type": "string"}} for kind in sorted(set(MEDIA_TYPES.values()))},
}
_PARAMETER_KEYS = ("name", "in", "description", "required")
_KEY = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"}
_PATTERNS = {
    "order_id": "^ord_[0-9a-z]{26}$",
    "name": "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$",
    "last_event_id": "^[0-9]{0,18}$",
    "Last-Event-ID": "^[0-9]{0,18}$",
}
_POSTBACK_BODY = {
    "required": True,
    "description": "As the broker makes it: an order, and a checksum with the app's secret. "
    "The media type is not looked at.",
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
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Stands in for order_unique_key; where both are given they must be equal.",
    "required": False,
    "schema": _KEY,
}
_COMPONENT_HEADERS = {
    "X-Request-Id": _header(_KEY, "The id that the request came with, or a new one."),
    "X-Trace-Id": _header(_KEY, "The trace that the request belongs to, or a new one."),
    "Location": _header({"type": "string"}, "Where the order is to be found."),
    "Idempotent-Replayed": _header({"const": "true"}, "Present where the same request was accepted before."),
    "Retry-After": _header({"type": "integer"}, "In seconds."),
}
