"""Names: who waits for whom, who speaks for a name, and what fields are called."""

import pytest

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.domain.names import is_id
from pymigrate.engine.entrypoints.operator.claims import Claims
from pymigrate.engine.entrypoints.operator.dependents import Dependents
from pymigrate.engine.entrypoints.operator.objects import (
    FINALIZER,
    EnvironmentRule,
    Key,
    engine_name,
    environment_of_object,
    is_just_held,
    run_id,
    shape_of,
)
from pymigrate.engine.entrypoints.operator.placing import told_name
from pymigrate.engine.entrypoints.operator.spec_paths import spec_path

A, B, C = (Key("Plan", namespace, "p") for namespace in "abc")
UID = "6F1C2A9E-0000-4000-8000-000000000001"


def test_who_waits_for_an_environment_is_found_by_it_until_it_waits_no_longer() -> None:
    dependents = Dependents()
    dependents.wait("prod", A)
    dependents.wait("prod", B)
    dependents.wait("test", C)
    assert set(dependents.of("prod")) == {A, B}
    assert set(dependents.of("")) == {A, B, C}
    dependents.wait("test", A)
    dependents.forget(B)
    assert set(dependents.of("prod")) == set()
    assert set(dependents.of("test")) == {A, C}
    assert len(dependents) == 2


def test_the_oldest_speaks_for_a_name_and_when_it_is_gone_the_next() -> None:
    claims = Claims()
    assert claims.claim("x", "2026-02", "2", B) == B
    assert claims.claim("x", "2026-01", "1", A) == A
    assert claims.claim("x", "2026-02", "2", B) == A
    assert claims.drop(A) == [B]
    assert claims.claim("x", "2026-02", "2", B) == B


def test_of_two_made_in_the_same_second_the_uid_decides_the_same_way_for_both() -> None:
    claims = Claims()
    claims.claim("x", "2026-01", "2", B)
    assert claims.claim("x", "2026-01", "1", A) == A
    assert claims.claim("x", "2026-01", "2", B) == A


def test_whoever_has_a_name_keeps_it_from_those_that_were_there_before() -> None:
    claims = Claims()
    claims.claim("x", "2026-02", "2", B, has_it=True)
    assert claims.claim("x", "2026-01", "1", A) == B
    assert claims.drop(B) == [A]
    assert claims.claim("x", "2026-01", "1", A) == A


def test_whoever_is_called_otherwise_speaks_for_its_former_name_no_longer() -> None:
    claims = Claims()
    claims.claim("x", "2026-01", "1", A)
    claims.claim("y", "2026-01", "1", A)
    assert claims.claim("x", "2026-02", "2", B) == B
    assert claims.drop(C) == ()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("spec.lanes_max", "spec.lanesMax"),
        ("spec.phases.sales_eu.downtime_policy", "spec.phases.sales_eu.downtimePolicy"),
        ("spec.phases.a.datasets.lanes_max.source.relation", "spec.phases.a.datasets.lanes_max.source.relation"),
        ("spec.phases.a.datasets.b_c.target.load_mode", "spec.phases.a.datasets.b_c.target.loadMode"),
        (
            "spec.phases.a.datasets.b.transforms[3].python.memory_bytes_max",
            "spec.phases.a.datasets.b.transforms[3].python.memoryBytesMax",
        ),
        ("spec.no_such.field_name", "spec.no_such.field_name"),
        ("metadata.some_name", "metadata.some_name"),
        ("", ""),
    ],
)
def test_fields_are_called_as_custom_resources_call_them_and_names_stay(path: str, told: str) -> None:
    assert spec_path(DEFINITION_KINDS["Plan"].kind.message().DESCRIPTOR, path) == told


@pytest.mark.parametrize(
    ("word", "annotation", "rule", "environment"),
    [
        ("Plan", "", "namespace", "ns"),
        ("Plan", "prod", "namespace", "ns"),
        ("Plan", "prod", "annotation", "prod"),
        ("Plan", "", "annotation", "ns"),
        ("Environment", "prod", "annotation", "name"),
        ("Environment", "", "namespace", "name"),
    ],
)
def test_an_object_belongs_to_the_environment_that_the_rule_says(
    word: str, annotation: str, rule: str, environment: str
) -> None:
    annotations = {"pymigrate.io/environment": annotation} if annotation else {}
    found = {"metadata": {"namespace": "ns", "name": "name", "annotations": annotations}}
    assert environment_of_object(word, found, EnvironmentRule(rule)) == environment


def test_names_in_the_engine_follow_from_kind_environment_and_name() -> None:
    assert engine_name("Plan", "prod", "p") == "environments/prod/plans/p"
    assert engine_name("Environment", "prod", "prod") == "environments/prod"
    assert engine_name("GitSource", "prod", "repo") == "gitSources/repo"
    assert is_id(run_id(UID))


def test_the_shape_of_an_object_turns_with_whatever_a_pass_depends_on_and_not_with_its_status() -> None:
    metadata = {"uid": "1", "generation": 1, "annotations": {"a": "b"}, "resourceVersion": "7"}
    found = {"metadata": metadata, "status": {"x": 1}}
    assert shape_of(found) == shape_of({"metadata": {**metadata, "resourceVersion": "8"}, "status": {"x": 2}})
    for other in (
        {"generation": 2},
        {"annotations": {"a": "c"}},
        {"deletionTimestamp": "now"},
        {"finalizers": ["x"]},
        {"uid": "2"},
    ):
        assert shape_of({"metadata": {**metadata, **other}}) != shape_of(found)


def test_our_own_finalizer_calls_for_no_pass_unless_it_is_taken_away_or_comes_with_something_else() -> None:
    def shape(*finalizers: str, **metadata: object) -> tuple[object, ...]:
        return shape_of({"metadata": {"uid": "1", "generation": 1, "finalizers": list(finalizers), **metadata}})

    assert is_just_held(shape(), shape(FINALIZER))
    assert is_just_held(shape("other"), shape("other", FINALIZER))
    assert not is_just_held(shape(FINALIZER), shape())
    assert not is_just_held(shape(FINALIZER), shape(FINALIZER))
    assert not is_just_held(shape(), shape("other"))
    assert not is_just_held(shape(), shape(FINALIZER, generation=2))


@pytest.mark.parametrize(
    ("word", "name", "by_namespace", "by_annotation"),
    [
        ("Plan", "environments/a/plans/p", True, True),
        ("Plan", "environments/b/plans/p", False, True),
        ("Plan", "environments/a/plans/q", False, False),
        ("Plan", "environments/a/connections/p", False, False),
        ("Plan", "environments/b/plans/p/phases/p", False, False),
        ("Environment", "environments/p", False, True),
        ("GitSource", "gitSources/p", True, True),
    ],
)
def test_a_status_is_believed_no_name_that_an_object_of_its_namespace_can_not_have(
    word: str, name: str, by_namespace: bool, by_annotation: bool
) -> None:
    found = {"metadata": {"name": "p", "namespace": "a"}, "status": {"name": name}}
    assert told_name(word, found, EnvironmentRule.NAMESPACE) == (name if by_namespace else "")
    assert told_name(word, found, EnvironmentRule.ANNOTATION) == (name if by_annotation else "")
