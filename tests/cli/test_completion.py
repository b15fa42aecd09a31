"""Completion in Bash and Zsh: what is offered, and that torch stays out of it."""

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = "import sys; sys.argv[0] = 'arsbench'; from arsbench_cli.main import main; main()"


@pytest.fixture
def folder(tmp_path, record_run):
    """A run, a suite, a configuration, a suite file and a report to complete."""
    record_run("runs/demo")
    record_run("elsewhere/mine")
    for name in ("suites/small/plan.json", "mine.toml", "configs/other.json", "report.md", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def complete(folder, shell, words):
    """The words that a shell is offered for the last of `words`, which it splits as Bash does."""
    variables = {
        "_ARSBENCH_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    return (
        lines
        if shell == "bash"
        else [f"{kind},{word}" for kind, word in zip(lines[::3], lines[1::3], strict=True)]
    )


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train ", ["demo", "mine.toml", "mod_addition", "seed", "seed-mini"]),
        ("train conf", ["configs/other.json"]),
        ("train seed-m", ["seed-mini"]),
        ("data inspect m", ["mine.toml", "mod_addition"]),
        ("presets d", ["demo"]),
        ("eval r", ["runs/demo"]),
        ("eval ", ["elsewhere/mine", "runs/demo"]),
        ("resume elsewhere/", ["elsewhere/mine"]),
        ("compare r", ["report.md", "runs/demo"]),
        ("compare runs/demo --metric acc", ["accuracy"]),
        ("report s", ["suites/small"]),
        ("profile suites/", ["suites/small"]),
        ("suite run ", ["demo-optimizers", "grokking", "mine.toml", "seed-optimizers"]),
        ("suite status ", ["suites/small"]),
        ("suite presets g", ["grokking"]),
        ("train demo --set optimizer.n", ["optimizer.name=", "optimizer.ns_steps="]),
        ("resume runs/demo --set train.epo", ["train.epochs="]),
    ],
)
def test_words_are_completed(folder, shell, line, expected):
    words = ["arsbench", *line.split(" ")]
    assert complete(folder, shell, words) == [f"plain,{word}" for word in expected]


def test_a_path_without_a_match_is_left_to_the_shell(folder):
    assert complete(folder, "bash", ["arsbench", "train", "/no"]) == ["file,/no"]
    assert complete(folder, "bash", ["arsbench", "eval", "/no"]) == ["dir,/no"]


def test_values_of_keys(folder):
    """Bash splits words at the equals sign and replaces the part after it; Zsh does neither."""
    words = ["arsbench", "train", "demo", "--set"]
    for key, start, values in (
        ("optimizer.name", "Ada", ["AdaMuon", "AdaRMSuon", "AdamW"]),
        ("experiment.device", "a", ["auto"]),
        ("train.epochs", "3", []),
    ):
        assert complete(folder, "bash", [*words, key, "=", start]) == [f"plain,{value}" for value in values]
        whole = [f"plain,{key}={value}" for value in values]
        assert complete(folder, "zsh", [*words, f"{key}={start}"]) == whole
    assert complete(folder, "bash", [*words, "train.ignore_padding", "="]) == ["plain,false", "plain,true"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no Bash")
def test_bash_takes_the_script(folder):
    (folder / "bin").mkdir()
    program = folder / "bin" / "arsbench"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}\n")
    program.chmod(0o755)
    script = (
        'eval "$(_ARSBENCH_COMPLETE=bash_source arsbench)"; COMP_WORDS=(arsbench train seed-) COMP_CWORD=2\n'
        '_arsbench_completion arsbench; echo "${COMPREPLY[@]}"; complete -p arsbench\n'
    )
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.stdout == "seed-mini\ncomplete -o nosort -F _arsbench_completion arsbench\n", done.stderr


def test_completion_does_not_import_torch(folder):
    script = PROGRAM.replace(
        "main()", "import atexit; atexit.register(lambda: print('torch' in sys.modules)); main()"
    )
    variables = {
        "_ARSBENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": "arsbench suite run d",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.stdout == "plain,demo-optimizers\nFalse\n", done.stderr
