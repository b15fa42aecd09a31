"""SIGKILL at random writes, from the first file to the report: nothing is lost or written twice."""

import random
import signal
import subprocess
import sys
import time

import pytest

from arsbench.runs.folder import RunFolder

from .test_resume import COMMAND, assert_same, train

# A process that kills itself before one of the calls that bring files to the disk, or take them away.
DYING = """
import os, shutil, signal, sys

left = int(sys.argv.pop(1))

def dying(function):
    def call(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*arguments, **options)
    return call

for module, name in ((os, "replace"), (os, "fsync"), (os, "mkdir"), (shutil, "rmtree")):
    setattr(module, name, dying(getattr(module, name)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("writers", [1, 2])
def test_kills_at_random_writes_lose_nothing(modular, tmp_path, write_config, writers):
    modular["train"] |= {"ckpt_every_steps": 4, "eval_every_steps": 3}
    undisturbed = train(modular, tmp_path / "undisturbed")
    arguments = [write_config(modular), "--out", "run", "--resume"]
    seed = int(time.time())
    print(f"seed {seed}")  # shown where the test fails
    draw = random.Random(seed)
    (tmp_path / "run").mkdir()
    kills = 0
    for _ in range(30):
        # Few writes at first, so that the start of the run is hit too.
        most = 20 if kills < 3 else 80
        numbers = [draw.randrange(most) for _ in range(writers)] if kills < 6 else [10**9]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", DYING + COMMAND[2], str(number), "train", *arguments],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in numbers
        ]
        ended = [(process.communicate(timeout=200)[1], process.returncode) for process in processes]
        kills += sum(code == -signal.SIGKILL for _, code in ended)
        for error, code in ended:
            assert code in (0, -signal.SIGKILL) or (code == 2 and "another process" in error), error
        if kills >= 6 and any(code == 0 for _, code in ended):
            break
    assert kills >= 5
    run = RunFolder.open(tmp_path / "run")
    assert run.status["state"] == "finished"
    assert_same(run, undisturbed)
    assert (run.path / "summary.md").is_file()
    assert not [path for path in run.checkpoints.iterdir() if not path.name.startswith("step-")]
