"""Show that two versions of ARS-Bench compute the same figures, bit for bit.

    python tests/same_figures.py run ARSBENCH FOLDER
    python tests/same_figures.py compare BEFORE AFTER
    python tests/same_figures.py reread ARSBENCH BEFORE

`run` trains and analyses with one version, in some ten minutes on two cores. `compare` compares the records,
weights and tuned settings of two such folders, except for times and memory. `reread` lets another version
analyse the runs in a folder, and compares everything except texts, such as verdicts. ARSBENCH is the path of
an `arsbench` program, such as .venv/bin/arsbench.

Values that only the later version has are listed and allowed. The exit code is 1 if anything else differs.
`--ignore KEY` leaves out a key or column that is meant to differ.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUITE = Path(__file__).with_suffix(".toml")
TRAINING = (
    ("train", "mod_addition", "--out", "runs/mod", "--set", "train.epochs=40"),
    ("suite", "run", str(SUITE), "--out", "suites/small", "--workers", "1", "--threads", "2"),
    ("train", "demo", "--out", "runs/demo"),
)
# A command that ends in --json writes its output to the file that is named first.
ANALYSES = (
    *((f"{run}.json", "report", f"runs/{run}", "--json") for run in ("mod", "demo")),
    *(("", "report", f"runs/{run}", "--csv", f"{run}.csv") for run in ("mod", "demo")),
    ("small.report.json", "report", "suites/small", "--json"),
    ("", "report", "suites/small", "--csv", "small.csv"),
    ("small.compare.json", "compare", "suites/small", "--json"),
    ("small.all.json", "compare", "suites/small", "--all-pairs", "--json"),
)
RECORDS = ("steps.jsonl", "epochs.jsonl", "evaluations.jsonl", "effective.json")
WEIGHTS = "model.safetensors"
MEASURED = {
    "seconds",
    "epoch_seconds",
    "evaluation_seconds",
    "tokens_per_second",
    "peak_rss_mib",
    "peak_gpu_mib",
}


def execute(program: str, arguments: tuple[str, ...], folder: Path) -> str:
    """Run a command of arsbench with two threads, and return its standard output."""
    print("arsbench", *arguments, flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [str(Path(program).absolute()), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"it failed with exit code {done.returncode}")
    return done.stdout


def analyse(program: str, folder: Path) -> None:
    for file, *arguments in ANALYSES:
        output = execute(program, tuple(arguments), folder)
        if file:
            (folder / file).write_text(output, encoding="utf-8")


def read(path: Path) -> Any:
    """The content of a JSON, JSON-lines or CSV file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


class Comparison:
    """Differences between values of two versions, and the names of what only the later one has."""

    def __init__(self, ignored: set[str], texts: bool) -> None:
        self.ignored, self.texts = ignored, texts
        self.differences: list[str] = []
        self.added: set[str] = set()
        self.compared = 0

    def add(self, before: Any, after: Any, place: str) -> None:
        """Compare two values as `read` returns them; `place` names them."""
        if isinstance(before, dict) and isinstance(after, dict):
            self.added |= {f"{Path(place.partition(':')[0]).name}: {key}" for key in after.keys() - before}
            for key in before.keys() - self.ignored:
                if key in after:
                    self.add(before[key], after[key], f"{place}.{key}")
                else:
                    self.differences.append(f"{place}.{key} is missing")
        elif isinstance(before, list) and isinstance(after, list):
            if len(before) != len(after):
                self.differences.append(f"{place} has {len(after)} entries instead of {len(before)}")
            for index, pair in enumerate(zip(before, after, strict=False)):
                self.add(*pair, f"{place}[{index}]")
        elif self.texts or ".csv:" in place or not (isinstance(before, str) and isinstance(after, str)):
            self.compared += 1
            if repr(before) != repr(after):  # of floats, repr shows every bit, and NaN equals NaN
                self.differences.append(f"{place} is {after!r} instead of {before!r}")

    def finish(self) -> int:
        print(f"{self.compared:,} values compared")
        for name in sorted(self.added):
            print(f"new in {name}")
        for difference in self.differences[:40]:
            print(f"DIFFERENT: {difference}")
        print(f"{len(self.differences)} differences" if self.differences else "identical")
        return int(bool(self.differences))


def matching(before: Path, after: Path, names: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """The files of these names in `before`, each with its counterpart."""
    for name in names:
        for path in sorted(before.rglob(name)):
            yield path, after / path.relative_to(before)


def compare_training(before: Path, after: Path, ignored: set[str]) -> int:
    comparison = Comparison(ignored | MEASURED, texts=True)
    for path, other in matching(before, after, (*RECORDS, WEIGHTS)):
        name = str(path.relative_to(before))
        if not other.exists():
            comparison.differences.append(f"{name} is missing")
        elif path.name == WEIGHTS:
            comparison.compared += 1
            if path.read_bytes() != other.read_bytes():
                comparison.differences.append(f"{name} has other weights")
        else:
            comparison.add(read(path), read(other), f"{name}:")
    return comparison.finish()


def compare_analyses(program: str, before: Path, ignored: set[str]) -> int:
    comparison = Comparison(ignored, texts=False)
    with tempfile.TemporaryDirectory() as temporary:
        after = Path(temporary) / "after"
        # A copy, because a report writes into the folder that it describes. Reports read no weights.
        shutil.copytree(before, after, ignore=shutil.ignore_patterns("checkpoints", "*.csv"))
        analyse(program, after)
        for path in sorted([*after.glob("*.csv"), *(after / file for file, *_ in ANALYSES if file)]):
            comparison.add(read(before / path.name), read(path), f"{path.name}:")
    return comparison.finish()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("run", "compare", "reread"))
    parser.add_argument("first", metavar="ARSBENCH|BEFORE")
    parser.add_argument("folder", type=Path, metavar="FOLDER|AFTER|BEFORE")
    parser.add_argument("--ignore", action="append", default=[], metavar="KEY")
    options = parser.parse_args()
    ignored = set(options.ignore)
    if options.action == "compare":
        return compare_training(Path(options.first), options.folder, ignored)
    if options.action == "reread":
        return compare_analyses(options.first, options.folder, ignored)
    if options.folder.exists():
        parser.error(f"{options.folder} exists; name a new folder")
    options.folder.mkdir(parents=True)
    for arguments in TRAINING:
        execute(options.first, arguments, options.folder)
    analyse(options.first, options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
