"""A FastAPI application: `uvicorn fastapi_app:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from pointsman import BadRequest, DeadlineExceeded, RouteError, Router

CONFIG = Path(__file__).with_name("pointsman.toml")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Router]]:
    """Open the router with the application, and close it when the last request has been answered."""
    async with Router.from_toml(CONFIG) as router:
        yield {"router": router}


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    """What a user asks."""

    text: str
    user: str | None = None


@app.post("/answer")
async def answer(question: Question, request: Request) -> dict[str, str]:
    """The whole answer."""
    reply = await request.state.router.acomplete(question.text, unit=question.user)
    return {"text": reply.text, "model": reply.decision.served.model}


@app.post("/stream")
async def stream(question: Question, request: Request) -> StreamingResponse:
    """The answer as it is written."""
    chunks = request.state.router.astream(question.text, unit=question.user)
    first = await anext(chunks)  # until here a failure still has a status of its own

    async def text() -> AsyncIterator[str]:
        async with chunks:  # a reader who leaves hangs up on the model too
            yield first.text
            async for chunk in chunks:
                yield chunk.text

    return StreamingResponse(text(), media_type="text/plain; charset=utf-8")


@app.exception_handler(RouteError)
async def unanswered(_: Request, error: RouteError) -> JSONResponse:
    """Say whose fault it is, and when to come again."""
    status = 400 if isinstance(error, BadRequest) else 504 if isinstance(error, DeadlineExceeded) else 503
    headers = {} if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}
    return JSONResponse({"error": type(error).__name__}, status, headers)
