"""Kotak Securities through its Neo Trade API: REST, order updates by websocket, login by TOTP and MPIN."""
