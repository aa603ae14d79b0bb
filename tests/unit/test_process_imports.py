"""What a process does not import at its start, since it takes longer than much of what the process is for."""

import subprocess
import sys

import pytest

PROCESSES = ("worker", "dispatcher", "rest", "serve", "operator")
LIBRARIES = ("rich", "pygments")


def told_by(program: str) -> str:
    """What a new interpreter prints."""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_that_writes_lines_of_json_imports_nothing_that_colours_them(process: str) -> None:
    begin = f"import sys, pymigrate.engine.main.{process}"
    assert told_by(
        f"{begin}; print([name for name in {LIBRARIES} if name in sys.modules], 'structlog' in sys.modules)"
    ) == ("[] True")


def test_a_plugin_of_such_a_process_has_rich_all_the_same() -> None:
    begin = "import pymigrate.engine.main.worker"
    assert told_by(f"{begin}; import rich.text; print(rich.text.Text('there'))") == "there"


def test_a_process_that_has_rich_already_keeps_it() -> None:
    begin = "import rich, pymigrate.engine.main.worker, structlog.dev"
    assert told_by(f"{begin}; print(structlog.dev.rich is rich)") == "True"


def test_the_command_line_imports_what_answers_questions_about_graphs_only_when_there_is_one() -> None:
    begin = "import sys, pymigrate.engine.entrypoints.cli.commands"
    assert told_by(f"{begin}; print('networkx' in sys.modules)") == "False"
