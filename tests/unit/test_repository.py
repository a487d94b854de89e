"""The files around the package agree with each other."""

import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import lowest
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from card.base import DISTRIBUTION
from card.base.errors import installing

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = {k: listed for k, listed in EXTRAS.items() if k not in ("energy", "qlora")}
"""Extras that `make` installs: `energy` reads the counters of particular processors, and `qlora` is
for checkpoints in four bits, with libraries of several GPUs."""
README = (ROOT / "README.md").read_text()
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def ranges(requirements):
    """Version range of each named package."""
    parsed = [Requirement(r) for r in requirements]
    return {canonicalize_name(r.name): r.specifier for r in parsed}


def blocks(language):
    """Fenced blocks of a language in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def tracked_files():
    """Files that a commit of the tree would hold."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def vendored(path):
    return path.is_relative_to(ROOT / "book" / "_assets")


class TestName:
    def test_messages_and_the_lock_have_the_name_of_the_project(self):
        assert PROJECT["name"] == DISTRIBUTION
        assert f"--exclude {DISTRIBUTION} " in (ROOT / "Makefile").read_text()

    def test_no_file_tells_to_install_what_has_only_the_name_of_the_import(self):
        # in two pieces, so that this file does not say it
        stranger = re.compile(rb"pip install[^\n]*['\" ]" + rb"card(\[|['\"`\s]|$)")
        files = [path for path in tracked_files() if not vendored(path)]
        assert [str(path) for path in files if stranger.search(path.read_bytes())] == []

    def test_pip_adds_an_extra_to_the_package_that_is_there(self):
        words = shlex.split(installing("sweep").removeprefix("pip "))
        command = [sys.executable, "-m", "pip", *words, "--no-index", "--dry-run", "--no-deps"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"already satisfied: {DISTRIBUTION}[sweep]" in done.stdout


class TestDependencies:
    def test_conda_environment_agrees_with_the_project(self):
        listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
        tools = {"pip", "python", "jupyterlab"}
        packages = [
            d for d in listed if isinstance(d, str) and re.split(r"[=<>]", d)[0] not in tools
        ]
        assert ranges(packages) == ranges(PROJECT["dependencies"] + EXTRAS["book"])

    def test_conda_environment_has_a_python_that_the_project_allows(self):
        listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
        python = next(d for d in listed if isinstance(d, str) and d.startswith("python="))
        allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
        assert python.removeprefix("python=") in allowed

    def test_conda_environment_installs_the_package_and_what_chapter_7_trains_with(self):
        *_, last = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
        (index,) = re.findall(r"--index-url (\S+)", README)
        assert last == {"pip": [f"--extra-index-url {index}", "-e .[lab]"]}

    def test_lock_pins_every_direct_dependency_within_its_range(self):
        lines = (ROOT / "requirements.lock").read_text().splitlines()
        pins = dict(line.split("==") for line in lines if not line.startswith("#"))
        pins = {canonicalize_name(name): version for name, version in pins.items()}
        for name, allowed in ranges(chain(PROJECT["dependencies"], *INSTALLED.values())).items():
            assert pins[name] in allowed, name

    def test_lowest_versions_are_those_of_the_ranges(self):
        assert lowest.FILE.read_text().splitlines() == lowest.lowest(PROJECT)

    def test_lock_holds_plain_pins_without_addresses_or_device_builds(self):
        text = (ROOT / "requirements.lock").read_text()
        for line in text.splitlines():
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+|# .*", line), line
        assert "torch==2.13.0\n" in text
        assert not re.search(r"^(nvidia|cuda|triton)\b", text, flags=re.MULTILINE)


def script_lines(name):
    """Lines of a script of `.ci`, whether it waits for them or not."""
    lines = (ROOT / ".ci" / name).read_text().splitlines()
    return [line.removesuffix(" &") for line in lines]


class TestImport:
    @pytest.mark.parametrize("heavy", ["torch", "matplotlib", "pandas"])
    def test_package_loads_without(self, heavy):
        code = f"import card, sys; sys.exit({heavy!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestReadme:
    @pytest.mark.slow
    def test_python_example_runs(self):
        (example,) = blocks("python")
        subprocess.run([sys.executable, "-c", example], check=True, capture_output=True, cwd=ROOT)

    def test_continuous_integration_runs_its_commands(self):
        commands = [line for block in blocks("sh") for line in block.splitlines()]
        ci = [*script_lines("run"), *script_lines("commands")]
        assert ".ci/commands" in ci
        assert "make book" in commands
        assert "make test" in commands
        assert [command for command in commands if command not in ci] == []

    def test_build_for_processors_is_the_one_that_make_keeps(self):
        (version,) = re.findall(r"install torch==(\S+) --index-url", README)
        assert f"torch=={version}" in EXTRAS["lab"]
        assert f"torch=={version}\n" in (ROOT / "requirements.lock").read_text()

    @pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".ci/run", ".ci/commands"])
    def test_make_targets_exist(self, name):
        makefile = (ROOT / "Makefile").read_text()
        targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
        text = (ROOT / name).read_text()
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE)) <= targets

    def test_files_that_it_names_exist(self):
        names = re.findall(r"`([A-Za-z./-]*(?:/|\.(?:md|yml|cff)|LICENSE[a-z-]*))`", README)
        own = {"my-study.yml", "card-run/"}
        assert [name for name in names if name not in own and not (ROOT / name).exists()] == []


class TestSchemas:
    def check(self, schema, *paths):
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *paths]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout

    def test_workflows(self):
        assert [path.stem for path in WORKFLOWS] == ["ci", "pages", "release", "weekly"]
        self.check("vendor.github-workflows", *WORKFLOWS)

    def test_updates_of_dependencies(self):
        self.check("vendor.dependabot", ROOT / ".github" / "dependabot.yml")

    @pytest.mark.parametrize("path", sorted(FORMS.glob("*.yml")), ids=lambda path: path.stem)
    def test_issue_forms_ask_for_something(self, path):
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= form.keys()
        assert all(part["attributes"]["label"] for part in form["body"])

    def test_citation(self):
        self.check("vendor.citation-file-format", ROOT / "CITATION.cff")

    def test_citation_has_the_version_of_the_package(self):
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
        assert citation["version"] == PROJECT["version"]
        assert PROJECT["version"] in (ROOT / "CHANGELOG.md").read_text()


class TestContinuousIntegration:
    @pytest.mark.parametrize("name", ["chromium", "commands", "run", "sphinx", "studies"])
    def test_script_is_executable_and_stops_at_the_first_error(self, name):
        script = ROOT / ".ci" / name
        assert script.stat().st_mode & 0o111
        assert "set -euo pipefail" in script.read_text().splitlines()

    def test_processes_keep_what_they_compile(self):
        assert "unexport PYTHONDONTWRITEBYTECODE" in (ROOT / "Makefile").read_text().splitlines()
        commands = (ROOT / ".ci/commands").read_text()
        assert commands.index("unset PYTHONDONTWRITEBYTECODE") < commands.index("\ncard ")

    def test_script_ends_with_the_tests_and_with_all_that_it_began(self):
        lines = script_lines("run")
        begun = [line.removesuffix("=$!") for line in lines if line.endswith("=$!")]
        waits = [f'wait "${name}"' for name in begun]
        assert len(begun) == (ROOT / ".ci/run").read_text().count(" &\n")
        assert set(waits) <= set(lines)
        assert [line for line in lines if line not in waits][-1] == "make test"

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_workflows_run_only_what_a_reader_can_run(self, path):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        runs = {step["run"] for job in jobs for step in job["steps"] if "run" in step}
        trust = 'git config --system --add safe.directory "$GITHUB_WORKSPACE"'
        scripts = {".ci/run", ".ci/sphinx", ".ci/studies"}
        targets = {"make quick", 'make release TAG="$GITHUB_REF_NAME"'}
        assert runs <= {trust, *scripts, *targets, *script_lines("run")}

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_workflows_pin_each_action_by_commit_and_name_its_version(self, path):
        used = re.findall(r"uses: (.*)", path.read_text())
        assert [one for one in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", one)] == []

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_workflows_may_only_read_unless_a_job_says_more(self, path):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        wide = {
            name for name, job in workflow["jobs"].items() if "write" in str(job.get("permissions"))
        }
        assert wide <= {"publish"}

    def test_a_pull_request_runs_once_and_pages_follow_what_passed(self):
        # YAML 1.1 takes `on` for a truth value
        on = {path.stem: yaml.safe_load(path.read_text())[True] for path in WORKFLOWS}
        assert on["ci"] == {"push": {"branches": ["main"]}, "pull_request": None}
        assert on["pages"]["workflow_run"]["workflows"] == ["CI"]
        assert "push" not in on["pages"]

    def test_jobs_of_a_change_make_every_check_of_the_script(self):
        jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
        runs = {step.get("run") for job in jobs.values() for step in job["steps"]}
        checks = {line for line in script_lines("run") if line.startswith(("make", ".ci"))}
        # `make quick` begins with both
        assert checks - {"make lint", "make types"} <= runs
        assert "make quick" in runs

    def test_weekly_run_takes_the_newest_and_the_lowest_dependencies_and_no_cache(self):
        text = (ROOT / ".github" / "workflows" / "weekly.yml").read_text()
        jobs = yaml.safe_load(text)["jobs"]
        for name, constraint in {
            "newest": [],
            "lowest": ["--constraint", "tests/lowest.txt"],
        }.items():
            torch, project, *rest = shlex.split(jobs[name]["env"]["REQUIREMENTS"])
            assert torch in EXTRAS["lab"]
            assert set(project.removeprefix(".[").removesuffix("]").split(",")) == set(INSTALLED)
            assert rest == constraint
        assert "actions/cache" not in text


class TestTrackedFiles:
    def test_name_no_path_of_a_machine(self):
        # in two pieces, so that this file does not name one
        machine = re.compile(rb"(?<![\w.:/])/(?:" + rb"work|root|home|Users" + rb")/")
        files = [path for path in tracked_files() if not vendored(path)]
        assert [str(path) for path in files if machine.search(path.read_bytes())] == []

    def test_are_small(self):
        large = [p for p in tracked_files() if not vendored(p) and p.stat().st_size > 2**20]
        assert large == []


class TestCommitHooks:
    def test_call_what_the_makefile_calls_and_download_nothing(self):
        (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        assert local["repo"] == "local"
        makefile = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
        for hook in local["hooks"]:
            assert hook["language"] == "system"
            assert hook["entry"].removesuffix(" --force-exclude") in makefile
