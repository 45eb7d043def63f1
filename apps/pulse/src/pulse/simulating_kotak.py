"""`pulse simulate kotak`: the face's settings, and what it says of itself."""

import shlex
import socket
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from pulse.errors import BadInput
from pulse.simulating import FaceToRun, Run
from pulse_adapters.kotak.settings import check_mobile_number, check_mpin, check_totp_seed, check_ucc
from pulse_adapters.simulator.kotak.app import KotakFace
from pulse_adapters.simulator.kotak.serve import KotakSimulator, serve_kotak
from pulse_adapters.simulator.kotak.settings import Greeting, NeoAccount, NeoSettings
from pulse_adapters.simulator.kotak.totp import code_at
from pulse_adapters.simulator.opening import Feed, SimulatorOptions
from pulse_domain.ports.clock import Clock


def kotak_face(
    run: Run,
    access_token: str,
    mobile_number: str,
    ucc: str,
    mpin: str,
    totp_seed: str,
    greeting: str,
    static_ips: Iterable[str],
) -> FaceToRun[KotakFace]:
    """Raises BadInput for what a client would not be allowed to log in with."""
    account = NeoAccount(
        access_token=access_token,
        mobile_number=_checked("--mobile-number", mobile_number, check_mobile_number),
        ucc=_checked("--ucc", ucc, check_ucc),
        mpin=_checked("--mpin", mpin, check_mpin),
        totp_seed=_checked("--totp-seed", totp_seed, _check_seed),
    )
    settings = NeoSettings(
        account=account,
        greeting=Greeting(greeting),
        static_ips=frozenset(static_ips),
        has_limits=run.has_limits,
    )

    def serve(
        options: SimulatorOptions, feed: Feed, clock: Clock, listener: socket.socket
    ) -> AbstractAsyncContextManager[KotakSimulator]:
        return serve_kotak(options, settings, feed, clock, listener)

    def banner(simulator: KotakSimulator) -> str:
        url = simulator.url
        variables = {
            "KOTAK_LOGIN_URL": url,
            "KOTAK_BASE_URL": url,
            "KOTAK_ACCESS_TOKEN": access_token,
            "KOTAK_MOBILE_NUMBER": account.mobile_number,
            "KOTAK_UCC": account.ucc,
            "KOTAK_MPIN": account.mpin,
            "KOTAK_TOTP_SEED": account.totp_seed,
        }
        exports = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in variables.items())
        return f"""A simulated Kotak Neo is up, prices from {run.feed}, seed {run.seed}. Ctrl-C ends it.

  REST     {url}
  orders   {url.replace("http", "ws", 1)}/realtime
  prices   {url.replace("http", "ws", 1)}/apifeed
  control  {url}/_simulator   (POST /_simulator/login gives a session without a login)
  journal  {run.journal}

Who trades here is told:

{exports}
"""

    return FaceToRun(serve, banner)


def _check_seed(text: str) -> str:
    seed = check_totp_seed(text)
    try:
        code_at(seed, datetime.fromtimestamp(0, UTC))
    except ValueError:
        raise ValueError("is not base32: letters are missing at its end") from None
    return seed


def _checked(option: str, text: str, check: Callable[[str], str]) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise BadInput(f"{option} {error}") from None
