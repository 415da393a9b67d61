"""A script: answers each line of standard input. `python script.py < questions.txt`"""

import signal
import sys
from pathlib import Path

from pointsman import Router

CONFIG = Path(__file__).with_name("pointsman.toml")


def main() -> None:
    """Print an answer for each question."""
    # Python leaves at once on SIGTERM, past every `with`. So it does as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with Router.from_toml(CONFIG) as router:
        for question in sys.stdin:
            print(router.complete(question.strip()).text, flush=True)


if __name__ == "__main__":
    main()
