"""Files as documents: bounded bytes to plain data with the line of each, and everything that is wrong with a file."""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import islice

from pymigrate.engine.application.gitops.building import Builder, Document, Node, Trouble, Unreadable
from pymigrate.engine.application.gitops.definition import Place
from pymigrate.engine.application.gitops.json_events import take_json
from pymigrate.engine.application.gitops.limits import FILE_BYTES_MAX, PROBLEMS_OF_FILE_MAX
from pymigrate.engine.application.gitops.yaml_events import take_yaml

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CONFLICT = re.compile(rb"^(?:<{7}|>{7}|\|{7}|={7})(?=[ \r\n]|$)", re.MULTILINE)
_JSON_SUFFIX = ".json"
_STEP_END = re.compile(r"[.\[]")


class Documents:
    """The documents of one file, what is wrong with it, and how many events it took."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path = path
        self._content = content
        self.documents: Sequence[Document] = ()
        self.troubles: Sequence[Trouble] = ()
        self.events = 0
        self._read()

    def find(self, number: int, *paths: str) -> Place:
        """Where a field of a document stands: the first of the paths that leads anywhere, or the nearest above it. The file is read once
        more at the first question."""
        root = self._roots.get(number)
        if root is None:
            return Place(0, 0)
        found = [_descend(root, path) for path in paths]
        return max(found, key=lambda each: each[0])[1].place if found else root.place

    @cached_property
    def _roots(self) -> dict[int, Node]:
        builder = self._built(keeps_places=True)
        return {document.number: document.root for document in builder.documents if document.root is not None}

    def _read(self) -> None:
        if trouble := _of_bytes(self._content):
            self.troubles = trouble
            return
        builder = self._built()
        self.documents, self.troubles, self.events = builder.documents, builder.troubles, builder.count

    def _built(self, *, keeps_places: bool = False) -> Builder:
        builder = Builder(keeps_places=keeps_places)
        text = self._content.removeprefix(_BYTE_ORDER_MARK).decode()
        take = take_json if self._path.lower().endswith(_JSON_SUFFIX) else take_yaml
        try:
            take(text, builder)
        except Unreadable as error:
            builder.troubles.append(error.trouble)
        return builder


def _of_bytes(content: bytes) -> list[Trouble]:
    """What is wrong with a file before any of it is parsed."""
    if len(content) > FILE_BYTES_MAX:
        return [
            Trouble(
                "file", 0, 0, f"has more than {FILE_BYTES_MAX:,} bytes, which is the most that is read: split the file"
            )
        ]
    if content.startswith(_OTHER_MARKS):
        return [Trouble("file", 0, 0, "is not YAML: it is UTF-16; save it as UTF-8")]
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line, column = _place(content, error.start)
        return [Trouble("file", line, column, "is not YAML: it is not UTF-8; save it as UTF-8")]
    if (at := content.find(b"\0")) >= 0:
        return [Trouble("file", *_place(content, at), "holds a NUL character: it is no text")]
    return [
        Trouble(
            "yaml",
            *_place(content, found.start()),
            f"a conflict marker `{found[0].decode()}` of a merge: solve the conflict, and commit the result",
        )
        for found in _conflicts(content)
    ]


def _conflicts(content: bytes) -> list[re.Match[bytes]]:
    """Marks of a merge that was not finished. A line of seven `=` alone may be anything."""
    found = list(islice(_CONFLICT.finditer(content), PROBLEMS_OF_FILE_MAX))
    return found if any(each[0][:1] in b"<>" for each in found) else []


def _place(content: bytes, at: int) -> tuple[int, int]:
    start = content.rfind(b"\n", 0, at) + 1
    return content.count(b"\n", 0, at) + 1, len(content[start:at].decode(errors="replace")) + 1


def _descend(node: Node, path: str) -> tuple[int, Node]:
    """How many steps of a path lead from a node, and to where. Keys may be spelled either way, and may have dots in them."""
    steps, rest = 0, path
    while rest:
        step = _item(node, rest) or _field(node, rest)
        if step is None:
            break
        node, rest = step
        steps += 1
    return steps, node


def _item(node: Node, path: str) -> tuple[Node, str] | None:
    found = re.match(r"\[(\d{1,9})\]|(\d{1,9})(?=[.\[]|$)", path)
    if found is None or int(found[1] or found[2]) >= len(node.items):
        return None
    return node.items[int(found[1] or found[2])], path[found.end() :].removeprefix(".")


def _field(node: Node, path: str) -> tuple[Node, str] | None:
    """The longest beginning of a path that is a key."""
    ends = [found.start() for found in _STEP_END.finditer(path)] + [len(path)]
    for end in reversed(ends):
        if end and (below := node.fields.get(path[:end])) is not None:
            return below, path[end:].removeprefix(".")
    for end in reversed(ends):
        if end and (below := _spelled(node).get(path[:end])) is not None:
            return below, path[end:].removeprefix(".")
    return None


def _spelled(node: Node) -> dict[str, Node]:
    if node.spelled is None:
        node.spelled = {_snake(key): below for key, below in node.fields.items()}
    return node.spelled


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
