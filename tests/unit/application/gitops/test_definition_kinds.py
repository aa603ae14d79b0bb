"""The kinds that files may declare."""

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS


def test_every_kind_is_named_as_its_collection_and_its_requests_have_it() -> None:
    named = {kind.word: (kind.name("e", "x"), kind.kind.noun) for kind in DEFINITION_KINDS.values()}
    assert named["Environment"] == ("environments/x", "environment")
    assert named["OnCallSchedule"] == ("environments/e/onCallSchedules/x", "on_call_schedule")
    assert named["Silence"] == ("environments/e/silences/x", "silence")


def test_a_definition_sets_nothing_that_only_the_engine_tells() -> None:
    assert DEFINITION_KINDS["NotificationTemplate"].settable() == ["display_name", "types", "texts", "labels"]
    assert DEFINITION_KINDS["Silence"].settable() == ["reason", "match", "start_time", "end_time"]
