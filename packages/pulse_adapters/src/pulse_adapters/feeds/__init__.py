"""Prices without a broker: made up (`synthetic`) or played from the user's files (`replay`)."""
