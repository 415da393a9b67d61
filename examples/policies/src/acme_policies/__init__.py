"""Rules of one's own: a tenant's own model, the cheapest model first, and nothing billed twice."""

from collections.abc import Mapping
from math import inf

from attrs import define

from pointsman import (
    DecisionContext,
    Failure,
    FallbackDecision,
    ModelSelection,
    Next,
    Request,
    RouteState,
    Selection,
    Stop,
    Target,
    hookimpl,
)


@define(eq=False, kw_only=True)
class TenantPin(ModelSelection):
    """Serves a tenant with one model and no other, because its contract says so."""

    models: Mapping[str, str]
    """By unit. One that no candidate has leaves nothing to try: an error beats another model."""

    @hookimpl
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        model = self.models.get(str(request.unit))
        if model is None:
            return None
        return Selection([target for target in candidates if target.model == model], why=f"pinned to {model}")


@define(eq=False, kw_only=True)
class Cheapest(ModelSelection):
    """Tries the cheapest model first. Models of one price, and those without a price, stay as they were."""

    dollars_per_million_tokens: Mapping[str, float]

    @hookimpl
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        def price(target: Target) -> float:
            return self.dollars_per_million_tokens.get(target.model, inf)

        return Selection(sorted(candidates, key=price), why="cheapest first")


@define(eq=False, kw_only=True)
class BillOnce(FallbackDecision):
    """Gives up, for some tasks, rather than pay a second time for what the first provider may have done."""

    tasks: tuple[str, ...]

    @hookimpl
    def decide_fallback(self, request: Request, failure: Failure, state: RouteState) -> Next | Stop | None:
        if request.task in self.tasks and failure.delivery == "possibly_billed":
            return Stop(f"{request.task} is never billed twice")
        return None
