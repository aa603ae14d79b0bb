"""`examples/kubernetes` as a person uses it: a copy with its Secrets made, and what kustomize makes of its overlays."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pymigrate.engine.adapters.executors.kubernetes_jobs import JobTerms, job_of
from pymigrate.engine.adapters.executors.kubernetes_template import PodTerms, pod_template
from tests.kubectl import kubectl_program

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "kubernetes"
NAMESPACES = {"dev": "pymigrate", "prod": "pymigrate-system"}
OVERLAYS = tuple(NAMESPACES)
SECONDS_MAX = 60.0
DRAIN_SECONDS, GRACE_SECONDS = 20.0, 30
Document = Mapping[str, Any]


def copied(folder: Path) -> Path:
    """A copy of the example in a folder, with what `secrets.sh` makes for the overlay `dev`."""
    made = Path(shutil.copytree(EXAMPLE, folder / "kubernetes", ignore=shutil.ignore_patterns("secrets")))
    done = subprocess.run(
        ["../../secrets.sh", "secrets", NAMESPACES["dev"]],
        cwd=made / "overlays/dev",
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


def rendered(folder: Path) -> list[Document]:
    """What `kubectl kustomize` makes of a folder."""
    done = subprocess.run(
        [kubectl_program(), "kustomize", folder], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@dataclass(frozen=True, slots=True)
class Pod:
    """What a workload's pods are like."""

    owner: str
    labels: Mapping[str, str]
    spec: Document

    @property
    def containers(self) -> Sequence[Document]:
        """All of them."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def found(documents: Sequence[Document], kind: str, name: str = "") -> list[Document]:
    """The objects of a kind, of one name where it is given."""
    return [each for each in documents if each["kind"] == kind and name in ("", each["metadata"]["name"])]


def pods(documents: Sequence[Document]) -> Iterator[Pod]:
    """The pods of all workloads, worker hosts among them."""
    for each in documents:
        if each["kind"] in {"Deployment", "StatefulSet"}:
            template = each["spec"]["template"]
            yield Pod(each["metadata"]["name"], template["metadata"]["labels"], template["spec"])
    template = worker_job(documents)["spec"]["template"]
    yield Pod("pymigrate-worker", template["metadata"]["labels"], template["spec"])


def worker_template(documents: Sequence[Document]) -> Document:
    """What the engine is given to make pods of worker hosts from."""
    [kept] = [each for each in found(documents, "ConfigMap") if "pod-template.yaml" in each["data"]]
    template: Document = yaml.safe_load(kept["data"]["pod-template.yaml"])
    return template


def worker_job(documents: Sequence[Document]) -> Document:
    """The Job of a worker host as the engine's executor makes it under the overlay's settings."""
    [engine] = found(documents, "StatefulSet", "pymigrate-engine")
    [container] = engine["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value", "") for each in container["env"]}
    secret, image = given["PYMIGRATE_KUBERNETES_ENGINE_SECRET"], given["PYMIGRATE_KUBERNETES_IMAGE"]
    terms = PodTerms(image, secret, 1_000_000_000, GRACE_SECONDS)
    template = pod_template(worker_template(documents), terms)
    jobs = JobTerms("pymigrate", engine["metadata"]["namespace"], template, DRAIN_SECONDS, 3_600)
    return job_of(jobs, "shared-1", "shared@sales", 1)


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a selector takes these labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In", each
        if labels.get(each["key"]) not in each["values"]:
            return False
    return True
