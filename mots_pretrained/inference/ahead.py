"""Work done ahead in a thread, a bounded number of results before they are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], *, most: int = 1) -> Generator[T, None, None]:
    """Yield items that a thread computes while the caller works on those before.

    Args:
        items: What to iterate in the thread. A generator is closed there when the caller stops.
        most: Items that are being computed or are waiting at any time.

    Raises:
        Exception: Whatever computing an item raised, where that item would have come.

    Example:
        >>> list(ahead(n * n for n in range(4)))
        [0, 1, 4, 9]
    """
    free = threading.Semaphore(most)
    stopped = threading.Event()
    done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            iterator = iter(items)
            while free.acquire() and not stopped.is_set():
                try:
                    done.put(("item", next(iterator)))
                except StopIteration:
                    break
            done.put(("end", None))
        except BaseException as error:
            done.put(("error", error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, item = done.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            free.release()
            yield item
            del item  # not held while the next one is waited for
    finally:
        stopped.set()
        free.release()
        thread.join()
