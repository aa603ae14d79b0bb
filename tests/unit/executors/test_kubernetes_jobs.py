"""The Job of a worker host: names that any cluster takes, marks that tell whose it is, and what the worker is told."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.executors.kubernetes_jobs import (
    JobTerms,
    Place,
    digest_of,
    job_name,
    job_of,
    label_value,
)
from pymigrate.engine.entrypoints.operator.run_figures import fill_figures
from pymigrate.engine.main.kubernetes_settings import owner_reference
from pymigrate.v1.custom_resource_pb2 import RunStatus
from pymigrate.v1.run_pb2 import Run
from tests.unit.executors.played import terms

UID = "0f9c2f4e-8c63-4a55-9a3f-0e0a6f1f8f11"
DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NAMES = st.from_regex(r"[a-z](?:[a-z0-9_.-]{0,61}[a-z0-9])?", fullmatch=True)


@given(NAMES, NAMES, st.integers(1, 99_999))
def test_a_jobs_name_is_one_that_any_cluster_takes(instance: str, host: str, incarnation: int) -> None:
    assert DNS_LABEL.fullmatch(job_name(instance, host, incarnation))


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_hosts_of_other_names_or_instances_have_jobs_of_other_names(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (job_name(*one, 1) == job_name(*other, 1)) is (one == other)


@given(st.from_regex(r"[a-z](?:[a-z0-9_-]{0,100}[a-z0-9])?", fullmatch=True))
def test_a_label_is_one_that_any_cluster_takes(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?", label_value(text))


def test_the_worker_is_told_who_it_is_and_what_runs_it() -> None:
    job = job_of(terms(), "shared-prod-1", "shared@prod", 3)
    [worker] = job["spec"]["template"]["spec"]["containers"]
    name = job["metadata"]["name"]
    assert worker["args"] == [
        "--home=/var/run/pymigrate",
        "--host=shared-prod-1",
        "--affinity=shared@prod",
        "--drain-seconds=20",
        f"--workload=jobs/$(PYMIGRATE_POD_NAMESPACE)/{name}/$(PYMIGRATE_JOB_UID)/$(PYMIGRATE_POD_NAME)",
    ]
    fields = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in worker["env"] if "valueFrom" in each}
    assert fields == {
        "PYMIGRATE_POD_NAMESPACE": "metadata.namespace",
        "PYMIGRATE_POD_NAME": "metadata.name",
        "PYMIGRATE_JOB_UID": "metadata.labels['controller-uid']",
    }


def test_a_job_is_tried_once_and_goes_with_its_owner() -> None:
    owned = job_of(replaced(owner=owner_reference(f"apps/v1/StatefulSet/engine/{UID}")), "h", "shared@prod", 1)
    assert (owned["spec"]["backoffLimit"], owned["spec"]["parallelism"]) == (0, 1)
    assert owned["metadata"]["ownerReferences"] == [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "engine", "uid": UID}
    ]
    assert "ownerReferences" not in job_of(terms(), "h", "shared@prod", 1)["metadata"]


def test_a_deadline_is_set_only_where_there_is_one() -> None:
    assert "activeDeadlineSeconds" not in job_of(terms(), "h", "shared@prod", 1)["spec"]
    assert job_of(replaced(deadline_seconds=60), "h", "shared@prod", 1)["spec"]["activeDeadlineSeconds"] == 60


def test_a_path_with_a_dollar_reaches_the_worker_as_it_is() -> None:
    job = job_of(terms(), "h", "file:/data/$(HOME).duckdb@prod", 1)
    assert "--affinity=file:/data/$$(HOME).duckdb@prod" in job["spec"]["template"]["spec"]["containers"][0]["args"]


def test_the_digest_tells_jobs_that_run_alike_from_others() -> None:
    digest = digest_of(terms(), "h", "shared@prod")
    assert digest == digest_of(terms(), "h", "shared@prod")
    others = [
        digest_of(terms("pymigrate:2"), "h", "shared@prod"),
        digest_of(replaced(deadline_seconds=60), "h", "shared@prod"),
        digest_of(terms(), "h", "shared@dev"),
    ]
    assert len({digest, *others}) == 4


@pytest.mark.parametrize("workload", ["", "jobs/prod/j/u", "jobs/prod/j/u/p/x", "tasks/prod/j/u/p", "jobs//j/u/p"])
def test_what_no_job_runs_has_no_place(workload: str) -> None:
    assert Place.parse(workload) is None


def test_a_workload_says_which_pod_of_which_job_it_is() -> None:
    assert Place.parse("jobs/prod/j/u/p") == Place("prod", "j", "u", "p")


def replaced(**changed: object) -> "JobTerms":
    return replace(terms(), **changed)  # type: ignore[arg-type]  # fields of any type


def test_the_pods_of_an_environment_are_those_that_its_runs_select_for_scaling() -> None:
    environment = "e" * 63  # as long as names may be
    status = RunStatus()
    fill_figures(status, Run(name=f"environments/{environment}/plans/p/runs/r"))
    name, _, value = status.lanes.selector.partition("=")
    job = job_of(terms(), "h", f"shared@{environment}", 1)
    assert job["spec"]["template"]["metadata"]["labels"][name] == value == environment
    assert job_of(terms(), "h", "shared@other", 1)["spec"]["template"]["metadata"]["labels"][name] != value
