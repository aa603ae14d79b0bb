"""kubectl as tests call it: as the administrator of a cluster of theirs, or as whom a kubeconfig names."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Cluster

SECONDS_MAX = 60


def kubectl_program() -> str:
    """Where it is; where it is missing, the test is skipped."""
    found = shutil.which("kubectl")
    if found is None:
        # No package index brings it; it is asked for beside the API server's own binaries.
        pytest.skip("kubectl is missing: install Debian's kubernetes-client, or what its makers offer")
    return found


class KubectlRefused(AssertionError):
    """What kubectl said on its way to an exit code of its own."""


class Kubectl:
    """Calls of kubectl against a cluster, each bounded in time."""

    def __init__(self, made: Cluster, kubeconfig: Path | None = None) -> None:
        self._program = kubectl_program()
        self._kubeconfig = kubeconfig or made.admin_kubeconfig
        self._home = made.folder / "kubectl"
        self.warned = ""
        """What the last call said beside its answer."""

    def __call__(self, *arguments: str, given: str = "") -> str:
        """What it prints. Raises KubectlRefused."""
        answer = subprocess.run(
            [self._program, f"--kubeconfig={self._kubeconfig}", *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
            env={**os.environ, "HOME": str(self._home)},
        )
        self.warned = answer.stderr
        if answer.returncode:
            raise KubectlRefused(f"kubectl {' '.join(arguments)}: {answer.stderr}")
        return answer.stdout

    def apply(self, *documents: Mapping[str, Any]) -> str:
        """Applies documents as a person's files are."""
        return self("apply", "-f", "-", given=listed(*documents))

    def read(self, *arguments: str) -> Any:
        """What it gets, as data."""
        return json.loads(self("get", *arguments, "-o", "json"))


def listed(*documents: Mapping[str, Any]) -> str:
    """Documents as one."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
