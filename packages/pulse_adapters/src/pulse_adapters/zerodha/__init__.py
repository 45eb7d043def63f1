"""Zerodha through Kite Connect: REST by its SDK, order updates by its websocket, a person's login."""
