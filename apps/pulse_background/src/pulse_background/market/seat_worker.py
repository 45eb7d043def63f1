"""`python -m pulse_background.market.seat_worker FD`: one strategy, for whoever has the socket's other end."""

import os
import signal
import socket
import sys

from pulse_background.market.messages import Answer, Done, Make
from pulse_background.market.seat import Seat, SeatFailed, failed
from pulse_background.market.seat_process import HEAD, decode_messages, frame


def give_way() -> None:
    """Take what is left over of the machine: prices and orders come first."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def work(connection: socket.socket) -> None:
    """Work on messages until the other end goes."""

    def answer(given: Answer) -> None:
        connection.sendall(frame(given))

    with connection.makefile("rb") as arriving:
        seat = Seat(answer)
        while len(head := arriving.read(HEAD)) == HEAD:
            try:
                for message in decode_messages(arriving.read(int.from_bytes(head))):
                    seat.take(message)
                    if isinstance(message, Make) and seat.is_cpu_bound:
                        give_way()
            except SeatFailed as error:
                answer(failed(error))
                return
            answer(Done())


def main() -> int:
    # Ctrl-C at a terminal is for the one who started this: it closes the socket when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with socket.socket(fileno=int(sys.argv[1])) as connection:
            work(connection)
    except OSError:
        return 1  # the other end is gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
