"""The stand-in of a Vault as a process of its own, for who measures: `python -m tests.vaults.program`.

Says on its first line of output, as JSON, where it is and its root token, and ends with its standard input.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vaults.server import running_vault

ROOT = Path(__file__).parents[2]
END_SECONDS_MAX = 10


@contextmanager
def vault_process() -> Iterator[tuple[str, str]]:
    """Its address and root token, while it runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.vaults.program"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        where = json.loads(process.stdout.readline())
        yield where["address"], where["token"]
    finally:
        process.stdin.close()
        process.wait(END_SECONDS_MAX)
        process.stdout.close()


def main() -> None:
    """Serves until its standard input ends."""
    with running_vault() as node:
        sys.stdout.write(json.dumps({"address": node.address, "token": node.vault.root}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
