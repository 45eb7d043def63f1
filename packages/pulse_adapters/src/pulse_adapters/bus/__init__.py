"""The event bus of one process."""
