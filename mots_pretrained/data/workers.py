"""What every worker process needs: to end when the process that started it is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent(_: int = 0) -> None:
    """Let this worker end as soon as its parent has; it would wait for a pipe for ever.

    The number that a DataLoader gives its workers is of no use here.
    """

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
