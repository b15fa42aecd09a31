"""The compiled module: how it is built, found, and made to use less of the machine than there is."""

import importlib.util
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import setuptools

from arsbench import _native, ops

ROOT = Path(__file__).parents[1]
OP_TESTS = sorted(str(path) for path in (ROOT / "tests" / "ops").glob("test_*.py"))
LEVELS = ["baseline", "avx2", "avx512"]

native_only = pytest.mark.skipif(
    not _native.build_info()["native"], reason="arsbench was installed without its compiled module"
)


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@native_only
def test_build_info_says_how_it_was_built():
    import arsbench

    info = _native.build_info()
    assert info["version"] == arsbench.__version__
    assert info["cpu_capability"] in LEVELS
    assert re.match(r"(gcc|clang) \d", info["compiler"])
    assert isinstance(info["bf16_products"], bool)
    if sys.platform == "linux":
        assert info["openmp"]


@native_only
def test_every_op_is_native():
    assert set(ops.backends("cpu").values()) == {"CPU kernel"}


def test_an_op_without_a_kernel_says_so():
    assert not _native.has_kernel("newton_schulz", "xpu")
    assert not _native.has_kernel("no_such_op", "cpu")


@native_only
def test_calls_that_a_cuda_kernel_handed_on_are_told(monkeypatch):
    handed_on = {"newton_schulz": "float64; float16", "rope_attention_backward": "this head dimension"}
    monkeypatch.setattr(ops, "fallbacks", lambda: handed_on)
    monkeypatch.setattr(ops, "has_kernel", lambda op, device: not op.startswith("linear_backward"))
    cuda = ops.backends("cuda")
    assert cuda["newton_schulz"] == "CUDA kernel, but the reference of newton_schulz for float64; float16"
    assert cuda["rope_attention"] == (
        "CUDA kernel, but the reference of rope_attention_backward for this head dimension"
    )
    assert cuda["linear_cross_entropy"] == "CUDA kernel"
    assert cuda["linear"] == "reference"
    assert set(ops.backends("cpu").values()) == {"CPU kernel", "reference"}


@native_only
def test_nothing_is_handed_on_here():
    assert _native.fallbacks() == {}


def test_native_can_be_switched_off_at_run_time():
    code = """
import torch
from arsbench import ops
assert ops.build_info() == {"native": False}
assert set(ops.backends("cpu").values()) == {"reference"}
print(ops.newton_schulz(torch.ones(2, 3)).shape)
"""
    result = run(code, ARSBENCH_NATIVE="0")
    assert result.stdout == "torch.Size([2, 3])\n", result.stderr


def test_a_module_that_does_not_load_is_reported(monkeypatch):
    def fail(name):
        raise ImportError("undefined symbol: of_another_torch")

    monkeypatch.delenv("ARSBENCH_NATIVE", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(_native.importlib, "import_module", fail)
    with pytest.warns(RuntimeWarning, match=r"of_another_torch.*reinstall"):
        assert _native._load() is None


# The module reads these variables once, so that every choice needs a process of its own.
@native_only
@pytest.mark.parametrize(
    "choice", [*({"ARSBENCH_CPU": level} for level in LEVELS[:2]), {"ARSBENCH_BF16_PRODUCTS": "1"}], ids=str
)
def test_parity_holds_for_every_choice(choice):
    reply = run("from arsbench import ops; print(ops.build_info())", **choice)
    if "up to" in reply.stderr:
        pytest.skip("this machine's vectors are not so wide")
    assert next(iter(choice.values())) in reply.stdout.replace("True", "1")
    chosen = ["-k", "parity and not permuted and not strided", *OP_TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | choice, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert "skipped" not in result.stdout


def test_references_pass_the_tests_of_what_they_stand_for():
    chosen = ["-k", "equals_torch or equals_the_textbook or plain_pytorchs or chunk", *OP_TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"ARSBENCH_NATIVE": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-3000:]


@native_only
@pytest.mark.parametrize("name", ["ARSBENCH_CPU", "ARSBENCH_BF16_PRODUCTS"])
def test_an_unknown_choice_is_refused(name):
    result = run("from arsbench import ops; ops.build_info()", **{name: "fastest"})
    assert result.returncode == 1
    assert re.search(rf'RuntimeError: {name} .*"fastest"', result.stderr)


# What follows is about setup.py and CMakeLists.txt.


@pytest.fixture
def build(monkeypatch):
    """setup.py as a module, without building anything."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: None)
    monkeypatch.setenv("ARSBENCH_NATIVE", "0")
    spec = importlib.util.spec_from_file_location("arsbench_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("ARSBENCH_NATIVE")
    for name in ("ARSBENCH_CUDA", "CXX", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_cmake_and_setup_see_the_same_sources(build):
    patterns = re.search(
        r"ARSBENCH_SOURCES .*CONFIGURE_DEPENDS (.*)\)", (ROOT / "CMakeLists.txt").read_text()
    )
    seen_by_cmake = {str(path.relative_to(ROOT)) for p in patterns[1].split() for path in ROOT.glob(p)}
    assert seen_by_cmake == set(build.sources(cuda=False))
    every_source = {
        str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.c*") if path.suffix != ".cuh"
    }
    assert every_source == set(build.sources(cuda=True))


@pytest.mark.parametrize(
    ("choice", "version", "home", "expected"),
    [
        ("auto", None, None, False),
        ("auto", "13.0", None, False),
        ("auto", None, "/cuda", False),
        ("auto", "13.0", "/cuda", True),
        ("0", "13.0", "/cuda", False),
        ("1", "13.0", "/cuda", True),
    ],
)
def test_cuda_is_decided_without_a_gpu(build, monkeypatch, choice, version, home, expected):
    monkeypatch.setenv("ARSBENCH_CUDA", choice)
    with warnings.catch_warnings(record=True) as seen:
        assert build.wants_cuda(version, home) is expected
    # A torch with CUDA and no toolkit to go with it: somebody may have expected kernels.
    expects_more = choice == "auto" and version is not None and home is None
    assert [str(w.message).count("no CUDA toolkit") for w in seen] == [1] * expects_more


@pytest.mark.parametrize("answers", [True, False])
def test_a_toolkit_is_where_its_compiler_says(build, tmp_path, answers):
    nvcc, toolkit = tmp_path / "bin" / "nvcc", tmp_path / "cuda-13"
    nvcc.parent.mkdir()
    toolkit.mkdir()
    nvcc.write_text(f"#!/bin/sh\necho '#$ TOP={toolkit}/bin/..' >&2" if answers else "#!/bin/sh\nexit 1")
    nvcc.chmod(0o755)
    (toolkit / "bin").mkdir()
    assert build.toolkit_home(str(tmp_path)) == str(toolkit if answers else tmp_path)


def test_headers_that_a_toolkit_lacks_are_looked_for_last(build, tmp_path):
    headers = tmp_path / "nvidia" / "cu13" / "include"
    headers.mkdir(parents=True)
    assert build.toolkit_headers(tmp_path / "torch") == ["-idirafter", str(headers)]
    assert build.toolkit_headers(tmp_path / "nowhere" / "torch") == []


@pytest.mark.parametrize(
    ("choice", "version", "home", "words"),
    [
        ("1", None, "/cuda", "torch has no CUDA"),
        ("1", "13.0", None, "no CUDA toolkit"),
        ("yes", "13.0", "/cuda", "auto, 0 or 1, not 'yes'"),
    ],
)
def test_cuda_that_cannot_be_is_refused_in_a_sentence(build, monkeypatch, choice, version, home, words):
    monkeypatch.setenv("ARSBENCH_CUDA", choice)
    with pytest.raises(SystemExit, match=words):
        build.wants_cuda(version, home)


@pytest.mark.parametrize(
    ("known", "expected"),
    [("80 90 100 120", "8.0;9.0;10.0+PTX"), ("70 80 90", "8.0;9.0+PTX"), ("90 100", "9.0;10.0+PTX")],
)
def test_default_architectures_are_those_the_toolkit_knows(build, tmp_path, known, expected):
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\nprintf 'compute_%s\\n' " + known)
    nvcc.chmod(0o755)
    assert build.default_architectures(str(tmp_path)) == expected


def test_without_a_compiler_the_reference_ops_are_installed(build, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler"):
        assert build.native() == {}


def test_without_torch_the_build_says_what_to_do(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match="--no-build-isolation"):
        build.native()


def test_the_build_keeps_to_instructions_that_every_machine_has(build):
    [extension] = build.native()["ext_modules"]
    flags = [flag for flags in extension.extra_compile_args.values() for flag in flags]
    assert not [
        flag for flag in flags if flag.startswith(("-march", "-mcpu", "-mavx", "-std", "-ffast-math"))
    ]
