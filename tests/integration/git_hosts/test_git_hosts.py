"""What hosts are told, against stand-ins of their APIs that hold every request against the recorded shapes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.git_hosts.hosts import HttpGitHosts
from pymigrate.engine.domain.errors import GitHostRefused, GitHostUnavailable
from pymigrate.engine.ports.git_hosts import CommitStatus, HostAccount, StatusState
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.testing.clock import START, ManualClock
from tests.git_hosts.bitbucket import BitbucketServer
from tests.git_hosts.github import GitHubServer
from tests.git_hosts.gitlab import GitLabServer
from tests.git_hosts.server import Answer
from tests.letters import LOOPBACK, usual_trust

SHA = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
MARKER = "<!-- pymigrate:warehouse -->"
SAID = CommitStatus(SHA, "pymigrate/warehouse", StatusState.SUCCESS, "12 changed, 0 problems")


@dataclass(frozen=True)
class Way:
    """A host's stand-in, and what a test wants to know of it."""

    provider: str
    repository: str
    server: Any
    told: Callable[[], tuple[str, str]]
    comments: Callable[[], list[str]]
    add: Callable[..., int]
    states: dict[StatusState, str]

    @property
    def account(self) -> HostAccount:
        return HostAccount(self.provider, self.server.url, self.repository, Secret(self.server.token))


def github() -> Way:
    server = GitHubServer()

    def told() -> tuple[str, str]:
        newest = server.statuses[SHA][-1]
        assert newest["context"] == SAID.context
        return newest["state"], newest["description"]

    return Way(
        "github",
        "acme/definitions",
        server,
        told,
        lambda: [each["body"] for each in server.comments.get(7, [])],
        lambda body, **how: server.add_comment(7, body, **how),
        {state: state.value for state in StatusState},
    )


def gitlab() -> Way:
    server = GitLabServer()

    def told() -> tuple[str, str]:
        newest = server.statuses[SHA][-1]
        assert newest["name"] == SAID.context
        return newest["status"], newest["description"]

    return Way(
        "gitlab",
        "acme/data/definitions",
        server,
        told,
        lambda: [each["body"] for each in server.notes.get(7, [])],
        lambda body, **how: server.add_note(7, body, **how),
        {
            StatusState.PENDING: "pending",
            StatusState.SUCCESS: "success",
            StatusState.FAILURE: "failed",
            StatusState.ERROR: "failed",
        },
    )


def bitbucket() -> Way:
    server = BitbucketServer()

    def told() -> tuple[str, str]:
        newest = server.statuses[SHA]["pymigrate-warehouse"]
        assert newest["name"] == SAID.context
        return newest["state"], newest["description"]

    return Way(
        "bitbucket",
        "acme/definitions",
        server,
        told,
        lambda: [each["content"]["raw"] for each in server.comments.get(7, [])],
        lambda body, **how: server.add_comment(7, body, **how),
        {
            StatusState.PENDING: "INPROGRESS",
            StatusState.SUCCESS: "SUCCESSFUL",
            StatusState.FAILURE: "FAILED",
            StatusState.ERROR: "FAILED",
        },
    )


@pytest.fixture(params=[github, gitlab, bitbucket], ids=lambda made: made.__name__)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    made: Way = request.param()
    made.server.commits.add(SHA)
    yield made
    made.server.close()


@pytest.fixture
async def hosts() -> AsyncIterator[HttpGitHosts]:
    made = HttpGitHosts(LOOPBACK, usual_trust(), ManualClock())
    yield made
    await made.close()


def posts(way: Way) -> list[str]:
    """How often something was made or changed."""
    return [call.method for call in way.server.calls if call.method != "GET"]


@pytest.mark.parametrize("state", list(StatusState))
async def test_a_status_is_set_in_the_hosts_own_words(way: Way, hosts: HttpGitHosts, state: StatusState) -> None:
    await hosts.tell_commit(way.account, replace(SAID, state=state))
    assert way.told() == (way.states[state], SAID.description)
    assert way.server.violations == []


async def test_the_same_status_is_not_set_again(way: Way, hosts: HttpGitHosts) -> None:
    await hosts.tell_commit(way.account, SAID)
    await hosts.tell_commit(way.account, SAID)
    assert posts(way) == ["POST"]


async def test_another_state_takes_the_place_of_the_one_before(way: Way, hosts: HttpGitHosts) -> None:
    await hosts.tell_commit(way.account, replace(SAID, state=StatusState.PENDING, description="reading"))
    await hosts.tell_commit(way.account, replace(SAID, state=StatusState.PENDING, description="applying"))
    await hosts.tell_commit(way.account, SAID)
    assert way.told() == (way.states[StatusState.SUCCESS], SAID.description)
    assert way.server.violations == []


async def test_a_long_description_is_cut_to_what_the_host_takes(way: Way, hosts: HttpGitHosts) -> None:
    await hosts.tell_commit(way.account, replace(SAID, description="line\n" * 200))
    _, description = way.told()
    assert description.startswith("line line")
    assert description.endswith("…")
    assert way.server.violations == []


async def test_a_long_context_is_taken_by_every_host(way: Way, hosts: HttpGitHosts) -> None:
    await hosts.tell_commit(way.account, replace(SAID, context=f"pymigrate/{'w' * 63}"))
    assert posts(way) == ["POST"]
    assert way.server.violations == []


async def test_a_comment_is_made_once_and_then_changed(way: Way, hosts: HttpGitHosts) -> None:
    way.add("Looks good.")
    await hosts.tell_pull_request(way.account, 7, MARKER, "2 would change")
    await hosts.tell_pull_request(way.account, 7, MARKER, "2 would change")
    await hosts.tell_pull_request(way.account, 7, MARKER, "3 would change")
    others, ours = way.comments()
    assert others == "Looks good."
    assert "pymigrate:warehouse" in ours
    assert ours.endswith("3 would change")
    assert len(posts(way)) == 2
    assert way.server.violations == []


async def test_each_source_has_a_comment_of_its_own(way: Way, hosts: HttpGitHosts) -> None:
    await hosts.tell_pull_request(way.account, 7, MARKER, "2 would change")
    await hosts.tell_pull_request(way.account, 7, "<!-- pymigrate:other -->", "none would change")
    assert len(way.comments()) == 2


async def test_our_comment_is_found_among_hundreds(way: Way, hosts: HttpGitHosts) -> None:
    await hosts.tell_pull_request(way.account, 7, MARKER, "2 would change")
    for _ in range(250):
        way.add("Another word.")
    await hosts.tell_pull_request(way.account, 7, MARKER, "3 would change")
    ours = [each for each in way.comments() if "pymigrate:warehouse" in each]
    assert [each.rpartition("\n")[2] for each in ours] == ["3 would change"]


async def test_a_comment_of_somebody_who_copied_the_marker_stays_as_it_is(way: Way, hosts: HttpGitHosts) -> None:
    await hosts.tell_pull_request(way.account, 7, MARKER, "2 would change")
    copied = way.comments()[0].replace("2 would", "nothing would")
    way.add(copied, is_others=True)
    await hosts.tell_pull_request(way.account, 7, MARKER, "3 would change")
    assert way.comments()[1] == copied
    assert way.comments()[0].endswith("3 would change")
    assert len(way.comments()) == 2


async def test_a_wrong_token_is_refused_with_what_to_do_and_never_shown(way: Way, hosts: HttpGitHosts) -> None:
    account = replace(way.account, token=Secret("hunter2-of-nobody"))
    way.server.faults.append(Answer(401, {"message": "hunter2-of-nobody is not known"}))
    for _ in range(2):
        with pytest.raises(
            GitHostRefused, match=r"401 .*make a new one, and put it where `host\.token` leads"
        ) as refused:
            await hosts.tell_commit(account, SAID)
        assert "hunter2" not in str(refused.value)


async def test_an_unknown_repository_is_refused_by_its_name(way: Way, hosts: HttpGitHosts) -> None:
    with pytest.raises(GitHostRefused, match=r"404 .*is `host\.repository` acme/none"):
        await hosts.tell_commit(replace(way.account, repository="acme/none"), SAID)


async def test_an_unknown_commit_is_refused(way: Way, hosts: HttpGitHosts) -> None:
    with pytest.raises(GitHostRefused, match=r"404|422"):
        await hosts.tell_commit(way.account, replace(SAID, commit="0" * 39 + "1"))


@pytest.mark.parametrize("repository", ["acme", "acme/..", "../acme", "acme//name", "/acme"])
async def test_what_would_lead_elsewhere_is_no_repository(way: Way, hosts: HttpGitHosts, repository: str) -> None:
    with pytest.raises(GitHostRefused, match=r"is no (repository|project)"):
        await hosts.tell_commit(replace(way.account, repository=repository), SAID)
    assert way.server.calls == []


SOON = str(int(START.timestamp()) + 90)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param(Answer(429, headers={"retry-after": "7"}), 7.0, id="asked to wait"),
        pytest.param(Answer(429), 60.0, id="too many, and no word of how long"),
        pytest.param(Answer(429, headers={"retry-after": "86400"}), 3600.0, id="a day is too long"),
        pytest.param(
            Answer(403, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": SOON}),
            90.0,
            id="GitHub's primary limit",
        ),
        pytest.param(
            Answer(403, {"message": "You have exceeded a secondary rate limit."}, {"retry-after": "30"}),
            30.0,
            id="GitHub's secondary limit",
        ),
        pytest.param(
            Answer(403, {"message": "You have exceeded a secondary rate limit."}), 60.0, id="a limit without a word"
        ),
        pytest.param(
            Answer(429, headers={"ratelimit-remaining": "0", "ratelimit-reset": SOON}), 90.0, id="GitLab's limit"
        ),
        pytest.param(Answer(500), 5.0, id="an error of the host's"),
        pytest.param(Answer(503, headers={"retry-after": "20"}), 20.0, id="under maintenance"),
        pytest.param(Answer(409), 5.0, id="somebody else writes"),
    ],
)
async def test_a_host_that_asks_for_patience_says_how_long(
    way: Way, hosts: HttpGitHosts, fault: Answer, seconds: float
) -> None:
    way.server.faults.append(fault)
    with pytest.raises(GitHostUnavailable) as away:
        await hosts.tell_commit(way.account, SAID)
    assert away.value.retry_after_seconds == pytest.approx(seconds)


async def test_a_refusal_that_is_no_limit_asks_for_no_patience(way: Way, hosts: HttpGitHosts) -> None:
    way.server.faults.append(Answer(403, {"message": "Resource not accessible by personal access token"}))
    with pytest.raises(GitHostRefused, match=r"403 .*may the token write statuses"):
        await hosts.tell_commit(way.account, SAID)


async def test_a_redirect_is_not_followed(way: Way, hosts: HttpGitHosts) -> None:
    way.server.faults.append(Answer(301, headers={"location": f"{way.server.url}/elsewhere"}))
    with pytest.raises(GitHostRefused, match="redirects are not followed"):
        await hosts.tell_commit(way.account, SAID)
    assert len(way.server.calls) == 1


async def test_what_answers_no_json_is_no_api(way: Way, hosts: HttpGitHosts) -> None:
    way.server.faults.append(Answer(200, "a page"))
    with pytest.raises(GitHostRefused, match="with no list"):
        await hosts.tell_pull_request(way.account, 7, MARKER, "text")


async def test_a_host_that_is_away_is_told_later(way: Way, hosts: HttpGitHosts) -> None:
    account = way.account
    way.server.close()
    with pytest.raises(GitHostUnavailable, match="ConnectError"):
        await hosts.tell_commit(account, SAID)


async def test_whoever_is_cancelled_leaves_nothing_behind(way: Way, hosts: HttpGitHosts) -> None:
    go_on = threading.Event()
    way.server.faults.append(Answer(200, [], hangs_until=go_on))
    telling = asyncio.ensure_future(hosts.tell_commit(way.account, SAID))
    await asyncio.to_thread(way.server.wait_for, lambda: len(way.server.calls) == 1)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    go_on.set()
    await hosts.tell_commit(way.account, SAID)
    assert way.told()[1] == SAID.description


async def test_the_machine_itself_is_reached_only_where_that_is_allowed(way: Way) -> None:
    guarded = HttpGitHosts(OutgoingAddresses(), usual_trust(), ManualClock())
    with pytest.raises(GitHostRefused, match=r"this machine itself.*PYMIGRATE_OUTGOING_ALLOWED"):
        await guarded.tell_commit(way.account, SAID)
    assert way.server.calls == []
    await guarded.close()
