"""What whoever writes to a repository may say freely, as it is shown to people: it steers no terminal and spoils no report."""

from pymigrate.engine.domain.literal_secrets import secret_in
from pymigrate.v1 import definition_pb2

LINE_CHARACTERS_MAX = 300


def readable(text: str) -> str:
    """The text with an escape in the place of each character that nobody sees, line ends and tabs aside."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )


def readable_line(text: str) -> str:
    """The same as one short line, without any secret."""
    begun = text[:LINE_CHARACTERS_MAX]
    if noun := secret_in(begun):
        return f"(it holds what looks like {noun})"
    shown = readable(begun).replace("\n", " ").replace("\t", " ")
    return f"{shown}…" if len(text) > LINE_CHARACTERS_MAX else shown


def readable_problem(problem: definition_pb2.DefinitionProblem) -> definition_pb2.DefinitionProblem:
    """A problem that quotes what a file says."""
    if all(text.isprintable() for text in (problem.description, problem.path, problem.name)):
        return problem
    shown = definition_pb2.DefinitionProblem()
    shown.CopyFrom(problem)
    shown.description, shown.path, shown.name = map(readable, (problem.description, problem.path, problem.name))
    return shown
