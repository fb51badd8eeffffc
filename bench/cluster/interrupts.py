"""Ctrl-C and SIGTERM while packs train: the first lets them finish, the second ends them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_on_interrupt(stop: threading.Event, warn: Callable[[str], None]) -> Iterator[None]:
    """Inside the block the first Ctrl-C sets `stop`; the second, or a SIGTERM, raises KeyboardInterrupt.

    Signals reach the main thread alone: in another one nothing is held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        if stop.is_set() or number == signal.SIGTERM:
            stop.set()
            raise KeyboardInterrupt
        stop.set()
        warn("stopping: packs in training finish, no new one starts; Ctrl-C again stops at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
