"""One e-mail draft through the synchronous face: `python complete.py`."""

import sys
from pathlib import Path

from pointsman import Router
from pointsman.errors import RouteError

CONFIG = Path(__file__).with_name("pointsman.toml")

LEAD = """Navn: Mette Hansen
Kilde: rengøring.nu
Opgave: flytterengøring, tre værelser, Aarhus C
Status: ny"""

PROMPT = f"Skriv et kort, venligt svar på dansk til denne kunde, og foreslå et tidspunkt for en besigtigelse.\n\n{LEAD}"


def main() -> int:
    """Draft the e-mail; 1 if nobody answered."""
    with Router.from_toml(CONFIG) as router:
        try:
            reply = router.complete(PROMPT, task="email-draft", unit=42, labels={"source": "rengøring.nu"})
        except RouteError as error:
            explain(error)
            return 1
    print(reply.text)
    if reply.decision:
        print(f"\n[{reply.decision.served}, path {reply.decision.path}]", file=sys.stderr)
    return 0


def explain(error: RouteError) -> None:
    """Say what was tried and what came of it."""
    print(f"No answer: {error}", file=sys.stderr)
    if error.decision:
        for attempt in error.decision.attempts:
            print(f"  {attempt.target}: {attempt.failure or attempt.outcome}", file=sys.stderr)
        for skipped in error.decision.skipped:
            print(f"  {skipped.target}: skipped, {skipped.why}", file=sys.stderr)
    if error.retry_after is not None:
        print(f"Try again in {error.retry_after:.0f} s.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
