"""Builds arsbench._C, the compiled part; everything else about the package is in pyproject.toml.

Environment:
    ARSBENCH_NATIVE=0          no compiled part: the reference ops run instead
    ARSBENCH_CUDA=auto|0|1     CUDA kernels: if the installed torch has CUDA and a toolkit is found (auto, the
                               default), never, or always
    TORCH_CUDA_ARCH_LIST       GPU architectures; by default those of 8.0, 9.0 and 10.0 that the toolkit knows
"""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent
# Vectors wider than the baseline's are chosen at run time (csrc/common/vector_level.h): no -march here.
# The two -fno flags let square roots and selections vectorise; NaN and infinity keep their meaning.
CXX_FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-Wall"]


def sources(cuda: bool) -> list[str]:
    """The C++ and CUDA files of the extension; CMakeLists.txt has the same patterns."""
    patterns = ["bindings.cpp", "*/*_cpu.cpp", *(["*/*_cuda.cu"] if cuda else [])]
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in (ROOT / "csrc").glob(pattern))


def import_torch():
    try:
        import torch
    except ImportError:
        sys.exit(
            "arsbench is compiled against the torch that will load it: install torch first, then run "
            "`pip install --no-build-isolation .` (or set ARSBENCH_NATIVE=0 to go without compiled kernels)."
        )
    return torch


def wants_cuda(version: str | None, home: str | None) -> bool:
    """Decide from ARSBENCH_CUDA, torch's CUDA version and the toolkit's directory; builds need no GPU."""
    choice = os.environ.get("ARSBENCH_CUDA", "auto")
    if choice not in ("auto", "0", "1"):
        sys.exit(f"ARSBENCH_CUDA must be auto, 0 or 1, not {choice!r}.")
    if choice == "1" and version is None:
        sys.exit("ARSBENCH_CUDA=1, but the installed torch has no CUDA: install a CUDA build of torch.")
    if choice == "1" and home is None:
        sys.exit("ARSBENCH_CUDA=1, but no CUDA toolkit is found: install one or set CUDA_HOME to it.")
    if choice == "auto" and version is not None and home is None:
        warnings.warn(
            "the installed torch has CUDA, but no CUDA toolkit is found (CUDA_HOME): arsbench is installed "
            "with kernels for the CPU only and runs the slower reference ops on a GPU.",
            stacklevel=1,
        )
    return choice != "0" and version is not None and home is not None


def toolkit_home(guess: str) -> str:
    """The toolkit's directory as its nvcc knows it: that on the PATH may be a script in /usr/local/bin."""
    command = [Path(guess, "bin", "nvcc"), "--dryrun", "-x", "cu", os.devnull]
    answer = subprocess.run(command, capture_output=True, text=True).stderr
    top = re.search(r"^#\$ TOP=(.+)$", answer, re.MULTILINE)
    return os.path.realpath(top.group(1).strip()) if top else guess


def toolkit_headers(torch_directory: Path) -> list[str]:
    """Flags for headers of the CUDA libraries that torch was built with, for those that a toolkit lacks.

    torch's headers include cuSPARSE's, which a toolkit need not have; torch's own packages bring them.
    """
    found = sorted(torch_directory.parent.glob("nvidia/*/include"))
    return [flag for directory in found for flag in ("-idirafter", str(directory))]


def default_architectures(home: str) -> str:
    """Those of 8.0, 9.0 and 10.0 that nvcc compiles for, the last one also as PTX for later GPUs."""
    nvcc = [Path(home, "bin", "nvcc"), "--list-gpu-arch"]
    answer = subprocess.run(nvcc, capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"compute_(\d+)", answer))
    return ";".join(arch for arch in ("8.0", "9.0", "10.0") if arch.replace(".", "") in known) + "+PTX"


def has_compiler() -> bool:
    candidates = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return any(shutil.which(candidate) for candidate in candidates)


def openmp_flags(torch_directory: Path) -> tuple[list[str], list[str]]:
    """For compiler and linker. at::parallel_for is a header: without OpenMP it runs on one thread."""
    if sys.platform != "darwin":
        return ["-fopenmp"], ["-fopenmp"]
    # Apple's compiler has no OpenMP library of its own; torch brings both header and library.
    if (torch_directory / "include" / "omp.h").exists():
        return ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
    return [], []


def native() -> dict:
    """The arguments of setup() that build the compiled part; none without a wish or a compiler for it."""
    if os.environ.get("ARSBENCH_NATIVE") == "0":
        return {}
    torch = import_torch()
    from torch.utils import cpp_extension

    cuda = wants_cuda(torch.version.cuda, cpp_extension.CUDA_HOME)
    if not has_compiler():
        warnings.warn(
            "no C++ compiler is found (c++, g++, clang++ or $CXX): arsbench is installed without compiled "
            "kernels and runs the slower reference ops.",
            stacklevel=1,
        )
        return {}
    if cuda:
        cpp_extension.CUDA_HOME = toolkit_home(cpp_extension.CUDA_HOME)
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", default_architectures(cpp_extension.CUDA_HOME))
    torch_directory = Path(torch.__file__).parent
    headers = toolkit_headers(torch_directory) if cuda else []
    compile_openmp, link_openmp = openmp_flags(torch_directory)
    version = re.search(r'__version__ = "(.+)"', (ROOT / "arsbench/__init__.py").read_text()).group(1)
    extension = (cpp_extension.CUDAExtension if cuda else cpp_extension.CppExtension)(
        "arsbench._C",
        sources(cuda),
        define_macros=[("ARSBENCH_VERSION", version), *([("ARSBENCH_WITH_CUDA", None)] if cuda else [])],
        extra_compile_args={
            "cxx": CXX_FLAGS + compile_openmp,
            "nvcc": ["-O3", *(f"-Xcompiler={flag}" for flag in headers)],
        },
        extra_link_args=link_openmp,
    )
    return {"ext_modules": [extension], "cmdclass": {"build_ext": cpp_extension.BuildExtension}}


# "cli" is installed as arsbench_cli: a top-level module called cli collides with other people's.
setup(
    # Namespaces, since to setuptools a folder of nothing but data is one, too.
    packages=[
        *find_namespace_packages(include=["arsbench", "arsbench.*"], exclude=["*.__pycache__"]),
        "arsbench_cli",
    ],
    package_dir={"arsbench_cli": "cli"},
    package_data={
        "arsbench.config.presets": ["*.toml"],
        "arsbench.config.suites": ["*.toml"],
        "arsbench.pages.templates": ["*"],
    },
    **native(),
)
