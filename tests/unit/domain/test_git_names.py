"""What a repository's url, a reference, a path and an author may be."""

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pymigrate.engine.domain.git_names import (
    author_problem,
    branch_problem,
    commit_problem,
    path_problem,
    scheme_of,
    url_problem,
)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("https://git.example.com/team/definitions.git", "https"),
        ("https://git.example.com:8443/team/definitions", "https"),
        ("https://[2001:db8::1]/team/definitions", "https"),
        ("http://127.0.0.1:8080/definitions.git", "http"),
        ("http://localhost/definitions.git", "http"),
        ("http://[::1]:80/definitions.git", "http"),
        ("ssh://git@git.example.com:2222/team/definitions.git", "ssh"),
        ("ssh://git.example.com/~team/definitions.git", "ssh"),
        ("git@git.example.com:team/definitions.git", "ssh"),
        ("git@[2001:db8::1]:/srv/definitions.git", "ssh"),
    ],
)
def test_urls_of_repositories_are_taken(url: str, scheme: str) -> None:
    assert (url_problem(url), scheme_of(url)) == ("", scheme)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is required"),
        ("http://git.example.com/x", "must be https"),
        ("http://127.0.0.1.evil.example/x", "must be https"),
        ("git://git.example.com/x", "not fetched from"),
        ("file:///srv/x", "not fetched from"),
        ("ext::sh -c touch% /tmp/x", "printable ASCII"),
        ("ext::sh", "is no url"),
        ("ext::a@b:c", "is no url"),
        ("/srv/x", "is no url"),
        ("./x", "is no url"),
        ("host:path", "is no url"),
        ("--upload-pack=touch", "can't begin with `-`"),
        ("-a@b:c", "can't begin with `-`"),
        ("ssh://-oProxyCommand=x/y", "names no host"),
        ("ssh://git@-oProxyCommand/y", "names no host"),
        ("ssh://-x@host/y", "has a user"),
        ("git@-oProxyCommand:x", "is no url"),
        ("git@host:-x", "begins with `-`"),
        ("git@host:a/../b", "`..`"),
        ("https://host/a/../b", "names no repository"),
        ("https://host/a/%2e%2e/b", "names no repository"),
        ("https://user:hunter2@host/x", "no password"),
        ("https://ghp_abc@host/x", "no user and no token"),
        ("ssh://git:hunter2@host/x", "no password"),
        ("https://host/x?a=b", "`?` or `#`"),
        ("https://host/x#y", "`?` or `#`"),
        ("https://host", "names no repository"),
        ("https://host:99999/x", "is no url"),
        ("https://host/x%0a", "printable ASCII"),
        ("https://host/x\n", "printable ASCII"),
        ("https://ho\u0455t/x", "printable ASCII"),
        ("https://" + "h" * 2_000 + "/x", "at most 2,000"),
    ],
)
def test_other_urls_are_refused_without_being_repeated(url: str, said: str) -> None:
    found = url_problem(url)
    assert said in found
    assert "hunter2" not in found


@pytest.mark.parametrize("name", ["main", "feature/orders-2", "v1.2.3", "release_7", "ü", "a@b", "x/-y"])
def test_names_of_branches_are_taken(name: str) -> None:
    assert branch_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *("", "-x", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a\nb", "a\x7f"),
        *("/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "@", "a@{1}", "a\u2028b", "x" * 251),
    ],
)
def test_other_names_of_branches_are_refused(name: str) -> None:
    assert branch_problem(name) != ""


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12))
@example("a.lock")
@example("@")
def test_no_name_is_taken_that_git_refuses(name: str) -> None:
    if branch_problem(name) == "":
        asked = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True, check=False)
        assert asked.returncode == 0, name


def test_a_commit_is_written_with_all_its_digits() -> None:
    assert commit_problem("a" * 40) == commit_problem("0" * 64) == ""
    for other in ("", "a" * 39, "A" * 40, "g" * 40, "a" * 41, "a" * 40 + "\n"):
        assert "all 40 (or 64)" in commit_problem(other)


@pytest.mark.parametrize("path", ["deploy", "deploy/prod", "a b/ü", "a/-b", "..a", ".github/x"])
def test_paths_within_a_repository_are_taken(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize(
    "path",
    ["/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "-a", "a\\b", "a\nb", "a\0", ".git", "a/.GIT/b", "x" * 1_001],
)
def test_other_paths_are_refused(path: str) -> None:
    assert path_problem(path) != ""


def test_an_author_has_a_name_and_an_address() -> None:
    assert author_problem("Release Bot <release@example.com>") == ""
    for other in ("", "Ada", "<a@b>", "Ada <a>", "Ada <a@b> x", "A\nda <a@b>", "Ada <a@b>\n", "A<b <a@b>"):
        assert "must be written as" in author_problem(other)
