"""Each defect of `tf` 1.2.0 beside its mend: the stock class shows the defect, the sdk does not."""

import threading
from typing import Any

import msgpack
import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.runner import _self_signed_cert, run_provider
from tf.types import Set, String, Unknown
from tf.utils import read_dynamic_value, to_dynamic_value

from pymigrate.provider.sdk import certificates, serving
from pymigrate.provider.sdk.schema import Attribute, UnorderedSet
from pymigrate.provider.sdk.values import read_value
from tests.unit.provider.small_provider import (
    Failing,
    Small,
    StockThing,
    Thing,
    apply_request,
    full,
    mended,
    plan_request,
    stock,
)

REFINED = msgpack.packb({"name": msgpack.ExtType(12, b"\x81\x01\xc2")})


def errors(response: Any) -> list[str]:
    """Summaries of a response's errors."""
    return [found.summary for found in response.diagnostics if found.severity == pb.Diagnostic.ERROR]


def test_stopping_lets_calls_under_way_end_and_tells_them() -> None:
    servicer = mended()
    servicer.StopProvider(pb.StopProvider.Request(), None)
    assert servicer.stopping.is_set()
    response = servicer.ApplyResourceChange(apply_request(None, full(name="a", id=Unknown, seen=Unknown)), None)
    assert read_value(response.new_state)["id"] == "1"


def test_a_failure_after_the_engine_accepted_leaves_the_object_in_the_state() -> None:
    request = apply_request(None, full(name="a", id=Unknown, seen=Unknown))
    response = mended(Failing(Thing)).ApplyResourceChange(request, None)
    assert read_value(response.new_state)["id"] == "1"
    assert errors(response) == ["The provider failed"]
    with pytest.raises(RuntimeError):
        stock(Failing(StockThing)).ApplyResourceChange(apply_request(None, {"name": "a"}), None)


def test_a_deletion_that_fails_leaves_the_object_in_the_state_with_the_reason() -> None:
    prior = full(name="a", id="1")
    response = mended(Failing(Thing)).ApplyResourceChange(apply_request(prior, None), None)
    assert read_value(response.new_state) == prior
    assert errors(response) == ["It can't go"]
    assert response.diagnostics[0].attribute.steps[0].attribute_name == "name"


def test_a_refined_unknown_is_unknown() -> None:
    value = pb.DynamicValue(msgpack=REFINED)
    assert read_value(value)["name"] is Unknown
    assert isinstance(read_dynamic_value(value)["name"], msgpack.ExtType)


def test_a_set_that_becomes_unknown_is_compared() -> None:
    assert not UnorderedSet(String()).semantically_equal(["a"], Unknown)
    assert UnorderedSet(String()).semantically_equal(["a", "b"], ["b", "a"])
    with pytest.raises(TypeError):
        Set(String()).semantically_equal(["a"], Unknown)


def test_a_state_of_an_older_schema_is_completed_and_cleaned() -> None:
    request = pb.UpgradeResourceState.Request(
        type_name="small_thing",
        version=2,
        raw_state=pb.RawState(json=b'{"name": "a", "gone": 1, "parts": {"x": {"size": 1}}}'),
    )
    upgraded = read_value(mended().UpgradeResourceState(request, None).upgraded_state)
    assert upgraded == full(name="a", parts={"x": {"size": 1, "kind": None}})
    kept = read_value(stock().UpgradeResourceState(request, None).upgraded_state)
    assert "gone" in kept
    assert "colour" not in kept


def test_every_schema_has_a_version() -> None:
    assert Small(Thing).get_provider_schema(None).version == 1


def test_a_default_holds_on_update_too() -> None:
    prior = full(name="a", colour="blue", id="1", seen="then")
    proposed, config = {**prior, "colour": "blue"}, full(name="a")
    planned = read_value(mended().PlanResourceChange(plan_request(prior, proposed, config), None).planned_state)
    assert planned["colour"] == "red"
    bare = {"name": "a", "colour": "blue", "id": "1", "seen": "then"}
    kept = read_value(stock().PlanResourceChange(plan_request(bare, bare, {"name": "a"}), None).planned_state)
    assert kept["colour"] == "blue"


def test_a_default_of_a_nested_attribute_holds() -> None:
    config = full(name="a", parts={"x": {"size": 1, "kind": None}})
    planned = read_value(mended().PlanResourceChange(plan_request(None, config), None).planned_state)
    assert planned["parts"] == {"x": {"size": 1, "kind": "plain"}}


def test_what_the_engine_computes_is_unknown_only_when_something_changes_and_it_is_not_stable() -> None:
    prior = full(name="a", colour="red", id="1", seen="then")
    same = read_value(mended().PlanResourceChange(plan_request(prior, prior, full(name="a")), None).planned_state)
    assert same == prior
    config = full(name="a", tags=["x"])
    changed = read_value(
        mended().PlanResourceChange(plan_request(prior, {**prior, "tags": ["x"]}, config), None).planned_state
    )
    assert changed["seen"] is Unknown
    assert changed["id"] == "1"
    bare = {"name": "a", "colour": "red", "id": "1", "seen": "then"}
    stale = read_value(stock().PlanResourceChange(plan_request(bare, {**bare, "colour": "blue"}), None).planned_state)
    assert stale["seen"] == "then"


def test_a_resource_decides_by_value_what_needs_another_object() -> None:
    prior = full(name="a", colour="red", id="1")
    request = plan_request(prior, {**prior, "tags": ["replace"]}, full(name="a", tags=["replace"]))
    response = mended().PlanResourceChange(request, None)
    assert [path.steps[0].attribute_name for path in response.requires_replace] == ["tags"]
    renamed = plan_request(prior, {**prior, "name": "b"}, full(name="b"))
    response = mended().PlanResourceChange(renamed, None)
    assert [path.steps[0].attribute_name for path in response.requires_replace] == ["name"]


def test_a_destruction_is_planned() -> None:
    prior = full(name="a", id="1")
    assert not errors(mended().PlanResourceChange(plan_request(prior, None), None))
    assert errors(stock().PlanResourceChange(plan_request({"name": "a"}, None), None))


def test_an_import_that_knows_the_name_alone_is_completed() -> None:
    request = pb.ImportResourceState.Request(type_name="small_thing", id="there")
    (imported,) = mended().ImportResourceState(request, None).imported_resources
    assert read_value(imported.state) == full(name="there")
    (partial,) = stock().ImportResourceState(request, None).imported_resources
    assert read_value(partial.state) == {"name": "there"}


def test_an_import_of_what_is_not_there_is_an_error() -> None:
    request = pb.ImportResourceState.Request(type_name="small_thing", id="nowhere")
    assert errors(mended().ImportResourceState(request, None)) == ["There is no nowhere"]
    assert not errors(stock().ImportResourceState(request, None))


def test_capabilities_are_told_with_the_schema() -> None:
    request = pb.GetProviderSchema.Request()
    assert mended().GetProviderSchema(request, None).server_capabilities.get_provider_schema_optional
    assert not stock().GetProviderSchema(request, None).server_capabilities.get_provider_schema_optional


def test_many_long_calls_do_not_queue_another_one() -> None:
    assert serving.THREADS == 128
    assert "max_workers=10" in _source_of(run_provider)


def test_the_key_is_elliptic_and_a_home_that_can_not_be_written_does_no_harm(tmp_path: Any) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("no folder")
    made = certificates.load(nowhere / "certificate.json")
    assert b"BEGIN PRIVATE KEY" in made.key
    assert len(made.key) < 400
    assert "key_size=1024" in _source_of(_self_signed_cert)


def test_a_certificate_is_kept_and_used_again_and_its_key_never_shows(tmp_path: Any) -> None:
    path = tmp_path / "cache" / "certificate.json"
    first = certificates.load(path)
    assert certificates.load(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(first)
    path.write_text('{"expires": 0}')
    assert certificates.load(path) != first


def test_a_nested_attribute_is_told_as_one() -> None:
    parts = Thing.attributes()["parts"].to_pb()
    assert not parts.type
    assert parts.nested_type.nesting == pb.Schema.Object.MAP
    assert [attribute.name for attribute in parts.nested_type.attributes] == ["size", "kind"]


def test_a_write_only_value_reaches_the_resource_and_never_plan_or_state() -> None:
    assert Attribute("secret", is_write_only=True, optional=True).to_pb().SerializeToString().endswith(b"\x58\x01")
    seen: list[Any] = []

    class Noting(Small):
        def create(self, context: Any, planned: Any) -> Any:
            seen.append(context.config["secret"])
            return {**planned, "id": "1", "seen": "now", "secret": "leaked"}

    servicer = mended(Noting(Thing))
    config = full(name="a", secret="hidden")
    planned = read_value(servicer.PlanResourceChange(plan_request(None, config), None).planned_state)
    assert planned["secret"] is None
    response = servicer.ApplyResourceChange(apply_request(None, planned, config), None)
    assert read_value(response.new_state)["secret"] is None
    assert seen == ["hidden"]


def test_a_read_that_fails_keeps_the_state() -> None:
    class Away(Small):
        def read(self, current: Any) -> Any:
            raise ConnectionError("no route")

    state = full(name="a", id="1")
    request = pb.ReadResource.Request(type_name="small_thing", current_state=to_dynamic_value(state))
    response = mended(Away(Thing)).ReadResource(request, None)
    assert read_value(response.new_state) == state
    assert errors(response)


@pytest.mark.parametrize(("found", "is_same"), [({}, True), ({"seen": "later"}, False), ({"parts": {}}, True)])
def test_what_is_as_it_was_is_answered_with_the_bytes_that_were_sent(found: dict[str, Any], is_same: bool) -> None:
    class There(Small):
        def read(self, current: Any) -> Any:
            return current | found

    sent = msgpack.packb(full(name="a", id="1", seen="now", colour="red", parts={}), use_single_float=False)
    state = pb.DynamicValue(msgpack=sent)
    read = mended(There(Thing)).ReadResource(
        pb.ReadResource.Request(type_name="small_thing", current_state=state), None
    )
    assert not errors(read)
    assert (read.new_state.msgpack == sent) is is_same
    assert read_value(read.new_state) == read_value(state) | found


def test_a_plan_of_what_is_as_it_was_is_what_was_proposed_and_a_default_changes_it_nevertheless() -> None:
    state = full(name="a", id="1", seen="now", colour="red", parts={"left": {"size": 1, "kind": "plain"}})
    kept = mended().PlanResourceChange(plan_request(state, state, full(name="a", parts=state["parts"])), None)
    assert kept.planned_state.msgpack == to_dynamic_value(state).msgpack
    blue = state | {"colour": "blue"}
    changed = mended().PlanResourceChange(plan_request(blue, blue, full(name="a", parts=state["parts"])), None)
    assert read_value(changed.planned_state)["colour"] == "red"


def test_a_word_that_is_none_and_a_value_that_only_the_engine_sets_are_refused_at_their_attribute() -> None:
    request = pb.ValidateResourceConfig.Request(
        type_name="small_thing", config=to_dynamic_value(full(name="a", colour="green", id="7"))
    )
    response = mended().ValidateResourceConfig(request, None)
    assert [found.attribute.steps[0].attribute_name for found in response.diagnostics] == ["colour", "id"]
    assert "red, blue" in response.diagnostics[0].detail


def test_calls_run_beside_one_another() -> None:
    inside, go_on = threading.Barrier(20), threading.Event()

    class Waiting(Small):
        def create(self, context: Any, planned: Any) -> Any:
            inside.wait(30)
            go_on.wait(30)
            return {**planned, "id": "1", "seen": "now"}

    servicer = mended(Waiting(Thing))
    request = apply_request(None, full(name="a", id=Unknown, seen=Unknown))
    threads = [threading.Thread(target=servicer.ApplyResourceChange, args=(request, None)) for _ in range(19)]
    for thread in threads:
        thread.start()
    inside.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def _source_of(function: Any) -> str:
    import inspect

    return inspect.getsource(function)
