"""A task's models, best first; or the one model that the caller forces."""

from attrs import define

from ..chat import Request
from ..complaints import suggest
from ..context import DecisionContext
from ..errors import BadRequest
from ..hookspecs import ModelSelection, hookimpl
from ..targets import Target
from ..verdicts import Selection


@define(eq=False)
class Tasks(ModelSelection):
    """Leaves the models of the request's task, in the task's order.

    After another step it keeps the order of the backends that it is given.
    """

    @hookimpl
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        catalog = ctx.snapshot.catalog
        if request.model is not None:
            wanted = catalog.by_model.get(request.model)
            if wanted is None:
                raise BadRequest(f'unknown model "{request.model}"; {suggest(request.model, catalog.by_model)}')
            why = f"the caller forces {request.model}"
        elif not catalog.by_task:
            return None
        else:
            wanted = catalog.by_task.get(request.task)
            if wanted is None:
                raise BadRequest(f'unknown task "{request.task}"; {suggest(request.task, catalog.by_task)}')
            why = ctx.snapshot.config.tasks[request.task].why or f"the models of {request.task}"
        if candidates is not catalog.targets:
            wanted = _in_place(wanted, candidates)
        return Selection(wanted, why)


def _in_place(wanted: tuple[Target, ...], candidates: tuple[Target, ...]) -> tuple[Target, ...]:
    """What is wanted of the candidates: each backend where an earlier step put it, its models in the wanted order."""
    left = [target for target in dict.fromkeys(candidates) if target in wanted]
    models = {
        backend: iter([target for target in wanted if target.backend == backend and target in left])
        for backend in {target.backend for target in left}
    }
    return tuple([next(models[target.backend]) for target in left])
