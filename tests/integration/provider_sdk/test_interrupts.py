"""What the real terraform has in its state after an interrupt or a failure in the middle of a creation, and which processes are left."""

import os
import signal

import pytest

from tests.e2e.engines import is_alive, wait_until
from tests.integration.provider_sdk.workspace import COMMAND_SECONDS, Workspace

SLOW = 'title = "A"\nmood = "slow"'


def interrupted(workspace: Workspace) -> str:
    """Ctrl-C in the middle of a slow creation, as a terminal sends it: to the whole group; what was printed."""
    workspace.write(SLOW)
    workspace.must("init")
    with workspace.applying() as (process, _):
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=COMMAND_SECONDS)
    return output


def test_ctrl_c_in_the_middle_of_a_creation_leaves_the_object_in_the_state(workspace: Workspace) -> None:
    output = interrupted(workspace)
    assert "Interrupt" in output
    state, (book,) = workspace.state(), workspace.books()
    assert state is not None
    assert state["isbn"] == book["isbn"]
    assert state["tainted"]


def test_stock_tf_loses_the_object_on_ctrl_c(stock_workspace: Workspace) -> None:
    interrupted(stock_workspace)
    assert len(stock_workspace.books()) == 1
    assert stock_workspace.state() is None


def test_what_an_interrupt_tainted_is_made_again_and_the_first_one_removed(workspace: Workspace) -> None:
    interrupted(workspace)
    workspace.apply('title = "A"')
    (book,) = workspace.books()
    assert workspace.state() is not None
    assert book["mood"] is None
    assert not workspace.changes()


@pytest.mark.parametrize("mood", ["slow", "stubborn"])
def test_a_provider_ends_with_the_terraform_that_was_killed_even_in_a_call_that_does_not_end_and_stock_tf_stays(
    workspace: Workspace, stock_workspace: Workspace, mood: str
) -> None:
    for each in (workspace, stock_workspace):
        each.write(f'title = "A"\nmood = "{mood}"')
        each.must("init")
    with workspace.applying() as (process, provider), stock_workspace.applying() as (stock_process, stock_provider):
        stock_process.kill()
        process.kill()
        wait_until(lambda: not is_alive(provider), seconds=30)
        assert is_alive(stock_provider)


def test_a_failure_after_acceptance_taints_and_tells_why(workspace: Workspace) -> None:
    workspace.write('title = "A"\nmood = "accepted, then broken"')
    workspace.must("init")
    output = workspace.run("apply", "-auto-approve").output
    assert "OSError: the shelf fell" in output
    state, (book,) = workspace.state(), workspace.books()
    assert state is not None
    assert (state["isbn"], state["tainted"]) == (book["isbn"], True)
    workspace.apply('title = "A"')
    assert len(workspace.books()) == 1


@pytest.mark.parametrize("mood", ["accepted, then broken", "nothing"])
def test_stock_tf_leaves_an_orphan_after_a_failure(stock_workspace: Workspace, mood: str) -> None:
    stock_workspace.write(f'title = "A"\nmood = "{mood}"')
    stock_workspace.must("init")
    assert stock_workspace.run("apply", "-auto-approve").code == 1
    assert len(stock_workspace.books()) == 1
    assert stock_workspace.state() is None


@pytest.mark.parametrize(
    ("mood", "told"), [("nothing", "told no state"), ("unfit", "told no fitting value of edition")]
)
def test_a_defect_of_the_provider_leaves_no_orphan(shelf: Workspace, mood: str, told: str) -> None:
    assert told in shelf.fails(f'title = "A"\nmood = "{mood}"')
    state, (book,) = shelf.state(), shelf.books()
    assert state is not None
    assert (state["isbn"], state["tainted"]) == (book["isbn"], True)


def test_an_error_before_acceptance_leaves_nothing(shelf: Workspace) -> None:
    shelf.fails('title = "A"\nmood = "refused"\ncover = { color = "red" }')
    assert shelf.state() is None
    assert shelf.books() == []


def test_an_update_that_fails_leaves_the_state_as_it_was(shelf: Workspace) -> None:
    shelf.apply('title = "A"')
    before = shelf.state()
    assert "the shelf fell" in shelf.fails('title = "A"\npages = 7\nmood = "update broken"')
    assert shelf.state() == before
