"""Every route of the gateway."""

from litestar.handlers import HTTPRouteHandler

from gapi.routes import operations, orders, pages, postbacks, trading, webhooks

HANDLERS: list[HTTPRouteHandler] = [
    *orders.HANDLERS,
    *trading.HANDLERS,
    *webhooks.HANDLERS,
    *postbacks.HANDLERS,
    *operations.HANDLERS,
    *pages.HANDLERS,
]
