"""An acceptance harness in the manner of terraform-plugin-testing: the real terraform against a real engine, with the provider held and
reattached, so that no command needs an `init`. Every stage has an environment of its own, which must be gone after its destruction."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pymigrate.provider.declared import DeclaredResource
from pymigrate.provider.engine import Engine
from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.reaching import EnginePlace
from tests.e2e.engines import ROOT, EngineProcess, running_engine
from tests.e2e.terraforms import COMMAND_SECONDS, Terraform

EXAMPLES = ROOT / "examples" / "terraform" / "resources"
DECLARED = {each.get_name(): each for each in PymigrateProvider().get_resources() if issubclass(each, DeclaredResource)}


class Stage(Terraform):
    """A working directory whose provider is held by somebody else. `environment_id` is its own."""

    def __init__(self, program: str, folder: Path, engine: EngineProcess, attached: str, environment_id: str) -> None:
        self.program, self.folder, self.engine = program, folder, engine
        self.home = folder / "user"
        self.home.mkdir(parents=True)
        self.environment_id = environment_id
        self.calls = Engine(EnginePlace(engine.home))
        self._attached = attached

    def beside(self, folder: Path) -> "Stage":
        """Another working directory at the same engine, for the same environment."""
        return Stage(self.program, folder, self.engine, self._attached, self.environment_id)

    def environment(self) -> dict[str, str]:
        """A user's environment with the provider that is held."""
        return super().environment() | {"TF_REATTACH_PROVIDERS": self._attached}

    def declare(self, *nouns: str, more: str = "", change: Callable[[str], str] = str) -> None:
        """Writes the pages' examples of some kinds, within the environment of its own."""
        text = "\n".join((EXAMPLES / f"pymigrate_{noun}" / "resource.tf").read_text() for noun in nouns)
        text = text.replace('environment_id = "prod"', f'environment_id = "{self.environment_id}"')
        # Sources and role bindings lie in no environment: their names are made the stage's own.
        text = text.replace('git_source_id = "', f'git_source_id = "{self.environment_id}-')
        text = text.replace('role_binding_id = "', f'role_binding_id = "{self.environment_id}-')
        self.write(change(text + more))

    def planned(self) -> dict[str, list[str]]:
        """What a plan would do, by address; nothing of what stays or is read."""
        file = self.folder / "planned"
        self.must("plan", f"-out={file}")
        changes = json.loads(self.must("show", "-json", str(file))).get("resource_changes", [])
        return {
            each["address"]: each["change"]["actions"]
            for each in changes
            if each["change"]["actions"] not in (["no-op"], ["read"])
        }

    def find(self, noun: str, name: str) -> Any:
        """The object as the engine has it; None when there is none."""
        kind = DECLARED[noun].declaration
        try:
            return self.calls.call(kind.service, f"Get{kind.title}", kind.request("Get", name=name))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    def change_elsewhere(self, noun: str, name: str, **fields: Any) -> None:
        """Changes an object as another apply would."""
        kind = DECLARED[noun].declaration
        message = kind.message()
        message.name = name
        for field, value in fields.items():
            setattr(message, field, value)
        self.calls.call(
            kind.service,
            f"Update{kind.title}",
            kind.request("Update", **{noun: message, "update_mask": {"paths": list(fields)}}),
        )

    def is_deleted_elsewhere(self, noun: str, name: str) -> bool:
        """Deletes an object as another apply would; whether nobody needed it."""
        kind = DECLARED[noun].declaration
        try:
            self.calls.call(kind.service, f"Delete{kind.title}", kind.request("Delete", name=name))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return False
            raise
        return True

    def imports(self) -> dict[str, str]:
        """What the pages say of importing what was declared: names by address."""
        found = {}
        for path in sorted(EXAMPLES.glob("*/import.sh")):
            words = shlex.split(path.read_text().splitlines()[-1])
            own = words[3].replace("environments/prod", f"environments/{self.environment_id}")
            for collection in ("gitSources/", "roleBindings/"):
                own = own.replace(collection, f"{collection}{self.environment_id}-")
            found[words[2]] = own
        return {address: name for address, name in found.items() if address in self.resources()}

    def destroy(self) -> str:
        """Destroys everything, and holds the engine to having nothing of it; what was printed."""
        said = self.must("destroy", "-auto-approve")
        assert self.find("environment", f"environments/{self.environment_id}") is None
        assert self.resources() == {}
        return said


@contextlib.contextmanager
def held_provider(engine: EngineProcess) -> Iterator[str]:
    """A provider for all commands of many stages; what TF_REATTACH_PROVIDERS takes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pymigrate.provider", "--reattach"],
        env=os.environ | {"PYMIGRATE_HOME": str(engine.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=COMMAND_SECONDS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine for every stage."""
    with running_engine(tmp_path_factory.mktemp("engine") / "home") as process:
        yield process


@pytest.fixture(scope="module")
def attached(engine: EngineProcess) -> Iterator[str]:
    """One provider for every stage."""
    with held_provider(engine) as attached:
        yield attached
