"""The compiled module: its build, its loading, and settings that restrict what it uses of the machine."""

import importlib.util
import os
import re
import subprocess
import sys
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


def test_an_op_without_a_kernel_is_reported():
    assert not _native.has_kernel("newton_schulz", "xpu")
    assert not _native.has_kernel("no_such_op", "cpu")


@native_only
def test_fallbacks_of_a_cuda_kernel_are_reported(monkeypatch):
    fallbacks = {"newton_schulz": "float64; float16", "rope_attention_backward": "this head dimension"}
    monkeypatch.setattr(ops, "fallbacks", lambda: fallbacks)
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
def test_no_fallback_happens_here():
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


# The module reads these variables once, so every choice needs a separate process.
@native_only
@pytest.mark.parametrize(
    "choice",
    [
        *({"ARSBENCH_CPU": level} for level in LEVELS[:2]),
        {"ARSBENCH_BF16_PRODUCTS": "1"},
        *(
            pytest.param({"ARSBENCH_PRODUCTS": library}, marks=pytest.mark.slow)
            for library in ("panels", "mkl", "onednn")
        ),
    ],
    ids=str,
)
def test_parity_holds_for_every_choice(choice):
    reply = run("from arsbench import ops; print(ops.build_info())", **choice)
    if "up to" in reply.stderr:
        pytest.skip("this machine lacks the vector level")
    if reply.stdout.strip() == str(ops.build_info()):
        pytest.skip("this machine's default; tests/ops run with it")
    assert next(iter(choice.values())) in reply.stdout.replace("True", "1")
    dtypes = "bfloat16 and" if "ARSBENCH_BF16_PRODUCTS" in choice else ""
    chosen = ["-k", f"parity and {dtypes} not permuted and not strided", *OP_TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | choice, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert "skipped" not in result.stdout


@native_only
def test_products_by_panels_do_not_depend_on_threads():
    code = """
import torch
from arsbench import ops
torch.manual_seed(0)
x, weight, grad = torch.randn(300, 700), torch.randn(90, 700), torch.randn(300, 90)
results = []
for threads in (1, 2, 3):
    torch.set_num_threads(threads)
    for dtype in (torch.float32, torch.bfloat16):
        inputs = [t.to(dtype) for t in (x, weight, grad)]
        results += [ops.linear(*inputs[:2]), *torch.ops.arsbench.linear_backward(inputs[2], *inputs[:2])]
    results.append(ops.newton_schulz(weight))
count = len(results) // 3
assert all(torch.equal(a, b) for a, b in zip(results[:count] * 2, results[count:], strict=True))
"""
    result = run(code, ARSBENCH_PRODUCTS="panels", OMP_NUM_THREADS="3")
    assert result.returncode == 0, result.stderr


@native_only
@pytest.mark.parametrize(
    ("library", "operator"), [("panels", ""), ("mkl", "aten::mm"), ("onednn", "mkldnn::_linear_pointwise")]
)
def test_the_selected_library_multiplies(library, operator):
    code = """
import torch
from arsbench import ops
with torch.no_grad(), torch.profiler.profile() as profile:
    ops.linear(torch.ones(40, 30), torch.ones(20, 30))
called = {event.key for event in profile.key_averages()}
print(*called & {"aten::mm", "aten::addmm", "mkldnn::_linear_pointwise"})
"""
    result = run(code, ARSBENCH_PRODUCTS=library)
    assert result.stdout.strip() == operator, result.stderr


def test_references_pass_the_tests_of_the_kernels():
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
@pytest.mark.parametrize("name", ["ARSBENCH_CPU", "ARSBENCH_BF16_PRODUCTS", "ARSBENCH_PRODUCTS"])
def test_an_unknown_choice_is_refused(name):
    result = run("from arsbench import ops; ops.build_info()", **{name: "fastest"})
    assert result.returncode == 1
    assert re.search(rf'RuntimeError: {name} .*"fastest"', result.stderr)


# ---- setup.py and CMakeLists.txt


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
        monkeypatch.setenv(name, "")  # so that it is unset again after the test
        monkeypatch.delenv(name)
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


def nvcc_for(architectures, top=""):
    """A script that answers like nvcc; `top` is the toolkit's directory as nvcc reports it."""
    return f"""#!/bin/sh
case "$1" in
--list-gpu-arch) printf 'compute_%s\\n' {architectures} ;;
--dryrun) echo '#$ TOP={top}' >&2 ;;
esac
"""


@pytest.fixture
def toolkit(tmp_path):
    """`toolkit(script)`: a CUDA toolkit with this nvcc; None: without nvcc, as in CUDA runtime images."""

    def make(script):
        nvcc = tmp_path / "cuda" / "bin" / "nvcc"
        nvcc.parent.mkdir(parents=True)
        if script is not None:
            nvcc.write_text(script)
            nvcc.chmod(0o755)
        return str(tmp_path / "cuda")

    return make


@pytest.mark.parametrize(
    ("choice", "version", "has_toolkit", "expected"),
    [
        ("auto", None, False, False),
        ("auto", None, True, False),
        ("auto", "13.0", True, True),
        ("0", "13.0", True, False),
        ("1", "13.0", True, True),
    ],
)
def test_cuda_is_decided_without_a_gpu(
    build, toolkit, monkeypatch, recwarn, choice, version, has_toolkit, expected
):
    monkeypatch.setenv("ARSBENCH_CUDA", choice)
    home = toolkit(nvcc_for("80 90")) if has_toolkit else None
    assert build.cuda_home(version, home) == (home if expected else None)
    assert not recwarn


UNUSABLE = {
    "no nvcc": (None, "does not run: No such file or directory"),
    "broken interpreter": ("#!/no/such/interpreter\n", "does not run: No such file or directory"),
    "failing": ("#!/bin/sh\necho libcudart is missing >&2\nexit 3", "exit code 3: libcudart is missing"),
    "failing silently": ("#!/bin/sh\nexit 1", "exit code 1: no message"),
    "no architecture": ("#!/bin/sh\n", "supports none of the architectures 8.0, 9.0, 10.0"),
    "other architectures": (nvcc_for("50 75"), "supports none of the architectures"),
}


@pytest.mark.parametrize(("nvcc", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_toolkit_whose_nvcc_does_not_run_is_unusable(build, toolkit, monkeypatch, nvcc, words):
    home = toolkit(nvcc)
    with pytest.warns(UserWarning, match=f"{words}.*CPU kernels only") as warnings:
        assert build.cuda_home("13.0", home) is None
    assert len(warnings) == 1
    assert "\n" not in str(warnings[0].message)
    assert "TORCH_CUDA_ARCH_LIST" not in os.environ
    monkeypatch.setenv("ARSBENCH_CUDA", "1")
    with pytest.raises(SystemExit, match=f"^ARSBENCH_CUDA=1, but .*{words}"):
        build.cuda_home("13.0", home)


def test_a_toolkit_without_nvcc_builds_the_cpu_kernels(build, toolkit, monkeypatch):
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.utils.cpp_extension.CUDA_HOME", toolkit(None))
    with pytest.warns(UserWarning, match="CPU kernels only"):
        [extension] = build.native()["ext_modules"]
    assert sorted(extension.sources) == build.sources(cuda=False)


def test_architectures_that_the_user_names_are_kept(build, toolkit, monkeypatch):
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "7.5")
    home = toolkit(nvcc_for("75"))
    assert build.cuda_home("13.0", home) == home
    assert os.environ["TORCH_CUDA_ARCH_LIST"] == "7.5"


def test_the_toolkit_is_where_nvcc_says(build, toolkit, tmp_path):
    (tmp_path / "cuda-13" / "bin").mkdir(parents=True)
    home = toolkit(nvcc_for("90", top=tmp_path / "cuda-13" / "bin" / ".."))
    assert build.cuda_home("13.0", home) == str(tmp_path / "cuda-13")


def test_headers_of_the_toolkit_come_first(build, tmp_path):
    headers = tmp_path / "nvidia" / "cu13" / "include"
    headers.mkdir(parents=True)
    assert build.toolkit_headers(tmp_path / "torch") == ["-idirafter", str(headers)]
    assert build.toolkit_headers(tmp_path / "nowhere" / "torch") == []


@pytest.mark.parametrize(
    ("choice", "version", "words"),
    [
        ("1", None, "the installed torch has no CUDA"),
        ("1", "13.0", "no CUDA toolkit was detected"),
        ("yes", "13.0", "ARSBENCH_CUDA is 'yes'; it must be auto, 0 or 1"),
    ],
)
def test_cuda_that_cannot_be_built_is_refused(build, monkeypatch, choice, version, words):
    monkeypatch.setenv("ARSBENCH_CUDA", choice)
    with pytest.raises(SystemExit, match=words):
        build.cuda_home(version, None)


def test_torch_with_cuda_and_no_toolkit_is_warned_about(build):
    with pytest.warns(UserWarning, match="no CUDA toolkit was detected.*CPU kernels only"):
        assert build.cuda_home("13.0", None) is None


@pytest.mark.parametrize(
    ("supported", "expected"),
    [("80 90 100 120", "8.0;9.0;10.0+PTX"), ("70 80 90", "8.0;9.0+PTX"), ("90 90a 100", "9.0;10.0+PTX")],
)
def test_default_architectures_are_those_that_nvcc_supports(build, toolkit, supported, expected):
    assert build.cuda_home("13.0", toolkit(nvcc_for(supported)))
    assert os.environ["TORCH_CUDA_ARCH_LIST"] == expected


def test_a_source_distribution_contains_every_file_of_csrc(build):
    [extension] = build.native()["ext_modules"]
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    assert set(extension.depends) == files


def test_without_a_compiler_the_reference_ops_are_installed(build, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match=r"No C\+\+ compiler"):
        assert build.native() == {}


def test_without_torch_the_build_says_what_to_do(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match="--no-build-isolation"):
        build.native()


def test_the_build_uses_only_instructions_of_every_machine(build):
    [extension] = build.native()["ext_modules"]
    flags = [flag for flags in extension.extra_compile_args.values() for flag in flags]
    assert not [
        flag for flag in flags if flag.startswith(("-march", "-mcpu", "-mavx", "-std", "-ffast-math"))
    ]
