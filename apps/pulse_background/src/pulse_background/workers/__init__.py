"""The loops. Each is a poll around use cases: a hint makes it come sooner, nothing makes it unneeded.

A loop goes on through an unreachable store or broker, and only through those: anything else is a fault of
ours, ends the process, and is restarted from the rows in the store.
"""
