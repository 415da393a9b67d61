"""A pool of forked workers, as Celery has one: `python workers.py < questions.txt`."""

import multiprocessing
import signal
import sys
from multiprocessing.util import Finalize
from pathlib import Path

from pointsman import Router

# Made once, before the fork, and not used there: whatever is wrong with the configuration is said once, and a router
# that has not been used has no threads, which a fork would not copy. Each worker opens what it needs by itself.
router = Router.from_toml(Path(__file__).with_name("pointsman.toml"))


def begin() -> None:
    """Prepare a worker. In Celery these are `worker_process_init` and `worker_process_shutdown`."""
    # A terminal and a service manager signal all processes. When the workers end is for their parent to say.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # A worker of a pool leaves past `atexit`, so nobody else would close its router.
    Finalize(None, router.close, exitpriority=10)


def work(question: str) -> str:
    """Answer one question in a worker."""
    return router.complete(question).text


def main() -> None:
    """Print the answers as they come. What has been taken is finished, whenever the signal to stop comes."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    pool = multiprocessing.get_context("fork").Pool(2, begin)
    try:
        for question in sys.stdin:
            pool.apply_async(work, (question.strip(),), callback=show, error_callback=show)
    finally:
        pool.close()
        pool.join()


def show(result: object) -> None:
    """Print an answer, or the error in its place."""
    print(result, flush=True)


if __name__ == "__main__":
    main()
