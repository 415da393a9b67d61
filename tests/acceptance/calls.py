"""The twelve calls of the acceptance run: five leads analysed, five e-mails drafted, two task plans made."""

from attrs import frozen

LEADS = {
    42: "Mette Hansen (rengøring.nu), flytterengøring af tre værelser i Aarhus C",
    12: "et kontor (rengøring.nu), ugentlig rengøring",
    7: "en familie (Rengøring Århus), hovedrengøring af et køkken",
    23: "en klinik (Leadpoint), daglig rengøring",
    5: "en butik (Netberrau), vinduespudsning",
}
"""By user: who asks, where they come from, what they want."""

QUALIFIED = (42, 12)

PATHS = {42: "direct", 12: "proxied", 7: "direct", 23: "proxied", 5: "proxied"}
"""The path of each user while half of them take the proxy."""


@frozen
class Call:
    number: int
    """Counted from 1."""
    task: str
    unit: int
    prompt: str


CALLS = tuple(
    Call(number, task, unit, prompt)
    for number, (task, unit, prompt) in enumerate(
        (
            *(("lead-analysis", unit, f"Vurdér: {lead}") for unit, lead in LEADS.items()),
            *(("email-draft", unit, f"Svar: {lead}") for unit, lead in LEADS.items()),
            *(("complex-reasoning", unit, f"Læg en plan: {LEADS[unit]}") for unit in QUALIFIED),
        ),
        start=1,
    )
)

HALF_WAY = 6
"""The last call before the proxy meets its fate: the leads and one e-mail are done."""
