import email.message
import hashlib
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from arsbench.data import pydocs
from arsbench.errors import UserError


@pytest.fixture(scope="module")
def splits():
    return pydocs.load_pydocs()


def test_amount_and_shares(splits):
    size = {name: sum(len(text.encode()) for text in texts) for name, texts in splits.items()}
    total = sum(size.values())
    assert 1_000_000 < total < 5_000_000
    assert 0.85 < size["train"] / total < 0.95
    assert min(size["validation"], size["test"]) > 50_000


def test_documents_are_clean_and_split_by_their_own_hash(splits):
    documents = [text for texts in splits.values() for text in texts]
    assert len(set(documents)) == len(documents)
    for name, texts in splits.items():
        for text in texts:
            bucket = int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) % 20
            assert name == ("validation" if bucket == 0 else "test" if bucket == 1 else "train")
            assert len(text) >= 40
            assert text == " ".join(text.split())


def test_topics_and_docstrings_of_every_kind_are_in(splits):
    documents = {text for texts in splits.values() for text in texts}
    for known in shutil, shutil.copytree, email.message.Message, email.message.Message.as_bytes:
        assert " ".join(known.__doc__.split()) in documents
    assert any(text.startswith('The "if" statement') for text in documents)


def library(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_what_is_read_and_in_what_order(tmp_path, monkeypatch):
    long = "is a docstring long enough to be read by somebody."
    library(
        tmp_path,
        {
            "json/__init__.py": f'"""B {long}"""',
            "abc.py": (
                f'"""A {long}"""\nclass C:\n  """A.C {long}"""\n'
                f'  async def f(self):\n    """A.C.f {long}"""\n'
                f'if True:\n  try:\n    pass\n  except E:\n    def g():\n      """A.g {long}"""\n  else:\n'
                f'    def h():\n      """A.h {long}"""\n      def i():\n        """tiny"""\n'
            ),
            "bz2.py": f'"""A {long}"""',  # a duplicate
            "cmd.py": b'"""\\ud800 lone surrogate, which UTF-8 cannot hold at all"""',
            "csv.py": b"\xff not Python",
            "json/tests/test_a.py": f'"""X {long}"""',
            "test/support.py": f'"""X {long}"""',
            "site-packages/requests.py": f'"""X {long}"""',
            "mine.py": f'"""X {long}"""',
        },
    )
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys.modules["pydoc_data.topics"], "topics", {"z": f"Z {long}", "y": f"Y\n\n  {long}"})
    rglob = Path.rglob  # a file system that lists files in another order
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: sorted(rglob(self, pattern), reverse=True))
    read = []

    def split_of(text):
        read.append(text)
        return ("train", "validation", "test")[len(read) % 3]

    monkeypatch.setattr(pydocs, "_split_of", split_of)
    pydocs.load_pydocs()
    assert [text.split()[0] for text in read] == ["Y", "Z", "A", "A.C", "A.C.f", "A.g", "A.h", "B"]


def test_python_without_documentation(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(UserError, match="comes without documentation"):
        pydocs.load_pydocs()
