"""Several tasks at once through the asynchronous face: `python acomplete.py`."""

import asyncio
import sys
from pathlib import Path

from pointsman import Router
from pointsman.errors import RouteError

CONFIG = Path(__file__).with_name("pointsman.toml")

LEAD = "Mette Hansen, fra rengøring.nu: flytterengøring af tre værelser i Aarhus C."

PROMPTS = {
    "lead-analysis": f"Vurdér dette lead på en skala fra 1 til 10, og begrund det i én sætning. {LEAD}",
    "email-draft": f"Skriv et kort, venligt svar på dansk til denne kunde. {LEAD}",
    "complex-reasoning": f"Lav en plan i fem trin for denne opgave, fra besigtigelse til faktura. {LEAD}",
    "chat": "Hvad skal en kunde selv have klaret, før vi kommer og gør rent efter en flytning?",
}


async def main() -> int:
    """Ask everything at once; 1 if something stayed without an answer."""
    async with Router.from_toml(CONFIG) as router, asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(router, task, prompt)) for task, prompt in PROMPTS.items()]
    return 0 if all(question.result() for question in asked) else 1


async def ask(router: Router, task: str, prompt: str) -> bool:
    """Print the answer, or why there is none. A failure here leaves the other tasks alone."""
    messages = [
        {"role": "system", "content": "Du er assistent i et dansk rengøringsfirma."},
        {"role": "user", "content": prompt},
    ]
    try:
        reply = await router.acomplete(messages, task=task, unit="u-17", temperature=0.3)
    except RouteError as error:
        tried = ", ".join(f"{attempt.target}: {attempt.failure or attempt.outcome}" for attempt in error.attempts)
        again = "" if error.retry_after is None else f"\nTry again in {error.retry_after:.0f} s."
        print(f"## {task}\nNo answer: {error} ({tried or 'nothing was tried'}){again}\n", file=sys.stderr)
        return False
    served = reply.decision and reply.decision.served
    print(f"## {task} [{served}]\n{reply.text}\n")
    return True


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
