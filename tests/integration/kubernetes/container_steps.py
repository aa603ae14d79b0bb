"""The steps of a Containerfile, done one after the other in a folder that stands for the image's root. No container is made.

What it does not do: the base image's own files are the machine's, and nothing is kept away from the rest of the machine. Steps that install
the distribution's packages are left out, and named in `left_out`.
"""

import io
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from dockerfile_parse import DockerfileParser

# Absolute paths that the Containerfile makes or fills, where they begin a word.
OWN_PATHS = re.compile(r"(?<![\w./-])(?=/(?:src|opt|var/lib|etc)\b)")
OWNER = re.compile(r"-o \d+ -g \d+ ")
LEAVE_OUT = "apt-get "
STEP_SECONDS_MAX = 600


class ContainerSteps:
    """Stages below `folder`: the one at hand in `current`, those before it by their names."""

    def __init__(self, file: Path, context: Path, folder: Path) -> None:
        parser = DockerfileParser(fileobj=io.StringIO(file.read_text()))
        self.steps = [
            (each["instruction"], each["value"]) for each in parser.structure if each["instruction"] != "COMMENT"
        ]
        self.root = folder / "current"
        self.environment: dict[str, str] = {}
        self.entrypoint: list[str] = []
        self.left_out: list[str] = []
        self.user = ""
        self._context, self._folder = context, folder
        self._work, self._stage = Path("/"), ""

    def do(self) -> None:
        """Does all of them. Raises AssertionError with what a step wrote where it fails."""
        for instruction, value in self.steps:
            match instruction:
                case "FROM":
                    self._from(value)
                case "WORKDIR":
                    self._work = Path(value)
                    self.inside(self._work).mkdir(parents=True, exist_ok=True)
                case "ENV":
                    self.environment |= dict(part.split("=", 1) for part in shlex.split(value))
                case "COPY":
                    self._copy(value)
                case "RUN":
                    self._run(value)
                case "USER":
                    self.user = value
                case "ENTRYPOINT":
                    self.entrypoint = re.findall(r'"([^"]*)"', value)
                case "ARG" | "SHELL" | "LABEL" | "CMD":
                    pass
                case _:
                    raise AssertionError(f"{instruction} is not known here")

    def inside(self, path: Path) -> Path:
        """Where a path of the image lies."""
        return self.root / path.relative_to("/")

    def variables(self) -> dict[str, str]:
        """What a process of the image has in its environment, with its paths as they lie."""
        own = {name: OWN_PATHS.sub(str(self.root), value) for name, value in self.environment.items()}
        path = own.get("PATH", "") + os.pathsep + os.environ["PATH"]
        return {**own, "PATH": path, "HOME": str(self.root), "LANG": "C.UTF-8"}

    def _from(self, value: str) -> None:
        if self._stage:
            self.root.rename(self._folder / self._stage)
        self._stage = value.partition(" AS ")[2] or "final"
        self.environment, self._work = {}, Path("/")
        self.root.mkdir(parents=True)
        (self.root / "etc").mkdir()

    def _copy(self, value: str) -> None:
        words = value.split()
        source = self._context
        if words[0].startswith("--from="):
            source = self._folder / words.pop(0).removeprefix("--from=")
        *names, target = words
        place = self.inside(self._work / target)
        for name in names:
            found = source / name.lstrip("/")
            is_renamed = len(names) == 1 and not target.endswith("/")
            end = place if is_renamed else place / found.name
            end.parent.mkdir(parents=True, exist_ok=True)
            if found.is_dir():
                # Links, since a venv has hundreds of megabytes; what is built never writes into what it was copied from.
                subprocess.run(["cp", "--archive", "--link", found, end], check=True)
            else:
                shutil.copy2(found, end)

    def _run(self, value: str) -> None:
        if value.startswith(LEAVE_OUT):
            self.left_out.append(value)
            return
        script = OWN_PATHS.sub(str(self.root), value)
        if os.getuid() != 0:
            script = OWNER.sub("", script)
        kept = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        done = subprocess.run(
            ["/bin/bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=self.inside(self._work),
            env={**kept, **self.variables(), "PIP_NO_CACHE_DIR": "0", "PIP_NO_COMPILE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{value}\n{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"
