"""Whatever a template says in the sandbox's language, it ends with texts within their bounds or with one sentence, and reaches nothing."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.rendering.sandbox import OUTPUT_BYTES_MAX
from pymigrate.engine.adapters.rendering.texts import PROBLEM_CHARACTERS_MAX, Texts
from pymigrate.engine.adapters.rendering.vocabulary import FILTERS, TESTS
from pymigrate.engine.application.notice_samples import sample_contexts

TEXTS = Texts(cpu_seconds_max=0.5)
FULL, SPARSE = sample_contexts("lane.failed")
# What would show that something was reached that is no data: the program's own objects as they are written.
REACHED = ("<class ", "<function ", "<module ", "<built-in", " object at 0x", "jinja2.", "<bound method")
NAMES = st.sampled_from(
    ["event", "events", "run", "kpis", "department", "count", "recipient", "nothing", "loop", "self", "a", "b"]
)
FIELDS = st.sampled_from(["title", "failure", "time", "reason", "rows", "systems", "roles", "__class__", "items", "x"])
CONSTANTS = st.one_of(
    st.integers(-5, 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(str),
    st.text(string.ascii_letters + "%<&ä{}", max_size=8).map(lambda text: f"'{text}'"),
    st.sampled_from(["true", "none", "'%s'", "'{0.__class__}'", "'__class__'", "['a', 1]", "('b', 2)", "{'k': 1}"]),
)
TESTED = sorted(name for name in TESTS if name.isalpha())


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=2).map(", ".join)
    return st.one_of(
        st.tuples(inner, FIELDS).map(lambda at: f"({at[0]}).{at[1]}"),
        st.tuples(inner, inner).map(lambda at: f"({at[0]})[{at[1]}]"),
        st.tuples(inner, st.sampled_from(sorted(FILTERS)), arguments).map(lambda at: f"({at[0]})|{at[1]}({at[2]})"),
        st.tuples(inner, st.sampled_from(sorted(FILTERS))).map(lambda at: f"({at[0]})|{at[1]}"),
        st.tuples(inner, st.sampled_from(sorted(FILTERS)), FIELDS).map(
            lambda at: f"({at[0]})|map(attribute='{at[2]}')|{at[1]}"
        ),
        st.tuples(inner, st.sampled_from(TESTED)).map(lambda at: f"({at[0]}) is {at[1]}"),
        st.tuples(
            inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and"]), inner
        ).map(lambda at: f"({at[0]}) {at[1]} ({at[2]})"),
        st.tuples(inner, inner, inner).map(lambda at: f"({at[0]}) if ({at[1]}) else ({at[2]})"),
        inner.map(lambda at: f"({at})()"),
    )


EXPRESSIONS = st.recursive(st.one_of(NAMES, CONSTANTS), _grown, max_leaves=6)
STATEMENTS = st.one_of(
    EXPRESSIONS.map(lambda at: f"{{{{ {at} }}}}"),
    st.tuples(st.sampled_from("ab"), EXPRESSIONS).map(lambda at: f"{{% set {at[0]} = {at[1]} %}}"),
    st.tuples(EXPRESSIONS, EXPRESSIONS).map(lambda at: f"{{% if {at[0]} %}}{{{{ {at[1]} }}}}{{% endif %}}"),
    st.tuples(EXPRESSIONS, EXPRESSIONS).map(lambda at: f"{{% for a in {at[0]} %}}{{{{ {at[1]} }}}}{{% endfor %}}"),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STATEMENTS, min_size=1, max_size=4), st.booleans())
def test_a_template_ends_with_texts_or_with_one_sentence(statements: list[str], is_full: bool) -> None:
    source = "\n".join(statements)
    found = TEXTS.render(("s", source, source), FULL if is_full else SPARSE)
    assert [sign for sign in REACHED if any(sign in text for text in found)] == []
    if len(found) == 1:
        assert found[0].startswith(("body: ", "html: "))
        assert len(found[0]) <= PROBLEM_CHARACTERS_MAX + len("body: line 1,000: ")
        return
    assert len(found) == 3
    for text in found:
        assert len(text.encode()) <= OUTPUT_BYTES_MAX


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("{}%#|.()[]'\"ab01 \n~*+-=_<>"), max_size=60))
def test_whatever_is_written_is_a_text_or_a_sentence(source: str) -> None:
    assert len(TEXTS.render((source, source, source), FULL)) in (1, 3)


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS)
def test_the_same_template_reads_the_same_twice(expression: str) -> None:
    source = ("s", f"{{{{ {expression} }}}}", "")
    before = repr(FULL)
    assert TEXTS.render(source, FULL) == TEXTS.render(source, FULL)
    assert repr(FULL) == before, "a template changes nothing that others read"
