"""The broker's limits kept: within one process, shared through Redis, or on a share while Redis is away."""
