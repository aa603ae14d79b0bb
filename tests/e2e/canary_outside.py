"""What users have beside an engine: definitions in a Git repository, and terraform with its plans, its state and its logs; and all of it as
bytes, unpacked."""

import json
import os
import subprocess
from pathlib import Path

from tests.e2e.engines import EngineProcess
from tests.e2e.terraforms import SMALL, Done, Terraform, connections
from tests.e2e.test_terraform import AIRLINES, RUN
from tests.e2e.test_terraform_token import written

LITERAL = """
variable "url" {
  type      = string
  sensitive = true
}
resource "pymigrate_connection" "literal" {
  environment   = pymigrate_environment.small.name
  connection_id = "literal"
  sqlite        = { path = var.url }
}
"""


class Repository:
    """A Git repository with one file, which is committed."""

    def __init__(self, folder: Path, content: str) -> None:
        folder.mkdir()
        self._folder = folder
        self.file = folder / "definitions.yaml"
        self.file.write_text(content)
        self._git("init", "--quiet")
        self._git("add", self.file.name)
        self._git("commit", "--quiet", "--message", "Declare what is migrated")

    def content(self) -> bytes:
        """Everything below `.git`: every object unpacked, and the files as they are."""
        files = [path.read_bytes() for path in (self._folder / ".git").rglob("*") if path.is_file()]
        return b"\n".join([self._git("cat-file", "--batch", "--batch-all-objects"), *files])

    def _git(self, *arguments: str) -> bytes:
        author = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        own = {"HOME": str(self._folder), "GIT_CONFIG_NOSYSTEM": "1", **author}
        command = ["git", "-C", str(self._folder), *arguments]
        return subprocess.run(command, env=os.environ | own, check=True, capture_output=True).stdout


class LoggedTerraform(Terraform):
    """Terraform that logs all it can, its provider's words included, with values of variables that its environment gives."""

    def __init__(self, program: str, folder: Path, engine: EngineProcess) -> None:
        super().__init__(program, folder, engine)
        self.variables: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        """A user's environment who looks for a mistake."""
        logs = {"TF_LOG": "TRACE", "TF_LOG_PATH": str(self.folder / "trace.log")}
        return super().environment() | logs | {f"TF_VAR_{name}": value for name, value in self.variables.items()}

    def content(self) -> bytes:
        """Everything that it wrote: state, plans unpacked, logs."""
        return written(self.folder)

    def migrate(self, systems: dict[str, str]) -> tuple[Done, str]:
        """Plans, applies and shows a run from `legacy`; how the apply ended, and all that the other commands printed."""
        self.write(
            SMALL + connections(systems) + AIRLINES % {"connection": "legacy", "relation": "public.people"} + RUN
        )
        said = [self.must("init"), self.must("plan", "-out=saved"), self.must("show", "-json", "saved")]
        done = self.run("apply", "saved")
        return done, "\n".join([*said, self.must("show", "-json"), self.must("show")])

    def declare_literal(self, url: str) -> Done:
        """A definition that holds a secret itself, which the configuration calls sensitive."""
        self.variables["url"] = url
        with (self.folder / "main.tf").open("a") as file:
            file.write(LITERAL)
        return self.run("apply", "-auto-approve", "-target=pymigrate_connection.literal")


def keep(terraform: Terraform, value: str) -> None:
    """A plan and a state that hold a value."""
    terraform.write(f'resource "terraform_data" "kept" {{ input = {hcl(value)} }}\n', has_header=False)
    terraform.must("init")
    terraform.must("plan", "-out=saved")
    terraform.must("apply", "saved")


def hcl(text: str) -> str:
    """A text as HCL writes it."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
