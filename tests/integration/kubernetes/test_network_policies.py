"""Who reaches whom, as the NetworkPolicies of the overlays say: between the pods that there are, nothing but what is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes_example import OVERLAYS, Document, Pod, copied, found, pods, rendered, selects

# From, to, port.
NEEDED = {
    ("pymigrate-operator", "pymigrate-engine", "grpc"),
    ("pymigrate-worker", "pymigrate-engine", "grpc"),
}
ALSO_NEEDED = {
    "dev": {
        ("pymigrate-engine", "pymigrate-postgresql", "postgresql"),
        ("pymigrate-worker", "pymigrate-postgresql", "postgresql"),
    },
    "prod": {("pymigrate-rest", "pymigrate-engine", "grpc")},
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_reach_one_another_where_they_need_to_and_nowhere_else(overlay: str, tmp_path: Path) -> None:
    documents = rendered(copied(tmp_path) / "overlays" / overlay)
    policies = found(documents, "NetworkPolicy")
    there = list(pods(documents))
    for policy in policies:
        assert any(selects(policy["spec"]["podSelector"], pod.labels) for pod in there), policy["metadata"]["name"]
    reached = {
        (source.owner, target.owner, port)
        for source in there
        for target in there
        for port in _ports(target)
        if _allows(policies, "egress", source, target, port) and _allows(policies, "ingress", target, source, port)
    }
    assert reached == NEEDED | ALSO_NEEDED[overlay]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_is_open_in_any_direction(overlay: str, tmp_path: Path) -> None:
    documents = rendered(copied(tmp_path) / "overlays" / overlay)
    chosen = {
        (pod.owner, direction)
        for pod in pods(documents)
        for policy in found(documents, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], pod.labels)
        for direction in policy["spec"]["policyTypes"]
    }
    assert chosen == {(pod.owner, direction) for pod in pods(documents) for direction in ("Ingress", "Egress")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_engine_and_operator_reach_the_api_server(overlay: str, tmp_path: Path) -> None:
    documents = rendered(copied(tmp_path) / "overlays" / overlay)
    policies = found(documents, "NetworkPolicy")
    reaching = {
        pod.owner
        for pod in pods(documents)
        for rule in _rules(policies, "egress", pod)
        if "to" not in rule and {443, 6443} <= {each["port"] for each in rule["ports"]}
    }
    assert reaching == {"pymigrate-engine", "pymigrate-operator"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_resolves_names(overlay: str, tmp_path: Path) -> None:
    documents = rendered(copied(tmp_path) / "overlays" / overlay)
    policies = found(documents, "NetworkPolicy")
    for pod in pods(documents):
        ports = [each["port"] for rule in _rules(policies, "egress", pod) for each in rule["ports"]]
        assert ports.count(53) == 2, pod.owner


def _ports(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        for port in container.get("ports", ()):
            yield port["name"]


def _rules(policies: list[Document], direction: str, pod: Pod) -> Iterator[Document]:
    """What the policies of a pod allow in a direction."""
    chosen = [each["spec"] for each in policies if selects(each["spec"]["podSelector"], pod.labels)]
    assert any(direction.capitalize() in each["policyTypes"] for each in chosen), f"{pod.owner} is open"
    for each in chosen:
        yield from each.get(direction, ())


def _allows(policies: list[Document], direction: str, pod: Pod, other: Pod, port: str) -> bool:
    peers = "to" if direction == "egress" else "from"
    for rule in _rules(policies, direction, pod):
        for peer in rule.get(peers, ()):
            is_near = "namespaceSelector" not in peer and "ipBlock" not in peer
            if (
                is_near
                and selects(peer["podSelector"], other.labels)
                and port in {each["port"] for each in rule["ports"]}
            ):
                return True
    return False
