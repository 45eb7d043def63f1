"""The face of Kite Connect v3: REST at the host's root, websocket ticker, postbacks."""
