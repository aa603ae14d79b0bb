"""What a template may say. The language is Jinja2's, cut down to what a message needs: values of plain data, conditions, loops of at most
1,000 turns, filters and tests of a list. Nothing can be called, no attribute is reached but the keys of maps, and nothing grows
without a bound; whatever else is asked for is refused with its line, most of it before anything runs.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.runtime import LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

LOOP_TURNS_MAX = 1_000
OUTPUT_BYTES_MAX = 256_000
# So many take a good part of the second to compile that a text may take.
NODES_MAX = 5_000
DEPTH_MAX = 60
INTEGER_BITS_MAX = 128
KEYS_TOLD_MAX = 20
BOUNDED, JOINED = "bounded_loop", "joined_text"
LOOP_FIELDS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth"})
RESERVED = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_PLAIN = frozenset({str, int, float, bool, Markup})
_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.With, nodes.Assign, nodes.Name, nodes.Const,
    nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Getitem, nodes.Getattr,
    nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Add, nodes.Sub, nodes.Mod,
    nodes.Not, nodes.Neg, nodes.Pos, nodes.And, nodes.Or,
)  # fmt: skip
_REFUSED = {
    nodes.Call: "nothing can be called here: write a filter, as in `value|filter`",
    nodes.Pow: "powers are not available",
    nodes.Macro: "macros are not available",
    nodes.CallBlock: "macros are not available",
    nodes.Block: "blocks are not available: a text stands by itself",
    nodes.Extends: "a text stands by itself: nothing can be extended",
    nodes.Include: "a text stands by itself: nothing can be included",
    nodes.Import: "a text stands by itself: nothing can be imported",
    nodes.FromImport: "a text stands by itself: nothing can be imported",
    nodes.AssignBlock: "`set` takes a value here: write `{% set name = value %}`",
    nodes.FilterBlock: "filters apply to values, not to blocks: write `{{ value|filter }}`",
    nodes.NSRef: "fields can't be set",
}


class Named(StrictUndefined):
    """What a template names and the data does not have; any use of it fails and says so."""

    @property
    def _undefined_message(self) -> str:
        return self._undefined_hint or f"there is no `{self._undefined_name}` here"


class Sandbox(ImmutableSandboxedEnvironment):
    """Compiles and runs what is allowed. `is_html`: values are escaped."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, filters: Mapping[str, Any], tests: Mapping[str, Any], *, is_html: bool) -> None:
        super().__init__(
            undefined=Named,
            autoescape=is_html,
            finalize=shown,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            cache_size=0,
        )
        self.globals.clear()
        self.filters = {**filters, BOUNDED: _bounded, JOINED: _joined_html if is_html else _joined}
        self.tests = dict(tests)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _check(tree, self)
        _mend(tree)
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field of a map; of a loop, where it stands."""
        if type(obj) is dict:
            if attribute in obj:
                return obj[attribute]
            return self.undefined(_no_key(attribute, obj), name=attribute)
        if type(obj) is LoopContext and attribute in LOOP_FIELDS:
            return getattr(obj, attribute)
        return _no_fields(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A field of a map, or a place in a list."""
        if type(obj) is dict:
            return self.getattr(obj, argument) if isinstance(argument, str) else _no_fields(obj, argument)
        if isinstance(obj, list | tuple) and isinstance(argument, int):
            if -len(obj) <= argument < len(obj):
                return obj[argument]
            return self.undefined(f"there is no place {argument} in a list of {len(obj)}", name=str(argument))
        return _no_fields(obj, argument)

    def call(self, _context: Any, _obj: Any, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuses: what compiles calls nothing."""
        raise SecurityError(_REFUSED[nodes.Call])

    def call_binop(self, _context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic with numbers, and texts put together."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return bounded_text(left + right) if len(left) + len(right) <= OUTPUT_BYTES_MAX else too_long()
        for side in (left, right):
            if isinstance(side, Undefined):
                str(side)
            if not isinstance(side, int | float):
                raise SecurityError(f"`{operator}` takes numbers, not {_word(side)}: put texts together with `~`")
            if isinstance(side, int) and side.bit_length() > INTEGER_BITS_MAX:
                raise SecurityError(f"`{operator}` is asked of a number with more than {INTEGER_BITS_MAX} bits")
        if operator == "**":
            raise SecurityError(_REFUSED[nodes.Pow])
        return self.binop_table[operator](left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """None is: see `getattr`."""
        return False

    def is_safe_callable(self, obj: Any) -> bool:
        """None is."""
        return False


def shown(value: Any) -> Any:
    """What is written of a value: texts, numbers and booleans. Raises for anything else, since it would leave a hole, or show what nobody
    should read."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Undefined):
        return str(value)  # which says what is missing
    if value is None:
        raise UndefinedError("the value is empty here: ask with `{% if … %}` first, or write `|default('…', true)`")
    raise SecurityError(f"{_word(value)} can't be written: name one of its fields, or join it")


def bounded_text(text: str) -> str:
    """The text, where it is not too long."""
    return text if len(text) <= OUTPUT_BYTES_MAX else too_long()


def too_long() -> NoReturn:
    """Raises for what has become too long."""
    raise SecurityError(f"a text became longer than {OUTPUT_BYTES_MAX:,} characters")


def _check(tree: nodes.Template, environment: Sandbox) -> None:
    """Raises TemplateSyntaxError for the first thing that a message may not say."""
    seen = 0
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if seen > NODES_MAX or depth > DEPTH_MAX:
            raise TemplateSyntaxError("it is too large: say less, or nest less deeply", node.lineno or 1)
        if problem := _problem(node, environment):
            raise TemplateSyntaxError(problem, node.lineno or 1)
        waiting.extend((child, depth + 1) for child in reversed(list(node.iter_child_nodes())))


def _problem(node: nodes.Node, environment: Sandbox) -> str:
    if not isinstance(node, _ALLOWED):
        return _REFUSED.get(type(node), f"`{type(node).__name__.lower()}` is not available")
    match node:
        case nodes.For() if node.recursive:
            return "loops can't call themselves"
        case nodes.Name() if node.name in RESERVED:
            return f"there is no `{node.name}` here"
        case nodes.Filter() if node.name in (BOUNDED, JOINED) or node.name not in environment.filters:
            return f"there is no filter `{node.name}`{_nearest(node.name, environment.filters)}"
        case nodes.Test() if node.name not in environment.tests:
            return f"there is no test `{node.name}`{_nearest(node.name, environment.tests)}"
        case nodes.Filter() | nodes.Test() if node.dyn_args is not None or node.dyn_kwargs is not None:
            return "arguments are written out: there is no `*` for them"
        case nodes.Tuple() if node.ctx != "load":
            return ""
        case nodes.List() | nodes.Tuple() if not all(isinstance(item, nodes.Const) for item in node.items):
            return "a list that is written out holds texts and numbers only"
        case nodes.Dict() if not all(
            isinstance(pair.key, nodes.Const) and isinstance(pair.value, nodes.Const) for pair in node.items
        ):
            return "a map that is written out holds texts and numbers only"
    return ""


def _mend(tree: nodes.Template) -> None:
    """Puts the bounds in: of loops, and of texts that are put together."""
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = _filter(loop.iter, BOUNDED, loop.lineno)
    for parent in [tree, *tree.find_all(nodes.Node)]:
        for field in parent.fields:
            value = getattr(parent, field)
            if isinstance(value, nodes.Concat):
                setattr(parent, field, _joining(value))
            elif isinstance(value, list):
                value[:] = [_joining(item) if isinstance(item, nodes.Concat) else item for item in value]
    tree.set_environment(tree.environment)  # type: ignore[arg-type]  # it was parsed with one


def _joining(concat: nodes.Concat) -> nodes.Filter:
    return _filter(nodes.List(concat.nodes, lineno=concat.lineno), JOINED, concat.lineno)


def _filter(value: nodes.Node, name: str, line: int) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=line)


def _bounded(value: Any) -> list[Any]:
    """What a loop goes through."""
    if isinstance(value, Undefined):
        str(value)
    if value is None or not isinstance(value, Iterable):
        raise SecurityError(f"a loop goes through a list, not {_word(value)}")
    found = list(islice(value, LOOP_TURNS_MAX + 1))
    if len(found) > LOOP_TURNS_MAX:
        raise SecurityError(f"a loop has at most {LOOP_TURNS_MAX:,} turns")
    return found


def _joined(parts: list[Any]) -> str:
    texts = [str(shown(part)) for part in parts]
    return "".join(texts) if sum(map(len, texts)) <= OUTPUT_BYTES_MAX else too_long()


def _joined_html(parts: list[Any]) -> str:
    shown_parts = [shown(part) for part in parts]
    if not any(hasattr(part, "__html__") for part in shown_parts):
        return _joined(shown_parts)
    return bounded_text(Markup("").join(shown_parts))


def _no_key(key: str, known: Mapping[str, Any]) -> str:
    return f"there is no `{key}` here{_nearest(key, known)}"


def _no_fields(obj: Any, name: Any) -> NoReturn:
    if isinstance(obj, Undefined):
        str(obj)
    if obj is None:
        raise UndefinedError(f"`{name}` is asked of something that is empty here: ask with `{{% if … %}}` first")
    raise SecurityError(f"`{name}` is asked of {_word(obj)}, which has no fields")


def _nearest(word: str, known: Iterable[str]) -> str:
    names = sorted(name for name in known if name not in (BOUNDED, JOINED))
    if close := difflib.get_close_matches(str(word)[:100], names, n=1):
        return f"; did you mean `{close[0]}`?"
    return f"; there are {', '.join(names[:KEYS_TOLD_MAX])}" if names else ""


def _word(value: Any) -> str:
    words: Iterator[str] = (
        word
        for kind, word in (
            (bool, "a yes or no"),
            (str, "a text"),
            (int | float, "a number"),
            (dict, "a map"),
            (list | tuple, "a list"),
            (type(None), "nothing"),
        )
        if isinstance(value, kind)
    )
    return next(words, "something of the program's own")
