"""Every route of the gateway."""

from litestar.handlers import HTTPRouteHandler

from gapi.routes import operations, orders, pages, trading, webhooks

HANDLERS: list[HTTPRouteHandler] = [
    *operations.HANDLERS,
    *pages.HANDLERS,
    *orders.HANDLERS,
    *trading.HANDLERS,
    *webhooks.HANDLERS,
]
