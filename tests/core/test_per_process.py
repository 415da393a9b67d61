"""State that a fork does not share."""

import sys

import pytest

from tests.core.support import python

FORKED_TWICE = """
import os, warnings
from pointsman.per_process import PerProcess, process_id

warnings.simplefilter("ignore", DeprecationWarning)
made = PerProcess(object)
begun_as = os.getpid()
told = []
os.register_at_fork(after_in_child=lambda: told.append(process_id()))  # before anybody has asked

def check(seen):
    assert process_id() == os.getpid()
    assert told[-1:] == ([] if os.getpid() == begun_as else [os.getpid()])
    assert made.here() is made.here()
    assert made.here() not in seen
    return [*seen, made.here()]

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

parents = check([])
def child():
    childs = check(parents)
    in_child(lambda: check(childs))
in_child(child)
check([])
print("each has its own")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_a_child_and_its_child_know_who_they_are_and_have_values_of_their_own():
    assert python(FORKED_TWICE).stdout == "each has its own\n"
