"""Every route of the gateway."""

from litestar.handlers import HTTPRouteHandler

from gapi.routes import operations, orders, pages, trading, webhooks

HANDLERS: list[HTTPRouteHandler] = [
    *orders.HANDLERS,
    *trading.HANDLERS,
    *webhooks.HANDLERS,
    *operations.HANDLERS,
    *pages.HANDLERS,
]
