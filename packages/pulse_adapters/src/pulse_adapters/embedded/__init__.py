"""Postgres and Redis run from the wheels' own binaries, for tests and for a first start without a server.

Neither needs an installation, a root shell or an ordinary one, and neither outlives the process that
started it, however that process ends (see `guard`).
"""

from pulse_adapters.embedded.errors import EmbeddedServerError
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis", "EmbeddedServerError"]
