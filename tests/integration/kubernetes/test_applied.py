"""The overlays of `examples/kubernetes` on a real API server: taken by a dry run and for real, and kept as they were written."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import Cluster
from tests.kubernetes_example import NAMESPACES, OVERLAYS, Document, copied, found, rendered
from tests.kubernetes_models import differences

# What Kubernetes 1.20, against which the tests run, does not serve: test_manifests.py holds it to models alone.
ABSENT = {"policy/v1", "autoscaling/v2", "monitoring.coreos.com/v1", "cert-manager.io/v1"}


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, api_server: Cluster) -> Iterator[str]:
    name: str = request.param
    yield name
    api_server.kubectl("delete", "namespace", NAMESPACES[name], "--ignore-not-found", "--wait=false")
    for kind in ("clusterrole", "clusterrolebinding", "validatingwebhookconfiguration"):
        api_server.kubectl("delete", kind, "--selector=app.kubernetes.io/part-of=pymigrate", "--ignore-not-found")


@pytest.fixture(scope="module")
def documents(overlay: str, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return rendered(copied(tmp_path_factory.mktemp(overlay)) / "overlays" / overlay)


def test_what_the_api_server_lacks_is_known(api_server: Cluster) -> None:
    assert ABSENT.isdisjoint(api_server.kubectl("api-versions").split())


def test_everything_is_taken_and_kept_as_it_was_written(api_server: Cluster, documents: list[Document]) -> None:
    served = [each for each in documents if each["apiVersion"] not in ABSENT]
    api_server.kubectl.apply(*found(served, "Namespace"))
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": served})
    api_server.kubectl("apply", "--dry-run=server", "-f", "-", given=listed)
    api_server.kubectl.apply(*served)
    stored = json.loads(api_server.kubectl("get", "-f", "-", "--output=json", given=listed))["items"]
    assert len(stored) == len(served)
    for given, kept in zip(served, stored, strict=True):
        assert differences("", _in_one_line(given), kept) == [], given["metadata"]["name"]


def test_applying_again_writes_nothing(api_server: Cluster, documents: list[Document]) -> None:
    served = [each for each in documents if each["apiVersion"] not in ABSENT]
    api_server.kubectl.apply(*served)
    before = _versions(api_server, served)
    api_server.kubectl.apply(*served)
    assert _versions(api_server, served) == before


def test_the_quickstart_is_taken_by_the_custom_resources(api_server: Cluster, tmp_path: Path) -> None:
    example = copied(tmp_path)
    api_server.kubectl("apply", "--server-side", "-k", str(example / "crds"))
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    api_server.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "quickstart"}})
    said = api_server.kubectl("apply", "-n", "quickstart", "--dry-run=server", "-k", str(example / "quickstart"))
    assert len(said.splitlines()) == len(rendered(example / "quickstart"))
    api_server.kubectl("delete", "namespace", "quickstart", "--wait=false")


def _in_one_line(document: Document) -> Document:
    """With Base64, which kustomize breaks into lines, as the API server writes it."""
    if document["kind"] != "Secret":
        return document
    return {**document, "data": {name: "".join(value.split()) for name, value in document["data"].items()}}


def _versions(api_server: Cluster, documents: list[Document]) -> list[str]:
    """Of every object as it is stored: another one with each write."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    stored = json.loads(api_server.kubectl("get", "-f", "-", "--output=json", given=listed))["items"]
    return [each["metadata"]["resourceVersion"] for each in stored]
