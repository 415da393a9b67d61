"""The twelve calls of the demo: one morning of a cleaning company's assistant."""

from attrs import frozen


@frozen(kw_only=True)
class Job:
    """One call, and what a model would answer to it."""

    task: str
    unit: int
    about: str
    prompt: str
    answer: str


LEADS = (
    (42, "Mette Hansen", "rengøring.nu", "flytterengøring af tre værelser i Aarhus C"),
    (12, "et kontor", "rengøring.nu", "ugentlig rengøring af 240 m²"),
    (7, "en familie", "Rengøring Århus", "hovedrengøring af et køkken"),
    (23, "en klinik", "Leadpoint", "daglig rengøring før kl. 8"),
    (5, "en butik", "Netberrau", "vinduespudsning hver måned"),
)
"""Each user's lead: who asks, where they come from, and what they want."""

OFFERS = (
    "Kære Mette Hansen. Tak for din henvendelse om flytterengøring i Aarhus C. Vi kan komme på fredag kl. 9.",
    "Tak for jeres henvendelse. En ugentlig rengøring af 240 m² tager os tre timer; vi foreslår onsdage.",
    "Tak for din henvendelse. En hovedrengøring af køkkenet inkl. emhætte og ovn tager fire timer.",
    "Tak for jeres henvendelse. Vi kan gøre klinikken ren hver morgen mellem kl. 6 og 7.30.",
    "Tak for din henvendelse. Vi pudser gerne jeres vinduer den første mandag i hver måned.",
)

PLANS = (
    "1. Ring i dag. 2. Bekræft fredag kl. 9. 3. Send tilbud på tre værelser. 4. Book to medarbejdere.",
    "1. Aftal besøg. 2. Mål 240 m² op. 3. Send fast pris pr. uge. 4. Foreslå start d. 1.",
)


def jobs() -> list[Job]:
    """Five leads analysed, five e-mails drafted, two task plans made."""
    leads = [
        Job(
            task="lead-analysis",
            unit=user,
            about=f"lead from {source}",
            prompt=f"Vurder dette lead: {who} ({source}) ønsker {wish}.",
            answer=f"Kvalificeret: ja. {who} ønsker {wish}; ring i dag.",
        )
        for user, who, source, wish in LEADS
    ]
    drafts = [
        Job(
            task="email-draft",
            unit=user,
            about=f"reply to {who}",
            prompt=f"Svar {who}, som ønsker {wish}.",
            answer=answer,
        )
        for (user, who, _, wish), answer in zip(LEADS, OFFERS, strict=True)
    ]
    plans = [
        Job(
            task="complex-reasoning",
            unit=user,
            about=f"plan for {who}",
            prompt=f"Læg en plan: {who} ønsker {wish}.",
            answer=answer,
        )
        for (user, who, _, wish), answer in zip(LEADS, PLANS, strict=False)
    ]
    return [*leads, *drafts, *plans]
