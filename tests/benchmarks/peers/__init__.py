"""One worker per run that `make bench-backtest` times; each is a process of its own, in its own environment."""
