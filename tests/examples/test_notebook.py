"""A notebook as a host: a running loop that stays from cell to cell, in a real kernel."""

import json
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from pointsman.testing import ReceivedRequest, ScriptedServer, openrouter_answer, openrouter_stream
from tests.examples.hosts import ENDING, PATIENCE, Told, example, variables

PIECES = ["På ", "fredag ", "kl. 9."]
TEXT = "".join(PIECES)


@define(eq=False)
class Kernel:
    """A kernel that runs, and everything that it has written."""

    manager: KernelManager
    client: BlockingKernelClient
    told: Told = field(factory=lambda: Told([]))
    """Its standard error, so far."""

    def run(self, cell: str) -> str:
        """What a cell prints on standard output. Raises `AssertionError` with what the cell raises."""
        request = self.client.execute(cell)
        printed: list[str] = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            elif kind == "stream":
                self.told.lines.extend(content["text"].splitlines())
            elif kind == "error":
                raise AssertionError(f"{content['ename']}: {content['evalue']}")
            elif content.get("execution_state") == "idle" and message["parent_header"].get("msg_id") == request:
                return "".join(printed)

    def shut_down(self) -> None:
        """Ends the kernel as its menu does, and hears it out."""
        self.manager.shutdown_kernel()
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                return
            if message["msg_type"] == "stream":
                self.told.lines.extend(message["content"]["text"].splitlines())


@pytest.fixture
def kernel(tmp_path: Path, server: ScriptedServer) -> Iterator[Kernel]:
    def play(request: ReceivedRequest):
        if request.streamed:
            return openrouter_stream(str(request.model), PIECES)
        return openrouter_answer(str(request.model), TEXT)

    server.play(play)
    manager = KernelManager(shutdown_wait_time=ENDING)
    manager.start_kernel(cwd=str(example(tmp_path / "hosts", server)), env=variables())
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield Kernel(manager, client)
    finally:
        if manager.is_alive():
            manager.shutdown_kernel(now=True)
        client.stop_channels()
        manager.cleanup_resources()


def cells(folder: Path) -> list[str]:
    """The notebook's code."""
    notebook = json.loads((folder / "hosts" / "notebook.ipynb").read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_every_cell_of_the_notebook_runs_on_one_loop(kernel: Kernel, server: ScriptedServer, tmp_path: Path) -> None:
    *asking, closing = cells(tmp_path)
    assert [kernel.run(cell) for cell in asking] == [
        "",
        f"{TEXT}\n",
        TEXT,
        f"{TEXT} openrouter_direct/glm-air-free\n" * 2,
    ]
    kernel.run(closing)
    kernel.shut_down()
    kernel.told.assert_whole()
    assert kernel.told.outcomes() == {"answered": 4}
    assert server.requests[0].connection == server.requests[1].connection, "the loop's connection was not kept"
    assert not server.connected


def test_a_kernel_that_ends_with_an_open_router_loses_nothing(kernel: Kernel, tmp_path: Path) -> None:
    for cell in cells(tmp_path)[:2]:
        kernel.run(cell)
    kernel.shut_down()
    kernel.told.assert_whole()
    assert kernel.told.outcomes() == {"answered": 1}


def test_the_blocking_face_says_what_to_call_in_a_cell(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run(cells(tmp_path)[0])
    with pytest.raises(AssertionError, match=r"await router\.acomplete"):
        kernel.run('router.complete("Hvornår?")')
