"""Outlets: stdout and stderr, written by a thread each, so that a reader who does not read never holds the program.

A pipe or terminal is not made non-blocking: that flag belongs to every process that shares it.
"""

from __future__ import annotations

import io
import math
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Outlet"]

_STALLED_AFTER = 0.25
"""Seconds without a byte taken after which a stream no longer delays what comes later on the other stream."""
_PIECE = 4096
"""Bytes written at once: so few that a slow reader is seen to take them."""


class Outlet(io.RawIOBase):
    """A raw stream that accepts everything at once, and writes it when the reader takes it.

    Args:
        number: The file descriptor.
        twin: Another outlet. What the program writes to the two is written in the same order.

    Attributes:
        twin: The other outlet.
        changed: Notified of every change; the twins share it, and its lock guards the figures of both.
        given: Bytes accepted so far.
        taken: Bytes written so far.
        moved_at: When the reader took something last, or was given something after it had taken all.
        error: Why nothing can be written any more.
    """

    def __init__(self, number: int, twin: Outlet | None = None) -> None:
        super().__init__()
        self._number = number
        self.twin = twin
        self.changed: threading.Condition = threading.Condition() if twin is None else twin.changed
        if twin is not None:
            twin.twin = self
        # Each with the number of bytes that the twin had accepted before.
        self._queue: deque[tuple[memoryview, int]] = deque()
        self._thread: threading.Thread | None = None
        self.given = 0
        self.taken = 0
        self.moved_at = 0.0
        self.error: OSError | None = None

    # -- as a raw stream ----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The file descriptor."""
        return self._number

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._number)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Take the data; what was written after an error is dropped."""
        view = memoryview(bytes(data))
        with self.changed:
            if not view or self.error is not None:
                return len(view)
            if self._is_empty:
                self.moved_at = time.monotonic()
            self.given += len(view)
            self._queue.append((view, 0 if self.twin is None else self.twin.given))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"ecs-waiter-fd{self._number}", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    # No more threads: better late than never.
                    self._thread = None
            self.changed.notify_all()
        if self._thread is None:
            self._write_all()
        return len(view)

    # -- as the program sees it ---------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Bytes that are not written yet."""
        return self.given - self.taken

    def stalled_for(self, since: float) -> float:
        """Seconds for which the reader has taken nothing, from `since` on at the earliest; 0 if nothing is left."""
        with self.changed:
            return 0.0 if self._is_empty else time.monotonic() - max(since, self.moved_at)

    def drain(self, patience: float | None, *, within: float = math.inf) -> bool:
        """Wait until all is written or has failed.

        Returns:
            False if the reader takes nothing for `patience` seconds, or if writing takes longer than `within` seconds.
        """
        since = time.monotonic()
        while (stalled := self.stalled_for(since)) or not self._is_empty:
            left = None if patience is None else patience - stalled
            if within < math.inf:
                left = min(within - (time.monotonic() - since), math.inf if left is None else left)
            if left is not None and left <= 0:
                return False
            with self.changed:
                if not self._is_empty:
                    # A limit, for a wait without one cannot be interrupted everywhere.
                    self.changed.wait(1.0 if left is None else min(left, 1.0))
        return True

    # -- the thread ---------------------------------------------------------------------------------------------------

    @property
    def _is_empty(self) -> bool:
        return self.given == self.taken

    def _work(self) -> None:
        while True:
            with self.changed:
                while not self._queue:
                    self.changed.wait()
            self._write_all()

    def _write_all(self) -> None:
        while self._queue:
            view, before = self._queue.popleft()
            self._wait_for_twin(before)
            while view:
                try:
                    count = os.write(self._number, view[:_PIECE])
                except BlockingIOError:
                    # Somebody else who shares the stream made it non-blocking.
                    time.sleep(0.01)
                    continue
                except OSError as error:
                    self._fail(error)
                    return
                view = view[count:]
                with self.changed:
                    self.taken += count
                    self.moved_at = time.monotonic()
                    self.changed.notify_all()

    def _wait_for_twin(self, given: int) -> None:
        """Let the twin write first what it accepted first, unless its reader does not read."""
        twin = self.twin
        if twin is None:
            return
        with self.changed:
            while twin.taken < given:
                left = twin.moved_at + _STALLED_AFTER - time.monotonic()
                if left <= 0:
                    return
                self.changed.wait(left)

    def _fail(self, error: OSError) -> None:
        with self.changed:
            self.error = error
            self._queue.clear()
            self.taken = self.given
            self.changed.notify_all()
