"""Parts of the OpenAPI document that no type yields: the lenient alert, and examples of what to send."""

from typing import Any

ORDERS: dict[str, Any] = {
    "split": {
        "summary": "10,000 shares over the next hour, in 12 randomised slices",
        "value": {
            "order_unique_key": "alpha-2026-01-05-001",
            "instrument": "NSE:RELIANCE",
            "side": "BUY",
            "total_quantity": 10000,
            "split_config": {"num_splits": 12, "duration_minutes": 60, "randomize": True},
        },
    },
    "limit": {
        "summary": "One limit order, now",
        "value": {
            "order_unique_key": "alpha-2026-01-05-002",
            "instrument": "NSE:TCS",
            "side": "SELL",
            "total_quantity": 50,
            "order_type": "LIMIT",
            "limit_price": "3787.05",
            "product": "MIS",
            "strategy_tag": "alpha",
        },
    },
}

PREVIEWS: dict[str, Any] = {
    name: {**example, "value": {k: v for k, v in example["value"].items() if k != "order_unique_key"}}
    for name, example in ORDERS.items()
}

TRADING: dict[str, Any] = {"halt": {"summary": "Why", "value": {"reason": "strategy alpha misbehaves"}}}

STRATEGIES: dict[str, Any] = {
    "macd": {
        "summary": "MACD on two shares, on paper, with 1 % of the equity at risk in each position",
        "value": {
            "kind": "macd",
            "instruments": ["NSE:TCS", "NSE:INFY"],
            "parameters": {"risk_percent": "1", "candle_minutes": 5},
            "mode": "paper",
            "capital": "500000",
        },
    }
}

ALERTS: dict[str, Any] = {
    "strategy": {
        "summary": "A strategy's order, as TradingView fills it in; all values may be strings",
        "value": {
            "apikey": "the-secret-of-the-hook",
            "strategy": "Long",
            "symbol": "RELIANCE",
            "exchange": "NSE",
            "action": "buy",
            "quantity": "10",
            "position_size": "10",
            "pricetype": "MARKET",
            "product": "MIS",
        },
    }
}
ALERTS_BY_PATH: dict[str, Any] = {
    "short": {
        "summary": "The secret is in the address; the hook's default split applies",
        "value": {"ticker": "NSE:TCS", "action": "sell", "quantity": "600"},
    }
}


def _text(description: str) -> dict[str, Any]:
    return {"type": ["string", "null"], "description": description}


def _number(description: str) -> dict[str, Any]:
    return {"type": ["string", "number", "null"], "description": description}


ALERT: dict[str, Any] = {
    "title": "Alert",
    "type": "object",
    "description": "Empty strings and null count as absent; a field and its alias exclude each other.",
    "properties": {
        "apikey": _text("The secret of the hook, where it is not in the address."),
        "secret": _text("As apikey."),
        "passphrase": _text("As apikey."),
        "instrument": _text("EXCHANGE:SYMBOL, in place of symbol and exchange."),
        "symbol": _text("`NSE:TCS` or `TCS`, in any case."),
        "ticker": _text("As symbol."),
        "exchange": _text("Default NSE; NSE_DLY and NSE_DL count as NSE."),
        "side": _text("Buy or sell, in any case."),
        "action": _text("As side."),
        "total_quantity": _number("A whole number of units."),
        "quantity": _number("As total_quantity."),
        "order_type": _text("MARKET, LIMIT, SL or SL-M, in any case."),
        "pricetype": _text("As order_type."),
        "limit_price": _number("Required with LIMIT and SL, refused otherwise."),
        "price": _number("As limit_price, but ignored where the order type takes none."),
        "trigger_price": _number("Required with SL and SL-M, refused otherwise."),
        "product": _text("CNC, MIS or NRML, in any case."),
        "validity": _text("DAY or IOC, in any case."),
        "start_at": _text("As in an order request."),
        "strategy_tag": _text("Characters outside A-Z a-z 0-9 _ . : - become _."),
        "strategy": _text("As strategy_tag."),
        "order_unique_key": _text("Without it, the same body within 30 s is a resend."),
        "split_config": {
            "type": ["object", "null"],
            "description": "In place of the hook's default split.",
            "properties": {
                "num_splits": _number("2 to 100."),
                "duration_minutes": _number("1 to 1440."),
                "randomize": {"type": ["boolean", "string", "null"]},
            },
            "additionalProperties": False,
        },
        "position_size": _number("Must agree with the order from a flat position."),
    },
    "additionalProperties": False,
}
