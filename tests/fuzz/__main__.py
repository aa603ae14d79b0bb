"""Fuzzes targets by coverage: `python -m tests.fuzz TARGET,TARGET FOLDER [libFuzzer's options]`.

A target ends at the first input that crashes, hangs or takes too much memory, which is then in `FOLDER/TARGET/found`.
"""

import os
import sys
from pathlib import Path

import atheris

READERS = [
    "pymigrate.engine.application.gitops",
    "pymigrate.engine.application.short_tokens",
    "pymigrate.engine.domain.names",
    "pymigrate.engine.domain.addresses",
    "pymigrate.engine.entrypoints.rest",
    "pymigrate.engine.ports.secrets",
    "pymigrate.engine.settings",
    "pymigrate.v1.shape",
]
with atheris.instrument_imports(include=READERS, enable_loader_override=False):
    from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzzes what the first argument names, one after the other, each in a process of its own that begins with what its folder holds.
    How many targets broke."""
    names, root, options = sys.argv[1].split(","), Path(sys.argv[2]), sys.argv[3:]
    broken = 0
    for name in names:
        found = root / name / "found"
        found.mkdir(parents=True, exist_ok=True)
        if not (child := os.fork()):
            arguments = [sys.argv[0], str(root / name / "corpus"), f"-artifact_prefix={found}/", *options]
            atheris.Setup(arguments, TARGETS[name])
            atheris.Fuzz()  # never returns
        broken += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    return broken


if __name__ == "__main__":
    sys.exit(main())
