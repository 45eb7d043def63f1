"""Every route of the gateway."""

from litestar.handlers import HTTPRouteHandler

from gapi.routes import ledger, operations, orders, pages, postbacks, strategies, trading, webhooks

HANDLERS: list[HTTPRouteHandler] = [
    *orders.HANDLERS,
    *trading.HANDLERS,
    *strategies.HANDLERS,
    *ledger.HANDLERS,
    *webhooks.HANDLERS,
    *postbacks.HANDLERS,
    *operations.HANDLERS,
    *pages.HANDLERS,
]
