"""The documents: links lead somewhere, commands have the options that they show, the README's code runs."""

import itertools
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import torch
from arsbench_cli.main import cli

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def name(path):
    return str(path.relative_to(ROOT))


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text):
    """The arguments of every `arsbench` in a document's shell blocks and in its sentences."""
    lines = "".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(arsbench [^`]*)`", text.replace("\n", " "))
    for line in lines:
        words = shlex.split(line, comments=True)
        if "arsbench" in words:
            arguments = words[words.index("arsbench") + 1 :]
            yield list(itertools.takewhile(lambda word: word not in ("|", ">", "&&"), arguments))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_to_files_and_headings(path):
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src(?:set)?="([^"]+)"', text):
        file, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = path.parent / file if file else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
            assert anchor in anchors, link


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_commands_and_their_options_exist(path):
    for arguments in commands(path.read_text(encoding="utf-8")):
        command = cli
        while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
            assert arguments[0] in command.commands, arguments
            command, arguments = command.commands[arguments[0]], arguments[1:]
        # An option that does not exist raises; nothing runs, and no value is checked.
        command.make_parser(click.Context(command)).parse_args(arguments)


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 160


def test_the_code_of_the_readme_runs():
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.clone()

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, batch):
            return SimpleNamespace(loss=self.layer(batch).square().mean())

    (code,) = blocks(README.read_text(encoding="utf-8"), "python")
    names = {"model": Model(), "batch": torch.ones(4, 3)}
    exec(code, names)
    assert names["loss"] > 0
    assert not torch.equal(layer.weight, before)
