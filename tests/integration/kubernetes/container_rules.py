"""What is asked of a Containerfile: rules of which each names the practice that it holds, over the steps as a parser reads them."""

import re
from collections.abc import Iterator, Sequence

Step = tuple[str, str]
LOWEST_USER = 1
SECRET_WORD = re.compile(r"(?i)(password|secret|token|key)\w*=")
EXEC_FORM = re.compile(r'\[\s*"')


def broken_rules(steps: Sequence[Step]) -> list[str]:
    """Each rule that does not hold, with the step that breaks it."""
    return [*_of_stages(steps), *_of_runs(steps), *_of_copies(steps), *_of_the_end(steps)]


def _of_stages(steps: Sequence[Step]) -> Iterator[str]:
    defaults = [value.partition("=")[2] for instruction, value in steps if instruction == "ARG"]
    for image in (value.split()[0] for instruction, value in steps if instruction == "FROM"):
        if not image.startswith("${"):
            yield f"the base image is an argument, so that a mirror's can be named: FROM {image}"
    for image in defaults[:1]:
        if ":" not in image or image.endswith(":latest"):
            yield f"the base image has a tag, and not one that moves as it likes: {image}"
    for instruction, value in steps:
        if instruction in {"ENV", "ARG"} and SECRET_WORD.search(value):
            yield f"no secret is left in a layer: {instruction} {value}"
        if instruction in {"ADD", "MAINTAINER", "ONBUILD"}:
            yield f"{instruction} has a better way: COPY, LABEL or a step of its own"


def _of_runs(steps: Sequence[Step]) -> Iterator[str]:
    shell = ""
    for instruction, value in steps:
        if instruction == "FROM":
            shell = ""
        elif instruction == "SHELL":
            shell = value
        if instruction != "RUN":
            continue
        if "|" in value.replace("||", "") and "pipefail" not in shell:
            yield f"a pipe fails with its first part: {value}"
        if "apt-get install" in value:
            for wanted in ("apt-get update", "--no-install-recommends", " -y ", "rm -rf /var/lib/apt/lists"):
                if wanted not in value:
                    yield f"packages are installed with what belongs to it ({wanted.strip()}): {value}"
        for part in value.split("&&"):
            if "install" in part and " pip " in part and "--require-hashes" not in part and "--no-index" not in part:
                yield f"nothing is installed that is not locked by its hash: {part.strip()}"
        if re.search(r"\b(sudo|curl|wget)\b", value):
            yield f"nothing is fetched past the locks, nor as somebody else: {value}"
        if re.search(r"(^|&&|;)\s*cd\s", value):
            yield f"where a step runs is WORKDIR's to say: {value}"


def _of_copies(steps: Sequence[Step]) -> Iterator[str]:
    names = {value.split()[-1] for instruction, value in steps if instruction == "FROM" and " AS " in value}
    for instruction, value in steps:
        if instruction == "COPY" and (stage := re.search(r"--from=(\S+)", value)) and stage[1] not in names:
            yield f"a stage is copied from by a name that there is: COPY {value}"
        if instruction == "COPY" and value.split()[0] == ".":
            yield f"what is copied is named, so that nothing else comes along: COPY {value}"
        if instruction == "WORKDIR" and not value.startswith("/"):
            yield f"WORKDIR is absolute: {value}"


def _of_the_end(steps: Sequence[Step]) -> Iterator[str]:
    last = max(at for at, (instruction, _) in enumerate(steps) if instruction == "FROM")
    users = [value for instruction, value in steps[last:] if instruction == "USER"]
    if not users or not all(part.isdecimal() and int(part) >= LOWEST_USER for part in users[-1].split(":")):
        yield f"it runs as a user by number who is not root: USER {users[-1:] or 'is missing'}"
    for instruction in ("ENTRYPOINT", "CMD"):
        found = [value for each, value in steps[last:] if each == instruction]
        if len(found) != 1 or not EXEC_FORM.match(found[0]):
            yield f"{instruction} is there once, in exec form, so that signals reach the program: {found}"
