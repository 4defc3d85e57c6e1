"""A team's own labels, rules and model in one directory take the place of the shipped ones that they replace."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logclf import resources
from logclf.errors import ArtifactError, ConfigError
from logclf.profile import Profile, load_profile
from logclf.rulecheck import check_files
from logclf.store import Store
from logclf.taxonomy import DEFAULT
from logclf.topology import Setup, build, packs_fit, resolve

from .helpers import objects
from .test_cli import logclf, one_line
from .test_store import write_model
from .test_taxonomyfile import GOOD

BANK = resources.PROFILES / "bank"
LABELS = ("Low", "Medium", "High", "Critical")
RULE = """\
version: 1
rules:
  - id: {id}
    label: {label}
    priority: {priority}
    match: {{any: [frobnicator]}}
    examples: {{match: [frobnicator]}}
"""
MODEL = resources.MODELS / "default"

pytestmark = pytest.mark.usefixtures("cache_dir")


def rule(path: Path, label: str, name: str = "own.rule", priority: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RULE.format(id=name, label=label, priority=priority))
    return path


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(BANK, tmp_path / "bank")
    return tmp_path / "bank"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    return Store()


def winner(setup: Setup, line: str = "frobnicator") -> str | None:
    from logclf.rulecheck import winning_rule

    found = winning_rule(setup.rule_set(), line)
    return found.id if found else None


# --- what a profile is


def test_the_default_profile_brings_nothing_of_its_own() -> None:
    assert load_profile("default") == Profile("default")
    assert resolve() == Setup(model=MODEL, followed=MODEL)


def test_the_shipped_bank_profile_by_name_and_by_directory(bank: Path) -> None:
    named, copied = load_profile("bank"), load_profile(str(bank))
    assert named.taxonomy == copied.taxonomy
    assert named.taxonomy.names == LABELS
    assert [path.name for path in copied.rules] == ["access.yaml", "cards.yaml", "operations.yaml", "payments.yaml"]
    assert named.model is None


def test_a_directory_of_a_shipped_name_is_written_as_a_path(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bank.parent)
    assert load_profile("bank").directory == BANK
    assert load_profile("./bank").directory == Path("bank")


@pytest.mark.parametrize("name", ["nope", "", "/no/such/place"])
def test_an_unknown_profile_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"neither a directory nor a shipped profile \(default, bank\)"):
        load_profile(name)


def test_a_directory_that_is_no_profile(tmp_path: Path) -> None:
    for name in (str(tmp_path), str(BANK / "rules" / "..") + "/rules"):
        with pytest.raises(ConfigError, match=r"no profile here: expected taxonomy\.yaml, rules/ or model/"):
            load_profile(name)


def test_a_taxonomy_under_another_suffix_is_not_passed_over(bank: Path) -> None:
    (bank / "taxonomy.yaml").rename(bank / "taxonomy.yml")
    with pytest.raises(ConfigError, match=r"taxonomy\.yml: call this file taxonomy\.yaml"):
        load_profile(str(bank))


def test_a_profile_without_rules(bank: Path) -> None:
    shutil.rmtree(bank / "rules")
    assert load_profile(str(bank)).rules == ()
    (bank / "rules").mkdir()
    assert load_profile(str(bank)).rules == ()


def test_a_broken_taxonomy_names_its_line(bank: Path) -> None:
    text = (bank / "taxonomy.yaml").read_text().replace("severity: WARN", "severity: Warn")
    (bank / "taxonomy.yaml").write_text(text)
    done = logclf("filter", "--profile", bank)
    assert done.returncode == 78
    assert f"{bank}/taxonomy.yaml:10: severity: 'Warn' is not known here" in one_line(done)


# --- what is built of it


def test_the_packs_give_all_default_labels_so_they_fit_where_those_are() -> None:
    found, _ = check_files(resources.packs(), DEFAULT)
    assert {rule.spec.label for rule in found} == set(DEFAULT.names)
    assert packs_fit(DEFAULT)
    assert not packs_fit(load_profile("bank").taxonomy)


def test_own_labels_do_without_the_shipped_packs_and_model(bank: Path) -> None:
    setup = resolve(str(bank))
    assert (setup.taxonomy.names, setup.packs, setup.model) == (LABELS, False, None)
    assert setup.followed == MODEL, "a fitting one may be chosen later"


def test_own_labels_beside_the_default_ones_keep_packs_and_model(tmp_path: Path) -> None:
    file = tmp_path / "taxonomy.yaml"
    file.write_text(
        "version: 1\nname: more\nlabels:\n"
        + "".join(f"  - {{name: {name}, description: x, severity: INFO}}\n" for name in (*DEFAULT.names, "Mine"))
    )
    setup = resolve(taxonomy=file)
    assert (setup.packs, setup.model) == (True, MODEL)


def test_without_a_taxonomy_a_profile_adds_its_rules_to_the_packs(tmp_path: Path) -> None:
    rule(tmp_path / "p" / "rules" / "a.yaml", "Error")
    setup = resolve(str(tmp_path / "p"))
    assert (setup.taxonomy, setup.packs, setup.model) == (DEFAULT, True, MODEL)
    assert winner(setup) == "own.rule"


def test_explicit_rules_come_before_the_profiles_whatever_the_priorities(bank: Path, tmp_path: Path) -> None:
    rule(bank / "rules" / "zz.yaml", "Low", "profile.rule", priority=1000)
    assert winner(resolve(str(bank))) == "profile.rule"
    mine = rule(tmp_path / "mine.yaml", "High", "my.rule", priority=-1000)
    assert winner(resolve(str(bank), rules=[mine])) == "my.rule"
    same = rule(tmp_path / "same.yaml", "High", "profile.rule")
    ids = [each.id for each in resolve(str(bank), rules=[same]).rule_set().rules]
    assert ids.count("profile.rule") == 1


def test_an_explicit_taxonomy_replaces_the_profiles(bank: Path, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"access\.yaml:18: unknown label 'Critical'; known are High, Low"):
        resolve(str(bank), taxonomy=tmp_path / "t.yaml").rule_set()


def test_the_profiles_model_is_used_and_an_explicit_one_replaces_it(bank: Path, tmp_path: Path) -> None:
    write_model(bank / "model", "High", ("Low",))
    write_model(tmp_path / "m", "Low", ("High",))
    setup = resolve(str(bank))
    assert (setup.model, setup.followed) == (bank / "model", None)
    assert build(setup).stages[0].version == "small@2.0"
    assert resolve(str(bank), model=str(tmp_path / "m")).model == tmp_path / "m"
    assert resolve(str(bank), model="none") == resolve(str(bank), model="none")
    assert resolve(str(bank), model="none").model is None


def test_a_model_of_other_labels_is_refused(bank: Path) -> None:
    write_model(bank / "model", "Error", ("User Action",))
    with pytest.raises(ArtifactError, match=r"lacks: \['Error', 'User Action'\]; name the one .* --profile"):
        build(resolve(str(bank)))
    with pytest.raises(ArtifactError, match="gives labels that this taxonomy lacks"):
        build(resolve(str(bank), model="default"))


def test_the_model_in_use_serves_the_profiles_that_it_fits(
    bank: Path, state: Store, caplog: pytest.LogCaptureFixture
) -> None:
    state.add(lambda directory: write_model(directory, "High", ("Low",)), "risk")
    state.use("risk")
    chosen = state.path("risk@1")
    assert resolve(str(bank)) == Setup(
        resolve(str(bank)).taxonomy, (), load_profile(str(bank)).rules, False, chosen, chosen
    )
    assert caplog.text == ""
    assert resolve().model == MODEL, "no start fails because of what was chosen for another profile"
    assert "gives labels that this taxonomy lacks: ['High', 'Low']; not used" in caplog.text
    with pytest.raises(ArtifactError, match="gives labels"):
        build(resolve(model="current"))


# --- the shipped skeleton, as its README has it


def test_bank_end_to_end(bank: Path) -> None:
    for command, count in (("validate", b"18 rules are valid"), ("test", b"43 examples of 18 rules pass")):
        for profile in ("bank", bank):
            done = logclf(command, "--profile", profile)
            assert (done.returncode, done.stdout, done.stderr.strip()) == (0, b"", count)
    write_model(bank / "model", "Medium", ("Low",))
    lines = b"Payment P77120 booked\nPayment P77120 was booked twice\nqueue QZ stalled again\n"
    done = logclf("filter", "--profile", bank, data=lines)
    assert done.returncode == 0, done.stderr
    verdicts = [event["logclf"] for event in objects(done.stdout)]
    assert [(one["label"], one["severity"], one["stage"]) for one in verdicts] == [
        ("Low", "INFO", "rules"),
        ("Critical", "FATAL", "rules"),
        ("Medium", "WARN", "model"),
    ]
    done = logclf("filter", data=lines, env=os.environ | {"LOGCLF_PROFILE": "bank"})
    assert [event["logclf"]["stage"] for event in objects(done.stdout)] == ["rules", "rules", "none"]


COMMANDS = re.findall(
    r"^((?:LOGCLF_PROFILE=\S+ )?logclf .*?)(?:  #.*)?$", (BANK / "README.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("command", [command for command in COMMANDS if "logclf train" not in command])
def test_the_commands_of_its_readme(command: str, tmp_path: Path) -> None:
    shutil.copytree(BANK, tmp_path / "my-bank")
    (tmp_path / "app.log").write_text("Payment P77120 booked\n")
    shell = command.replace("logclf ", f"{shlex.quote(sys.executable)} -m logclf ", 1).replace("/var/log/", "")
    shell += " --no-follow" if "tail" in command else ""
    done = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "labelled.jsonl").read_bytes() if ">" in command else done.stdout
    assert (b'"label":"Low"' in shown) == ("filter" in command or "tail" in command)


def test_bank_rules_and_taxonomy_by_path(bank: Path) -> None:
    options = ("--taxonomy", bank / "taxonomy.yaml")
    assert logclf("validate", bank / "rules", *options).returncode == 0
    assert logclf("test", bank / "rules", *options).returncode == 0
    assert logclf("validate", bank / "rules").returncode == 1
    listed = logclf("rules", "list", "--rules", bank / "rules", *options).stdout.decode().splitlines()
    assert len(listed) == 18
    assert (
        b"bank.batch.ended wins: Low"
        in logclf("rules", "explain", "--profile", bank, "EOD job A ended, return code 0").stdout
    )


def test_the_profile_is_no_pack_and_travels_with_the_rules() -> None:
    assert not [path for path in resources.packs() if "profiles" in path.parts]
    assert (resources.RULES / "profiles" / "bank" / "README.md").exists()
