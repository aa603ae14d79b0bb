"""Path templates: what they admit, what they give, and paths that somebody made to be misread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.entrypoints.rest.templates import Path, Template, Variable, parse_path, parse_template

PLAN = parse_template("/v1/{name=environments/*/plans/*}")
VALIDATE = parse_template("/v1/{name=environments/*/plans/*}:validate")


def matched(template: Template, raw: str) -> dict[str, str] | None:
    path = parse_path(raw)
    return None if path is None else template.match(path)


def test_a_template_has_segments_variables_and_a_verb() -> None:
    found = parse_template("/v1/{plan.name=environments/*/plans/*}/{part}:check")
    assert found.segments == ("v1", "environments", "*", "plans", "*", "*")
    assert found.variables == (Variable("plan.name", 1, 5), Variable("part", 5, 6))
    assert found.verb == "check"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "v1",
        "/v1/",
        "//v1",
        "/v1/{name=**}",
        "/v1/**",
        "/v1/{name",
        "/v1/{=a}",
        "/v1/{a={b}}",
        "/v1:",
        "/v1/{a=b//c}",
    ],
)
def test_what_is_no_template_or_has_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"template|segment|colon"):
        parse_template(text)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("/v1/environments/prod/plans/w", "environments/prod/plans/w"),
        ("/v1/environments/prod/plans/%77", "environments/prod/plans/w"),
        ("/v1/environments/m%C3%BCnchen/plans/w%3Avalidate", "environments/münchen/plans/w:validate"),
        ("/v1/environments/../plans/w", "environments/../plans/w"),
    ],
)
def test_a_path_gives_the_name_with_each_segment_decoded_once(raw: str, name: str) -> None:
    assert matched(PLAN, raw) == {"name": name}


def test_what_follows_the_last_colon_is_a_verb_and_no_part_of_a_name() -> None:
    assert matched(VALIDATE, "/v1/environments/prod/plans/w:validate") == {"name": "environments/prod/plans/w"}
    assert matched(PLAN, "/v1/environments/prod/plans/w:validate") is None
    assert matched(VALIDATE, "/v1/environments/prod/plans/w%3Avalidate") is None


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "v1",
        "/v1//environments",
        "/v1/environments/prod/plans/",
        "/v1/environments/prod%2Fplans%2Fw",
        "/v1/environments/a%00b",
        "/v1/environments/a%0Ab",
        "/v1/environments/%ff",
        "/v1/environments/%zz",
        "/v1/environments/%",
        "/v1/environments/:validate",
        "/" + "/".join("a" * 40),
    ],
)
def test_a_path_in_disguise_is_no_path(raw: str) -> None:
    assert parse_path(raw) is None


@given(st.text(max_size=60))
def test_any_text_is_a_path_of_whole_segments_or_none(raw: str) -> None:
    path = parse_path(raw)
    assert path is None or all(segment and "/" not in segment for segment in path.segments)


@given(st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), min_size=2, max_size=2))
def test_every_name_comes_back_as_it_was_written(ids: list[str]) -> None:
    name = f"environments/{ids[0]}/plans/{ids[1]}"
    assert PLAN.match(Path(("v1", *name.split("/")), "")) == {"name": name}
