"""The work queue: on Dramatiq and Redis between processes, in memory within one."""
