"""What templates try to get at, or to use up, held against the real process: each is refused with its line or stopped at its limit, and
the next text is made as if nothing had happened."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pymigrate.engine.adapters.rendering.process import TemplateProcess
from pymigrate.engine.ports.rendering import RenderedText, RenderRequest, TemplateSource

pytestmark = pytest.mark.asyncio(loop_scope="module")
VALUES = {
    "text": "abc",
    "many": list(range(1_000)),
    "too_many": list(range(1_001)),
    "map": {"field": "value", "markup": "<b>&"},
    "maps": [{"name": "b", "at": 2}, {"name": "a", "at": 1}],
    "nothing": None,
    "recipient": {"name": "Ada", "locale": "en", "zone": "UTC"},
}
DOUBLING = "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}"
REACHING = {
    "a class": "{{ text.__class__ }}",
    "a class by its key": "{{ text['__class__'] }}",
    "a class of a number": "{{ 1 .__class__ }}",
    "the base of all": "{{ ().__class__.__bases__[0].__subclasses__() }}",
    "the order of bases": "{{ ''.__class__.mro() }}",
    "a method": "{{ text.upper() }}",
    "a method not called": "{{ text.upper }}",
    "a method of a map": "{{ map.items() }}",
    "a method of a map not called": "{{ map.items }}",
    "a formatting method": "{{ '{0.__class__}'.format(text) }}",
    "formatting by a map": "{{ '{a.__class__}'.format_map(map) }}",
    "the filter for attributes": "{{ text|attr('__class__') }}",
    "attributes by map": "{{ [text]|map(attribute='__class__')|list|join }}",
    "attributes by a path": "{{ maps|map(attribute='name.__class__')|join }}",
    "attributes by selection": "{{ maps|selectattr('name.__class__')|list|length }}",
    "attributes by sorting": "{{ (maps|sort(attribute='name.__class__'))|length }}",
    "attributes by sum": "{{ maps|sum(attribute='__class__') }}",
    "attributes by groups": "{{ maps|groupby('__class__')|length }}",
    "attributes by join": "{{ maps|join(',', attribute='__class__') }}",
    "a private key": "{{ map['__class__'] }}",
    "the template": "{{ self }}",
    "the template's context": "{{ self._TemplateReference__context }}",
    "the parent": "{{ super() }}",
    "a cycler": "{{ cycler('a').__init__.__globals__ }}",
    "a joiner": "{{ joiner.__init__ }}",
    "a namespace": "{% set n = namespace(a=1) %}",
    "a namespace's field": "{% set n.a = 1 %}",
    "lorem ipsum": "{{ lipsum.__globals__ }}",
    "a map's maker": "{{ dict(a=1) }}",
    "the loop's program": "{% for a in many %}{{ loop.__init__ }}{% endfor %}",
    "the loop's own fields": "{% for a in many %}{{ loop._iterable }}{% endfor %}",
    "the loop itself": "{% for a in many %}{{ loop }}{% endfor %}",
    "calling the loop": "{% for a in many recursive %}{{ loop(many) }}{% endfor %}",
    "cycling": "{% for a in many %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "the request": "{{ request }}",
    "the configuration": "{{ config }}",
    "the environment": "{{ environment }}",
    "the context": "{{ context }}",
    "python": "{{ __import__('os') }}",
    "a macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a call": "{% call text() %}{% endcall %}",
    "a block": "{% block b %}{{ self.b() }}{% endblock %}",
    "another text": "{% extends 'other' %}",
    "another text's content": "{% include '/etc/passwd' %}",
    "another text's macros": "{% import 'os' as os %}",
    "some of another text's macros": "{% from 'os' import system %}",
    "a filter over a block": "{% filter upper %}a{% endfilter %}",
    "a block as a value": "{% set a %}a{% endset %}",
    "marking as safe": "{{ text|safe }}",
    "an extension": "{% do map.clear() %}",
    "debugging": "{% debug %}",
    "what is written as it is": "{{ map }}",
    "a list written as it is": "{{ many }}",
    "nothing written as it is": "{{ nothing }}",
    "a field of nothing": "{{ nothing.field }}",
    "an unknown name": "{{ unknown }}",
    "a field of an unknown name": "{{ unknown.field }}",
    "an unknown field": "{{ map.unknown }}",
    "an unknown place": "{{ maps[7] }}",
    "an unknown name compared": "{% if unknown == 1 %}{% endif %}",
    "an unknown name looped over": "{% for a in unknown %}{% endfor %}",
    "an unknown filter": "{{ text|pprint }}",
    "an unknown test": "{% if text is callable %}{% endif %}",
    "a loop over nothing": "{% for a in nothing %}{% endfor %}",
    "a list of values": "{% set a = [many, many] %}",
    "a map of values": "{% set a = {'a': many} %}",
    "the inner bound": "{{ many|bounded_loop }}",
    "arguments of a list": "{{ text|replace(*maps) }}",
}
GREEDY = {
    "repeated text": "{{ 'a' * 1000000000 }}",
    "repeated list": "{{ (many * 1000000)|length }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "a small power": "{{ 2 ** 2 }}",
    "squares of squares": "{% set a = 99999999 %}" + "{% set a = a * a %}" * 40 + "{{ a }}",
    "a formatted width": "{{ '%999999999d' % 3 }}",
    "a formatted width by filter": "{{ '%999999999d'|format(3) }}",
    "a centred text": "{{ text|center(1000000000) }}",
    "doubled text": DOUBLING,
    "doubled text by plus": DOUBLING.replace("~", "+"),
    "doubled text by join": DOUBLING.replace("a ~ a", "many|join(a)"),
    "doubled text by replacing": DOUBLING.replace("a ~ a", "a|replace('a', 'aaaaaaaaaa')"),
    "doubled text by replacing nothing": DOUBLING.replace("a ~ a", "a|replace('', a)"),
    "doubled text by escapes": "{% set a = '%' %}" + "{% set a = a|urlencode %}" * 100 + "{% set a = a ~ a %}" * 60,
    "doubled text by JSON": "{% set a = '\"' %}" + "{% set a = a|tojson %}" * 60,
    "an indented text": "{{ (many|join('\\n')|indent(1000000000)|replace(' ', 'aaaaaaaaaa')) }}",
    "summed lists": "{{ [1]|sum(start=many)|length }}",
    "batches": "{{ many|batch(1000000000, 'a')|list|length }}",
    "slices": "{{ many|slice(1000000000)|list|length }}",
    "a range": "{% for a in range(1000000000) %}{% endfor %}",
    "1,001 turns": "{% for a in too_many %}{% endfor %}",
    "loops in loops": "{% for a in many %}{% for b in many %}{% for c in many %}{% endfor %}{% endfor %}{% endfor %}",
    "turns that write": "{% for a in many %}{% for b in many %}{{ text }}{% endfor %}{% endfor %}",
    "turns that write nothing": "{% for a in many %}{% for b in many %}{% for c in many %}{{ '' }}{% endfor %}{% endfor %}{% endfor %}",
    "deep brackets": "{{ " + "(" * 200 + "1" + ")" * 200 + " }}",
    "deep conditions": "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "deep negations": "{{ " + "not " * 2_000 + "1 }}",
    "deep sums": "{{ 1" + " + 1" * 5_000 + " }}",
    "many expressions": "{{ text }}" * 30_000,
    "a long number": "{{ " + "9" * 60_000 + " }}",
    "many wide texts": "{% set w = '😀' %}"
    + "{% set w = w ~ w %}" * 17
    + "{% set w = w ~ w[:120000] %}"
    + "".join(f"{{% set a{at} = w ~ {at} %}}" for at in range(900)),
    "a division by nothing": "{{ 1 / 0 }}",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process() -> AsyncIterator[TemplateProcess]:
    made = TemplateProcess()
    yield made
    await made.close()


async def _body(process: TemplateProcess, body: str, html: str = "") -> RenderedText:
    (found,) = await process.render([RenderRequest(TemplateSource("s", body, html), VALUES)])
    return found


@pytest.mark.parametrize("what", REACHING)
async def test_nothing_is_reached_but_the_fields_of_maps(process: TemplateProcess, what: str) -> None:
    found = await _body(process, "first line\n" + REACHING[what])
    assert found.problem.startswith("body: line 2: "), found
    assert (found.subject, found.body, found.html) == ("", "", "")


@pytest.mark.parametrize("what", GREEDY)
async def test_nothing_grows_or_lasts_beyond_its_bound(process: TemplateProcess, what: str) -> None:
    await _body(process, "warm")
    pid = process.pid
    found = await _body(process, GREEDY[what])
    assert found.problem.startswith("body: "), found.body[:100]
    assert process.pid == pid, "it was stopped by its own limits, not by the end of its process"
    assert (await _body(process, "{{ text }}")).body == "abc"


async def test_what_takes_too_much_memory_is_told_so_and_leaves_room_for_the_next(process: TemplateProcess) -> None:
    found = await _body(process, GREEDY["many wide texts"])
    assert found.problem == "body: takes more memory than a text may"
    assert (await _body(process, "{{ text }}")).body == "abc"


async def test_values_are_escaped_in_html_alone(process: TemplateProcess) -> None:
    found = await _body(
        process, "{{ map.markup }}", "<i>{{ map.markup }} {{ '<' ~ map.markup }} {{ maps|join('<', 'name') }}</i>"
    )
    assert found.body == "<b>&"
    assert found.html == "<i>&lt;b&gt;&amp; &lt;&lt;b&gt;&amp; b&lt;a</i>"


async def test_what_a_message_needs_is_there(process: TemplateProcess) -> None:
    text = """\
{% for each in maps|sort(attribute='name') if each.at > 0 %}
{{ loop.index }}/{{ loop.length }} {{ each.name|upper }}{% if not loop.last %};{% endif %}

{% endfor %}
{% set sum = maps|sum('at') %}
{{ sum }} {{ 7 // 2 + 0.5 }} {{ 'x' if nothing is none else 'y' }} {{ nothing|default('–', true) }} {{ map['field'][:3] }}
{% with a = text ~ '-' ~ 1 %}{{ a|replace('-', '+') }}{% endwith %}

{% for key, value in map|dictsort %}{{ key }}={{ value }} {% endfor %}

{% for at, group in maps|groupby('at') %}{{ at }}:{{ group|map(attribute='name')|join }} {% endfor %}

{{ 'b' in ('a', 'b') }} {{ unknown is defined }}
{{ many|length }} {{ maps[-1].name }} {{ many[0] }} {{ text|truncate(2, true, '', 0) }}
"""
    found = await _body(process, text)
    assert not found.problem
    assert found.body.split() == (
        [
            "1/2",
            "A;",
            "2/2",
            "B",
            "3",
            "3.5",
            "x",
            "–",
            "val",
            "abc+1",
            "field=value",
            "markup=<b>&",
            "1:a",
            "2:b",
            "True",
            "False",
            "1000",
            "a",
            "0",
            "ab",
        ]
    )


async def test_a_subject_is_one_line_of_at_most_a_thousand_characters(process: TemplateProcess) -> None:
    requests = [RenderRequest(TemplateSource(subject, "b"), VALUES) for subject in ("{{ many|join }}", "a\nb\x01c")]
    long, broken = await process.render(requests)
    assert long.problem == "subject: is longer than 1,000 characters"
    assert broken.subject == "a b c"


async def test_output_is_counted_in_bytes(process: TemplateProcess) -> None:
    text = "{% for a in many %}" + "{}" + "{% endfor %}"
    fits, is_too_large = await process.render(
        [RenderRequest(TemplateSource("s", text.replace("{}", sign * 200)), VALUES) for sign in ("a", "ä")]
    )
    assert len(fits.body) == 200_000
    assert is_too_large.problem == "body: becomes larger than 256,000 bytes"


async def test_the_line_of_what_fails_is_told_wherever_it_lies(process: TemplateProcess) -> None:
    found = await _body(process, "a\n{% for each in maps %}\nb\n{{ each.nmae }}\n{% endfor %}")
    assert found.problem == "body: line 4: there is no `nmae` here; did you mean `name`?"
    found = await _body(process, "a", "<p>\n{% if %}</p>")
    assert found.problem.startswith("html: line 2: ")
