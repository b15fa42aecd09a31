"""The text's source: a directory of files, the Hugging Face hub, or the documentation of the running Python.

Every source gives `Texts`: lists of texts for training, validation and, where there is one, test.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arsbench.data.pydocs import load_pydocs
from arsbench.errors import UserError
from arsbench.files import read_regular

if TYPE_CHECKING:
    from arsbench.config.schema import DataConfig

ENVIRONMENT_VARIABLE = "ARSBENCH_WIKITEXT2"
"""Holds the path of a directory with WikiText-2's files."""

HUB_DATASET = "Salesforce/wikitext"
HUB_CONFIGURATION = "wikitext-2-raw-v1"

FILE_KEYS = {"train": "train_file", "validation": "validation_file", "test": "test_file"}

# The keys of the section `data` that a source does not read.
_UNREAD = {"files": (), "hub": tuple(FILE_KEYS.values()), "pydocs": ("path", *FILE_KEYS.values())}


@dataclass(frozen=True)
class Texts:
    """Texts by split, none of them blank.

    A text is one line without its newline (files, hub) or one document (pydocs).

    Attributes:
        train: texts to train on, at least one.
        validation: texts to evaluate on after every epoch, at least one.
        test: texts to evaluate on after training, or None where there is no such split.
        origin: where the texts come from, for readers.
    """

    train: list[str]
    validation: list[str]
    test: list[str] | None
    origin: str


def load_texts(data: DataConfig) -> Texts:
    """Read the texts that the configuration's `data` section names.

    `data.source` is one of
    files: the directory `data.path`, or the one in ARSBENCH_WIKITEXT2;
    hub: WikiText-2 from the Hugging Face hub, or from `data.path`, a local copy of the hub's repository;
    pydocs: the running Python's documentation (see `arsbench.data.pydocs`);
    auto: files if `data.path`, a file key or ARSBENCH_WIKITEXT2 is set, else hub if the `datasets` library
    is installed.

    Raises:
        UserError: there is no text, it is unreadable or blank, or a key is set that the source does not read.
    """
    source = _resolve(data)
    if source not in _UNREAD:
        raise UserError(f"data.source is {source!r}; it must be auto, hub, files or pydocs")
    for key in _UNREAD[source]:
        if getattr(data, key):
            raise UserError(
                f"data.{key} is {getattr(data, key)!r}, which data.source={source} does not read; "
                "leave it out or use data.source=files"
            )
    if source == "files":
        splits, origin = _read_files(data)
    elif source == "hub":
        splits, origin = _read_hub(data.path)
    else:
        splits = load_pydocs()
        origin = f"pydoc's topics and the standard library's docstrings, Python {platform.python_version()}"
    for split, texts in splits.items():
        if not texts:
            raise UserError(f"the {split} text of {origin} is blank; use a file with text")
    return Texts(splits["train"], splits["validation"], splits.get("test"), origin)


def hash_texts(texts: Iterable[str]) -> str:
    """Hexadecimal SHA-256 of a sequence of texts, their boundaries included."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def _resolve(data: DataConfig) -> str:
    if data.source != "auto":
        return data.source
    # File keys mean files even without a directory: a configuration that names parts of the text must not
    # read the hub's full text.
    named = data.path or any(getattr(data, key) for key in FILE_KEYS.values())
    if named or os.environ.get(ENVIRONMENT_VARIABLE):
        return "files"
    if importlib.util.find_spec("datasets"):
        return "hub"
    raise UserError(
        f"no text to train on: set {ENVIRONMENT_VARIABLE} to a directory with WikiText-2's files, "
        "or `pip install arsbench[hub]` to fetch it, "
        "or use other text with --set data.source=pydocs, or --set data.source=files with data.path"
    )


def _read_files(data: DataConfig) -> tuple[dict[str, list[str]], str]:
    origin = "data.path" if data.path else ENVIRONMENT_VARIABLE
    directory = data.path or os.environ.get(ENVIRONMENT_VARIABLE)
    if not directory:
        raise UserError(
            "data.source=files needs a directory: set data.path, or the environment variable "
            f"{ENVIRONMENT_VARIABLE}"
        )
    root = Path(directory).expanduser()
    if not root.is_dir():
        raise UserError(f"{origin} is {directory}, which is not a directory; name one that holds the texts")
    names = _named_files(data, root) or _wikitext_files(root)
    splits = {split: _read_lines(root / name) for split, name in names.items()}
    listed = ", ".join(f"{name} ({split})" for split, name in names.items())
    return splits, f"files in {root}: {listed}"


def _named_files(data: DataConfig, root: Path) -> dict[str, str]:
    """The files that the keys name, by split; empty if no key is set."""
    names = {split: getattr(data, key) for split, key in FILE_KEYS.items() if getattr(data, key)}
    for split in ("train", "validation") if names else ():
        if split not in names:
            others = " and ".join(f"data.{FILE_KEYS[present]}" for present in names)
            raise UserError(f"{others} is set and data.{FILE_KEYS[split]} is not; set it too")
    for split, name in names.items():
        if not (root / name).is_file():
            raise UserError(
                f"data.{FILE_KEYS[split]} is {name!r}, and {root} has no such file; correct the name"
            )
    return names


def _wikitext_files(root: Path) -> dict[str, str]:
    """WikiText's files under their original names, by split."""
    stems = {"train": "wiki.train", "validation": "wiki.valid", "test": "wiki.test"}
    for form in ("raw", "tokens"):  # the latter has <unk> in it
        names = {split: f"{stem}.{form}" for split, stem in stems.items()}
        present = {split: name for split, name in names.items() if (root / name).is_file()}
        if "train" in present and "validation" in present:
            return present
    wanted = " and ".join(f"wiki.{split}.raw (or .tokens)" for split in ("train", "valid"))
    raise UserError(f"{root} has no {wanted}; name other files with data.train_file and data.validation_file")


def _read_lines(path: Path) -> list[str]:
    try:
        content = read_regular(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the file") from error
    zero = content.find(b"\0")
    if zero >= 0:
        raise UserError(f"{path} is not text: byte {zero} is zero; name a text file in UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: see byte {error.start}; convert it to UTF-8") from error
    # Not splitlines(), which also splits at form feeds and other characters that belong to a text.
    return _nonblank(text.replace("\r\n", "\n").split("\n"))


def _read_hub(path: str | None) -> tuple[dict[str, list[str]], str]:
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "data.source=hub needs the `datasets` library: `pip install arsbench[hub]`"
        ) from error
    name = path or HUB_DATASET
    try:
        dataset = datasets.load_dataset(name, HUB_CONFIGURATION)
        splits = {
            split: _nonblank(text.rstrip("\n") for text in dataset[split]["text"]) for split in FILE_KEYS
        }
    except Exception as error:  # the library and its transports raise many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"cannot load {HUB_CONFIGURATION} of {name} from the hub ({reason}); "
            f"check the network, or set {ENVIRONMENT_VARIABLE} to a directory with WikiText-2's files"
        ) from error
    return splits, f"{name}, {HUB_CONFIGURATION}, through the datasets library"


def _nonblank(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.strip()]
