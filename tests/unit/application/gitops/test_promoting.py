"""Promotion from one source to the next, in the three layouts of a repository: what is pushed, and every reason against it."""

from dataclasses import dataclass, field

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.pass_outcomes import Outcome, Wish
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, NotPermitted
from pymigrate.engine.testing.hosts import ScriptedHost
from pymigrate.v1 import git_source_pb2, plan_pb2, run_pb2
from tests.unit.application.gitops.reversed_source import Reversed, Targets, plan
from tests.unit.application.gitops.sourced import SYSTEMS, URL, department
from tests.unit.application.test_runs import answered

ANN, ME = Caller("ann"), Caller("me")
STAGING, PROD = "gitSources/staging", "gitSources/prod"
BRANCH, COMMIT = git_source_pb2.PROMOTION_DELIVERY_BRANCH, git_source_pb2.PROMOTION_DELIVERY_COMMIT


def environment(name: str, policy: str = "{}") -> str:
    return f"apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {{name: {name}}}\nspec: {{policy: {policy}}}\n"


@dataclass
class Promoted(Reversed):
    """Two sources of one repository, staging and prod, and a host for the runs of staging."""

    layout: str = "pin"
    hosts: dict[str, ScriptedHost] = field(default_factory=dict)
    targets: Targets = field(default_factory=Targets)

    async def lay(self, delivery: int = COMMIT, **more: object) -> str:
        """Declares both and applies the first commit in staging; the commit."""
        files = {"systems.yaml": SYSTEMS, "d.yaml": department("sales")}
        match self.layout:
            case "pin":
                sha = self.push({**files, "p.yaml": plan("A"), "envs.yaml": envs()}, "Begin")
                places = ({"branch": "main"}, {"branch": "main"})
                more = {"pin_file": "pins/prod", **more}
            case "branch":
                first = self.push({**files, "envs.yaml": envs()}, "Lay out", branch="prod")
                self.hosted.branches["staging"] = first
                sha = self.push({"p.yaml": plan("A")}, "Begin", branch="staging")
                places = ({"branch": "staging"}, {"branch": "prod"})
            case _:
                base = {f"{each}/{path}": text for each in ("staging", "prod") for path, text in files.items()}
                own = {f"{each}/envs.yaml": environment(each) for each in ("staging", "prod")}
                sha = self.push({**base, **own, "staging/plans/p.yaml": plan("A")}, "Begin")
                places = ({"branch": "main", "path": "staging"}, {"branch": "main", "path": "prod"})
        promotion = git_source_pb2.GitPromotion(promoted_from="staging", delivery=delivery, **more)  # type: ignore[arg-type]  # the test's choice
        for name, place in zip(("staging", "prod"), places, strict=True):
            source = git_source_pb2.GitSource(url=URL, environment=name, **place)  # type: ignore[arg-type]  # texts
            if name == "prod":
                source.promotion.CopyFrom(promotion)
            await self.store.transact(
                lambda unit, name=name, source=source: self.engine.catalog.create(  # type: ignore[misc]  # a unit of work
                    unit, GIT_SOURCES, "", name, source, ME
                )
            )
            host = ScriptedHost(
                self.engine.hosts,
                f"workerHosts/{name}",
                pid=len(self.hosts) + 1,
                affinity=f"file:/warehouse.duckdb@{name}",
                script=self.targets.do,
            )
            await host.register()
            self.hosts[name] = host
        await self.applied(STAGING)
        return sha

    async def applied(self, name: str) -> Outcome:
        """One pass of a source."""
        self.clock.advance(60)
        return await self.parts.passes.run(name, Wish())

    async def run_in(self, environment_name: str, run_id: str = "r1") -> run_pb2.Run:
        """A run of the plan in an environment, to its end."""
        self.clock.advance(1)
        request = run_pb2.StartRunRequest(
            parent=f"environments/{environment_name}/plans/p", run_id=run_id, run=run_pb2.Run(triggers={"id": run_id})
        )
        host = self.hosts[environment_name]
        run = await answered(self.engine, host, request)  # type: ignore[arg-type]  # a host is a host
        await host.work()
        return await self.engine.runs.get(run.name)

    async def promote(
        self, commit: str = "", caller: Caller = ANN, *, is_dry: bool = False
    ) -> git_source_pb2.Promotion:
        """Promotes from staging to prod."""
        request = git_source_pb2.PromoteGitSourceRequest(name=PROD, commit=commit, validate_only=is_dry)
        return await self.sources.promote(request, caller)


def envs() -> str:
    """Both environments in one file: what is not of one's own is skipped."""
    return "---\n".join(environment(each) for each in ("staging", "prod"))


@pytest.fixture(params=["pin", "branch", "folder"])
async def scene(request: pytest.FixtureRequest) -> Promoted:
    return Promoted(layout=request.param)


async def test_what_succeeded_is_pushed_and_applied_with_the_same_declared_hash(scene: Promoted) -> None:
    sha = await scene.lay()
    await scene.run_in("staging")
    answer = await scene.promote()
    assert (answer.promoted_commit, answer.is_unchanged) == (sha, False)
    assert list(answer.runs) == ["environments/staging/plans/p/runs/r1"]
    branch = "prod" if scene.layout == "branch" else "main"
    assert (answer.branch, answer.pushed_commit) == (branch, scene.hosted.branches[branch])
    assert scene.rung[-1] == PROD
    assert (await scene.applied(PROD)).result == "applied"
    assert (await scene.run_in("prod")).state == run_pb2.RUN_STATE_SUCCEEDED
    revisions = {name: (await scene.sources.revisions(name, 0, ""))[0][0] for name in (STAGING, PROD)}
    declared = {name: [each.declared_hash for each in found.plans] for name, found in revisions.items()}
    assert declared[STAGING] == declared[PROD] == [each.declared_hash for each in answer.plans]


async def test_promoting_again_changes_nothing(scene: Promoted) -> None:
    await scene.lay()
    await scene.run_in("staging")
    pushed = (await scene.promote()).pushed_commit
    await scene.applied(PROD)
    await scene.applied(STAGING)
    again = await scene.promote()
    assert again.is_unchanged
    branch = "prod" if scene.layout == "branch" else "main"
    assert scene.hosted.branches[branch] == pushed


async def test_as_a_branch_it_waits_for_a_person_and_asking_again_gives_the_same_answer(scene: Promoted) -> None:
    sha = await scene.lay(BRANCH)
    await scene.run_in("staging")
    before = dict(scene.hosted.branches)
    answer = await scene.promote()
    assert answer.branch == f"promote/prod/{sha[:12]}"
    assert scene.hosted.branches == {**before, answer.branch: answer.pushed_commit}
    assert await scene.promote(caller=ME) == answer
    scene.hosted.branches[answer.branch] = scene.push({"p.yaml": plan("Z"), "prod/plans/p.yaml": plan("Z")}, branch="x")
    if scene.layout != "pin":
        with pytest.raises(FailedPrecondition, match="holds something else already"):
            await scene.promote()


async def test_the_commit_says_from_where_it_comes_by_which_runs_and_who_asked(scene: Promoted) -> None:
    sha = await scene.lay(author="Robot <robot@example.com>")
    await scene.run_in("staging")
    pushed = (await scene.promote()).pushed_commit
    commit, _ = scene.hosted.commits[pushed]
    if scene.layout == "branch":
        assert pushed == sha, "the branch has moved forward to the very commit"
        return
    assert commit.author == "Robot <robot@example.com>"
    assert commit.subject == f"Promote {sha[:12]} from staging to prod"
    for said in (sha, "environments/staging/plans/p/runs/r1", "plan hash ", "declared ", "Asked for by ann."):
        assert said in commit.message
    entries = await scene.store.read(lambda unit: list(unit.audit.list(0, 1_000)))
    assert ("ann", f"promote {sha}") in [(each.actor, each.action) for each in entries if each.subject == PROD]


async def test_a_dry_one_pushes_nothing(scene: Promoted) -> None:
    await scene.lay()
    await scene.run_in("staging")
    before = dict(scene.hosted.branches)
    answer = await scene.promote(is_dry=True)
    assert (answer.pushed_commit, scene.hosted.branches) == ("", before)
    assert [each.plan for each in answer.plans] == ["environments/prod/plans/p"]


async def test_what_has_not_run_or_was_undone_is_refused(scene: Promoted) -> None:
    await scene.lay()
    with pytest.raises(FailedPrecondition, match="NO_RUN: environments/staging/plans/p has no run of the hash"):
        await scene.promote()
    run = await scene.run_in("staging")
    await scene.engine.runs.roll_back(run.name, "", ME)
    await scene.hosts["staging"].work()
    with pytest.raises(FailedPrecondition, match="UNDONE"):
        await scene.promote()
    with pytest.raises(FailedPrecondition, match="NOT_APPLIED: cccccccccccc is not what is applied"):
        await scene.promote("c" * 40)
    with pytest.raises(InvalidDefinition, match="commit"):
        await scene.promote("main")


async def test_what_was_not_verified_is_refused(scene: Promoted) -> None:
    await scene.lay()
    await scene.run_in("staging")

    def spoil(unit) -> None:  # type: ignore[no-untyped-def]  # a unit of work
        aggregate = unit.runs.load("environments/staging/plans/p/runs/r1")
        dataset = aggregate.datasets["a", "rows"]
        dataset.verification = run_pb2.Verification(
            is_verified=True, level=plan_pb2.VERIFICATION_LEVEL_COUNT
        ).SerializeToString()
        unit.runs.save(aggregate.run.name, [dataset])

    await scene.store.transact(spoil)
    with pytest.raises(FailedPrecondition, match="NOT_VERIFIED: dataset a/rows"):
        await scene.promote()


async def test_where_the_other_side_would_declare_it_otherwise_it_is_refused() -> None:
    scene = Promoted(layout="folder")
    await scene.lay()
    await scene.run_in("staging")
    scene.push({"prod/plans/more.yaml": "---\n", "prod/q.yaml": plan("A", "q")})
    answer = await scene.promote(is_dry=True)
    assert [each.plan for each in answer.plans] == ["environments/prod/plans/p"], "the other plan would go"
    scene.push({"prod/q.yaml": plan("A", "q") + "---\n" + department("x")})
    with pytest.raises(FailedPrecondition, match=r"prod/q.yaml declares plans and other objects"):
        await scene.promote()


async def test_where_prod_can_not_apply_it_it_is_refused_with_the_place() -> None:
    scene = Promoted(layout="folder")
    await scene.lay()
    await scene.run_in("staging")
    scene.push({"prod/systems.yaml": None})
    with pytest.raises(
        FailedPrecondition, match=r"INVALID: gitSources/prod could not apply it: prod/plans/p.yaml:\d+: "
    ):
        await scene.promote()


async def test_a_branch_with_commits_of_its_own_gets_a_merge_with_exactly_the_folder() -> None:
    scene = Promoted(layout="branch")
    sha = await scene.lay()
    own = scene.push({"README": "of prod", "p.yaml": plan("Z")}, "Mend in place", branch="prod")
    await scene.run_in("staging")
    pushed = (await scene.promote()).pushed_commit
    commit, files = scene.hosted.commits[pushed]
    assert commit.parents == (own, sha)
    assert files["p.yaml"] == scene.hosted.commits[sha][1]["p.yaml"]
    assert files["README"] == b"of prod"


async def test_who_may_not_run_anything_there_may_not_promote_to_it() -> None:
    scene = Promoted(layout="pin")
    await scene.lay()
    await scene.run_in("staging")
    await scene.promote()
    await scene.applied(PROD)
    scene.push({"envs.yaml": environment("staging") + "---\n" + environment("prod", "{runners: [bob]}")})
    await scene.applied(STAGING)
    await scene.promote()
    await scene.applied(PROD)
    with pytest.raises(NotPermitted):
        await scene.promote()


async def test_what_is_made_here_is_refused_where_signatures_are_demanded() -> None:
    scene = Promoted(layout="folder")
    await scene.lay()
    await scene.run_in("staging")

    def demand(unit) -> None:  # type: ignore[no-untyped-def]  # a unit of work
        signers = git_source_pb2.GitSignatures(ssh_allowed_signers="ann ssh-ed25519 AAAA")
        source = git_source_pb2.GitSource(name=PROD, signatures=signers)
        scene.engine.catalog.update(unit, GIT_SOURCES, source, FieldMask(paths=["signatures"]), ME)

    await scene.store.transact(demand)
    with pytest.raises(FailedPrecondition, match="SIGNATURE_DEMANDED"):
        await scene.promote()


async def test_a_plan_that_is_of_one_environment_alone_is_refused(scene: Promoted) -> None:
    await scene.lay()
    own = plan("A").replace("metadata: {", "metadata: {environment: staging, ")
    branch = "staging" if scene.layout == "branch" else "main"
    where = "staging/plans/p.yaml" if scene.layout == "folder" else "p.yaml"
    scene.push({where: own}, "Name the environment", branch=branch)
    await scene.applied(STAGING)
    await scene.run_in("staging")
    with pytest.raises(FailedPrecondition, match="HASH_DIFFERS: plan `p` would not be there"):
        await scene.promote()
