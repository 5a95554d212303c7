"""Outlets: stdout and stderr are written by a thread each, so that a slow reader never blocks the program.

A pipe or terminal is not made non-blocking, because every process that shares it would be affected.
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
"""Seconds without progress after which a stream no longer delays what is written later to the other stream."""
_PIECE = 4096
"""Bytes per write: so few that a slow reader makes visible progress."""


class Outlet(io.RawIOBase):
    """A raw stream that accepts everything immediately, and writes it as fast as the reader takes it.

    Args:
        number: The file descriptor.
        twin: Another outlet. What the program writes to the two is written in the same order.

    Attributes:
        twin: The other outlet.
        changed: Notified of every change. The twins share it; its lock guards the counters of both.
        given: Bytes accepted so far.
        taken: Bytes written so far.
        moved_at: When the reader last took something, or the queue last stopped being empty.
        error: Why nothing can be written anymore.
    """

    def __init__(self, number: int, twin: Outlet | None = None) -> None:
        super().__init__()
        self._number = number
        self.twin = twin
        self.changed: threading.Condition = threading.Condition() if twin is None else twin.changed
        if twin is not None:
            twin.twin = self
        # Each with the number of bytes that the twin had accepted before.
        self._queue: deque[tuple[bytes, int]] = deque()
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
        """Always true."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Queue the data; after an error it is dropped."""
        piece = bytes(data)
        count = len(piece)
        with self.changed:
            if not piece or self.error is not None:
                return count
            if self._is_empty:
                self.moved_at = time.monotonic()
            self.given += count
            before = 0 if self.twin is None else self.twin.given
            if self._queue and self._queue[-1][1] == before and len(self._queue[-1][0]) < _PIECE:
                # One large write takes less memory and time than many small ones.
                piece = self._queue.pop()[0] + piece
            self._queue.append((piece, before))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"ecs-waiter-fd{self._number}", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    # The process can start no thread: write now, and try again at the next write.
                    self._thread = None
            self.changed.notify_all()
        if self._thread is None:
            self._write_all()
        return count

    # -- for the program ----------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Bytes that are not written yet."""
        return self.given - self.taken

    def stalled_for(self, since: float) -> float:
        """Seconds, counted from `since` at the earliest, in which the reader took nothing; 0 if nothing is left."""
        with self.changed:
            return 0.0 if self._is_empty else time.monotonic() - max(since, self.moved_at)

    def drain(self, patience: float | None, *, within: float = math.inf) -> bool:
        """Wait until everything is written or has failed.

        Returns:
            False if the reader takes nothing for `patience` seconds, or writing takes longer than `within` seconds.
        """
        since = time.monotonic()
        while (stalled := self.stalled_for(since)) or not self._is_empty:
            left = math.inf if patience is None else patience - stalled
            left = min(left, within - (time.monotonic() - since))
            if left <= 0:
                return False
            with self.changed:
                if not self._is_empty:
                    # In steps, because some platforms cannot interrupt an endless wait.
                    self.changed.wait(min(left, 1.0))
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
            with self.changed:
                piece, before = self._queue.popleft()
            view = memoryview(piece)
            self._wait_for_twin(before)
            while view:
                try:
                    count = os.write(self._number, view[:_PIECE])
                except BlockingIOError:
                    # Another process that shares the stream made it non-blocking.
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
        """Wait until the twin has written what it accepted earlier, unless its reader has stalled."""
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
