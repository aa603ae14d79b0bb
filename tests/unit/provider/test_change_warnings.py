"""What `terraform plan` says of a changed phase or plan: when it asks the engine and for what, and where a warning stands. A plan never
fails for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.types import Unknown
from tf.utils import Diagnostics, to_dynamic_value

from pymigrate.provider.comparing import DRAWS, SECONDS_MAX, TIME_IS_UP, Comparisons
from pymigrate.provider.provider import SHARE_DEFAULT, SHARE_VARIABLE, PymigrateProvider
from pymigrate.provider.resources.phase import COSTS, PhaseResource
from pymigrate.provider.resources.plan import PlanResource
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.v1 import impact_pb2, plan_pb2
from tests.unit.provider.impact_engine import ImpactEngine, configured, refuse, refuse_field, stay_away

PLAN = "environments/small/plans/small"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ImpactEngine]:
    """An engine whose answer is that the downtime of phase `sales` rises from 12 to 95 seconds."""
    engine = ImpactEngine(tmp_path / "engine")
    engine.compare = rising()
    yield engine
    engine.stop()


def rising(before: float = 12, after: float = 95) -> Any:
    """An answer with another downtime of each phase that changes, or of `sales` where the plan itself does."""

    def compare(request: Any, call: Any) -> impact_pb2.CompareImpactResponse:
        answer = impact_pb2.CompareImpactResponse()
        for name, variant in request.variants.items():
            for phase in variant.phases or ["sales"]:
                answer.base.phases[phase].downtime_seconds.p50 = before
                answer.variants[name].phases[phase].downtime_seconds.p50 = after
        return answer

    return compare


def missing(request: Any, call: Any) -> impact_pb2.CompareImpactResponse:
    """An answer by which phase `sales` no longer fits its window."""
    answer = impact_pb2.CompareImpactResponse()
    (variant,) = request.variants
    for impact, fits in ((answer.base, True), (answer.variants[variant], False)):
        impact.phases["sales"].window.is_scheduled = True
        impact.phases["sales"].window.fits = fits
    return answer


def only(asked: Any) -> Any:
    """The one variant of a request."""
    (variant,) = asked.variants.values()
    return variant


def dataset(**values: Any) -> dict[str, Any]:
    """A dataset as Terraform knows it."""
    parts = PhaseResource.attributes()["datasets"].nested
    places = {name: dict.fromkeys(parts[name].nested) | {"connection": name} for name in ("source", "target")}
    return dict.fromkeys(parts) | places | values


def phase(**values: Any) -> dict[str, Any]:
    """The phase `sales` as it is applied."""
    own = {
        "plan": PLAN,
        "phase_id": "sales",
        "department": "sales",
        "datasets": {"people": dataset(), "shops": dataset()},
        "downtime_policy": "online",
        "name": f"{PLAN}/phases/sales",
        "uid": "1",
        "definition_hash": "abc",
    }
    return dict.fromkeys(PhaseResource.attributes()) | own | values


def plan(**values: Any) -> dict[str, Any]:
    """The plan as it is applied."""
    own = {"environment": "environments/small", "plan_id": "small", "name": PLAN, "uid": "1"}
    return dict.fromkeys(PlanResource.attributes()) | own | values


def planned(
    servicer: Servicer, prior: dict[str, Any] | None, proposed: dict[str, Any] | None, kind: str = "phase"
) -> list[Any]:
    """Plans as Terraform does; the diagnostics, none of which may be an error."""
    outputs = {"name", "uid", "definition_hash"}
    config = None if proposed is None else {k: None if k in outputs else v for k, v in proposed.items()}
    request = pb.PlanResourceChange.Request(
        type_name=f"pymigrate_{kind}",
        prior_state=to_dynamic_value(prior),
        proposed_new_state=to_dynamic_value(proposed),
        config=to_dynamic_value(config),
    )
    answer = servicer.PlanResourceChange(request, None)
    assert all(found.severity == pb.Diagnostic.WARNING for found in answer.diagnostics), answer.diagnostics
    return list(answer.diagnostics)


def place(warning: Any) -> list[str]:
    """Where a warning stands."""
    return [step.attribute_name or step.element_key_string for step in warning.attribute.steps]


def test_a_change_that_raises_the_downtime_warns_on_the_attribute_with_both_figures(engine: ImpactEngine) -> None:
    (warning,) = planned(configured(engine.home), phase(), phase(downtime_policy="offline"))
    assert warning.summary == "Downtime of phase sales rises from 12 s to 95 s (P50)"
    assert place(warning) == ["downtime_policy"]


def test_the_engine_compares_the_planned_phase_without_probing(engine: ImpactEngine) -> None:
    planned(configured(engine.home), phase(), phase(downtime_policy="offline"))
    (asked,) = engine.asked
    assert (asked.plan, asked.draws, asked.probe_seconds_max) == (PLAN, DRAWS, -1)
    definition = only(asked).phases["sales"].definition
    assert (definition.department, sorted(definition.datasets)) == ("sales", ["people", "shops"])
    assert definition.downtime_policy == plan_pb2.DOWNTIME_POLICY_OFFLINE
    assert engine.seconds_left[0] <= SECONDS_MAX + 1


def test_a_window_that_no_longer_holds_the_phase_warns_on_the_schedule(engine: ImpactEngine) -> None:
    engine.compare = missing
    window = {"days": None, "start": "22:00", "end": "22:01"}
    schedule = {"time_zone": None, "windows": {"night": window}, "blackouts": None}
    (warning,) = planned(configured(engine.home), phase(), phase(schedule=schedule, downtime_policy="offline"))
    assert warning.summary == "Phase sales no longer fits its window"
    assert place(warning) == ["schedule"]


def test_a_change_within_one_dataset_warns_on_it_and_says_which_part(engine: ImpactEngine) -> None:
    changed = {"people": dataset(), "shops": dataset(lanes=4)}
    (warning,) = planned(configured(engine.home), phase(), phase(datasets=changed))
    assert place(warning) == ["datasets", "shops"]
    assert warning.detail.startswith('datasets["shops"].lanes: ')


def test_a_dataset_more_warns_on_that_dataset(engine: ImpactEngine) -> None:
    changed = {"people": dataset(), "shops": dataset(), "orders": dataset()}
    (warning,) = planned(configured(engine.home), phase(), phase(datasets=changed))
    assert place(warning) == ["datasets", "orders"]


def test_changes_in_several_datasets_warn_on_all_of_them(engine: ImpactEngine) -> None:
    changed = {"people": dataset(lanes=2), "shops": dataset(lanes=4)}
    (warning,) = planned(configured(engine.home), phase(), phase(datasets=changed))
    assert place(warning) == ["datasets"]


def test_every_field_of_a_phase_either_costs_or_says_nothing_of_downtime() -> None:
    rest = PhaseResource.attributes().keys() - set(COSTS)
    assert rest == {"plan", "phase_id", "name", "uid", "definition_hash", "display_name", "labels"}


def test_a_plan_is_compared_with_other_windows_and_lanes(engine: ImpactEngine) -> None:
    servicer = configured(engine.home)
    window = {"days": None, "start": "22:00", "end": "23:00"}
    schedule = {"time_zone": "Europe/Berlin", "windows": {"night": window}, "blackouts": None}
    (warning,) = planned(servicer, plan(lanes_max=4), plan(lanes_max=2, schedule=schedule), "plan")
    (asked,) = engine.asked
    variant = only(asked)
    assert (variant.lanes_max, variant.schedule.time_zone, variant.is_unscheduled) == (2, "Europe/Berlin", False)
    assert place(warning) == ["schedule"]


def test_a_plan_without_windows_and_limit_is_compared_as_one(engine: ImpactEngine) -> None:
    (warning,) = planned(configured(engine.home), plan(lanes_max=4), plan(), "plan")
    variant = only(engine.asked[0])
    assert (variant.lanes_max, variant.is_unscheduled, variant.HasField("schedule")) == (-1, True, False)
    assert place(warning) == ["lanes_max"]


def test_a_change_that_costs_nothing_more_is_no_warning(engine: ImpactEngine) -> None:
    engine.compare = rising(95, 12)
    assert not planned(configured(engine.home), phase(), phase(downtime_policy="offline"))
    assert engine.asked


@pytest.mark.parametrize(
    ("prior", "proposed"),
    [
        (phase(), phase()),
        (phase(), phase(display_name="Sales", labels={"a": "b"})),
        (phase(dependencies=[]), phase(dependencies=None)),
        (None, phase(name=Unknown, uid=Unknown, definition_hash=Unknown)),
        (phase(), None),
        (phase(), phase(dependencies=Unknown)),
        (phase(), phase(datasets={"people": dataset(key=Unknown)})),
        (phase(), phase(phase_id="other", downtime_policy="offline")),
    ],
    ids=["unchanged", "names", "empty", "creation", "destruction", "unknown", "unknown within", "another object"],
)
def test_nothing_is_asked_where_there_is_nothing_to_compare(engine: ImpactEngine, prior: Any, proposed: Any) -> None:
    assert not planned(configured(engine.home), prior, proposed)
    assert not engine.asked


@pytest.mark.parametrize("proposed", [plan(), plan(labels={"a": "b"}, rollback_window_seconds=60)])
def test_nothing_is_asked_of_a_plan_whose_windows_and_lanes_stay(engine: ImpactEngine, proposed: Any) -> None:
    assert not planned(configured(engine.home), plan(), proposed, "plan")
    assert not engine.asked


def test_without_comparison_nothing_is_asked(engine: ImpactEngine) -> None:
    servicer = configured(engine.home, downtime_increase_share_max=-1)
    assert not planned(servicer, phase(), phase(downtime_policy="offline"))
    assert not engine.asked


def test_a_larger_share_lets_a_rise_pass(engine: ImpactEngine) -> None:
    servicer = configured(engine.home, downtime_increase_share_max=10)
    assert not planned(servicer, phase(), phase(downtime_policy="offline"))
    assert engine.asked


def test_an_engine_that_compares_nothing_is_asked_once_and_nothing_is_said(tmp_path: Path) -> None:
    engine = ImpactEngine(tmp_path / "engine", has_impact=False)
    servicer = configured(engine.home)
    for policy in ("offline", "read_only"):
        assert not planned(servicer, phase(), phase(downtime_policy=policy))
    engine.stop()


def test_a_plan_that_is_not_there_yet_is_no_warning(engine: ImpactEngine) -> None:
    engine.compare = refuse(grpc.StatusCode.NOT_FOUND, "there is no such plan")
    assert not planned(configured(engine.home), phase(), phase(downtime_policy="offline"))


def test_a_plan_without_phases_yet_is_no_warning(engine: ImpactEngine) -> None:
    engine.compare = refuse_field("phases", "the plan has no phase yet: there is nothing to run")
    assert not planned(configured(engine.home), plan(), plan(lanes_max=2), "plan")
    assert engine.asked


def test_a_comparison_that_fails_is_one_warning_that_says_why(engine: ImpactEngine) -> None:
    engine.compare = refuse(grpc.StatusCode.FAILED_PRECONDITION, "nothing is known of `people`")
    (warning,) = planned(configured(engine.home), phase(), phase(downtime_policy="offline"))
    assert warning.summary == "What this change of phase sales costs can't be told"
    assert "nothing is known of `people`." in warning.detail
    assert place(warning) == ["downtime_policy"]


def test_what_the_engine_refuses_is_told_by_the_fields_of_the_configuration(engine: ImpactEngine) -> None:
    engine.compare = refuse_field("variants.change-0.phases.sales.definition.dependencies", "there is no phase `b`")
    (warning,) = planned(configured(engine.home), phase(), phase(dependencies=["b"]))
    assert warning.detail.startswith("dependencies: there is no phase `b`. ")


def test_a_home_without_an_engine_is_told_once_however_many_phases_change(tmp_path: Path) -> None:
    servicer = configured(tmp_path)
    (warning,) = planned(servicer, phase(), phase(downtime_policy="offline"))
    assert "start an engine" in warning.detail
    assert not planned(servicer, phase(), phase(downtime_policy="read_only"))


def test_an_answer_that_can_not_be_read_fails_no_plan(engine: ImpactEngine) -> None:
    def compare(request: Any, call: Any) -> Any:
        answer = missing(request, call)
        for changed in answer.variants.values():
            changed.phases["sales"].window.close_time.seconds = 2**60  # no moment
        return answer

    engine.compare = compare
    (warning,) = planned(configured(engine.home), phase(), phase(downtime_policy="offline"))
    assert "can't be told" in warning.summary


def test_an_engine_that_is_gone_is_told_once_however_many_phases_change(engine: ImpactEngine) -> None:
    engine.stop()
    servicer = configured(engine.home)
    (warning,) = planned(servicer, phase(), phase(downtime_policy="offline"))
    assert "does not answer" in warning.detail
    assert not planned(servicer, phase(), phase(downtime_policy="read_only"))


def test_a_definition_that_does_not_fit_is_left_to_the_apply(engine: ImpactEngine) -> None:
    (warning,) = planned(configured(engine.home), phase(), phase(priority=2.5))
    assert "whole number" in warning.detail
    assert not engine.asked


class Ticking:
    """A clock that goes on by so many seconds each time it is asked."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._now = seconds, 0.0

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


def test_all_comparisons_together_have_a_limit_that_is_told_once(engine: ImpactEngine) -> None:
    # The clock is asked four times for a comparison, three of them before the engine is.
    servicer = configured(engine.home, Comparisons(Ticking(SECONDS_MAX * 0.15), gather_seconds=0))
    said = [planned(servicer, phase(), phase(priority=number)) for number in range(1, 5)]
    assert len(engine.asked) == 2
    assert engine.seconds_left[1] < engine.seconds_left[0] < SECONDS_MAX
    assert TIME_IS_UP in said[2][0].detail
    assert not said[3]


def test_a_comparison_that_does_not_end_in_time_is_given_up(engine: ImpactEngine) -> None:
    engine.compare = refuse(grpc.StatusCode.DEADLINE_EXCEEDED, "too late")
    servicer = configured(engine.home)
    (warning,) = planned(servicer, phase(), phase(downtime_policy="offline"))
    assert TIME_IS_UP in warning.detail
    assert not planned(servicer, phase(), phase(downtime_policy="read_only"))


def at_once(servicer: Servicer, *names: str) -> dict[str, list[Any]]:
    """Phases of one plan that become offline, planned as Terraform does it: all at once; the warnings of each."""
    with ThreadPoolExecutor(len(names)) as pool:
        futures = {
            name: pool.submit(planned, servicer, phase(phase_id=name), phase(phase_id=name, downtime_policy="offline"))
            for name in names
        }
    return {name: future.result() for name, future in futures.items()}


def gathering(engine: ImpactEngine) -> Servicer:
    """A provider whose first change waits long enough for all others that are planned at once."""
    return configured(engine.home, Comparisons(gather_seconds=1.0))


def test_phases_that_are_planned_at_once_are_compared_by_one_call_each_for_itself(engine: ImpactEngine) -> None:
    said = at_once(gathering(engine), "a", "b", "c")
    (asked,) = engine.asked
    assert sorted(name for variant in asked.variants.values() for name in variant.phases) == ["a", "b", "c"]
    for name, (warning,) in said.items():
        assert warning.summary == f"Downtime of phase {name} rises from 12 s to 95 s (P50)"


def test_a_phase_that_is_refused_leaves_the_others_to_be_compared_without_it(engine: ImpactEngine) -> None:
    def compare(request: Any, call: Any) -> Any:
        wrong = [name for name, variant in request.variants.items() if "b" in variant.phases]
        if not wrong:
            return rising()(request, call)
        return refuse_field(f"variants.{wrong[0]}.phases.b.definition.department", "there is none")(request, call)

    engine.compare = compare
    said = at_once(gathering(engine), "a", "b", "c")
    assert [len(asked.variants) for asked in engine.asked] == [3, 2]
    assert said["b"][0].detail.startswith("department: there is none. ")
    assert "rises" in said["a"][0].summary
    assert "rises" in said["c"][0].summary


def test_what_fails_for_all_of_them_one_phase_tells(engine: ImpactEngine) -> None:
    engine.compare = refuse(grpc.StatusCode.INTERNAL, "the engine failed")
    said = at_once(gathering(engine), "a", "b", "c")
    (warning,) = [warning for found in said.values() for warning in found]
    assert "the engine failed." in warning.detail


def test_an_interruption_ends_a_comparison_without_a_word(engine: ImpactEngine) -> None:
    engine.compare = stay_away
    servicer = configured(engine.home)
    servicer.stopping.set()
    assert not planned(servicer, phase(), phase(downtime_policy="offline"))


@pytest.mark.parametrize(("given", "share"), [("0.5", 0.5), ("-1", None), ("", SHARE_DEFAULT)])
def test_the_share_can_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: str, share: float | None
) -> None:
    monkeypatch.setenv(SHARE_VARIABLE, given)
    provider = PymigrateProvider()
    provider.configure_provider(Diagnostics(), {})
    assert provider.downtime_increase_share_max == share


def test_what_is_configured_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARE_VARIABLE, "0.5")
    provider = PymigrateProvider()
    provider.configure_provider(Diagnostics(), {"downtime_increase_share_max": 0.3})
    assert provider.downtime_increase_share_max == 0.3


@pytest.mark.parametrize("given", [0, -0.5, float("inf"), "much"])
def test_a_share_that_is_none_is_refused_at_its_attribute(given: Any) -> None:
    with pytest.raises(Refused, match="a share above 0") as raised:
        PymigrateProvider().validate_config(Diagnostics(), {"downtime_increase_share_max": given})
    assert raised.value.path == ("downtime_increase_share_max",)
