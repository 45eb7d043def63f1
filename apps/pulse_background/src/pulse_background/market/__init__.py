"""The market half: prices in, candles and strategies on them, orders out."""
