"""A Django application in one file, its views synchronous: `gunicorn --worker-class gthread --threads 8 django_app`."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_POST

from pointsman import BadRequest, DeadlineExceeded, RouteError, Router

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="an example's")

# One for all threads. It starts with its first request, in each worker by itself, and closes when the worker ends.
router = Router.from_toml(Path(__file__).with_name("pointsman.toml"))


@require_POST
def answer(request: HttpRequest) -> HttpResponseBase:
    """The whole answer."""
    try:
        reply = router.complete(request.POST["text"], unit=request.POST.get("user"))
    except RouteError as error:
        return unanswered(error)
    return JsonResponse({"text": reply.text, "model": reply.decision.served.model})


@require_POST
def stream(request: HttpRequest) -> HttpResponseBase:
    """The answer as it is written."""
    chunks = router.stream(request.POST["text"], unit=request.POST.get("user"))
    try:
        first = next(chunks)  # until here a failure still has a status of its own
    except RouteError as error:
        return unanswered(error)

    def text() -> Iterator[str]:
        with chunks:  # a reader who leaves hangs up on the model too
            yield first.text
            for chunk in chunks:
                yield chunk.text

    return StreamingHttpResponse(text(), content_type="text/plain; charset=utf-8")


def unanswered(error: RouteError) -> JsonResponse:
    """Say whose fault it is, and when to come again."""
    status = 400 if isinstance(error, BadRequest) else 504 if isinstance(error, DeadlineExceeded) else 503
    headers = {} if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}
    return JsonResponse({"error": type(error).__name__}, status=status, headers=headers)


urlpatterns = [path("answer", answer), path("stream", stream)]
application = get_wsgi_application()
