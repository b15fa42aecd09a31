"""Builds the compiled module arsbench._C; everything else about the package is in pyproject.toml.

Environment:
    ARSBENCH_NATIVE=0          build no compiled module; the reference ops run instead
    ARSBENCH_CUDA=auto|0|1     auto (default): build the CUDA kernels if the installed torch has CUDA and a
                               usable toolkit (its nvcc runs) is found; 0: do not; 1: build them or fail
    TORCH_CUDA_ARCH_LIST       GPU architectures [default: those of 8.0, 9.0 and 10.0 that nvcc supports]
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
# No -march: kernels choose wide vectors at run time (csrc/common/vector_level.h).
# The two -fno flags allow vectorised square roots and selections; NaN and infinity keep their meaning.
CXX_FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-Wall"]
GPU_ARCHITECTURES = ("8.0", "9.0", "10.0")


class UnusableToolkitError(Exception):
    """CUDA kernels cannot be built; the message says why."""


def sources(cuda: bool) -> list[str]:
    """The extension's C++ and CUDA files; CMakeLists.txt uses the same patterns."""
    patterns = ["bindings.cpp", "*/*_cpu.cpp", *(["*/*_cuda.cu"] if cuda else [])]
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in (ROOT / "csrc").glob(pattern))


def import_torch():
    try:
        import torch
    except ImportError:
        sys.exit(
            "arsbench is compiled against the torch that will load it: install torch first, then run "
            "`pip install --no-build-isolation .`; ARSBENCH_NATIVE=0 installs it without compiled kernels."
        )
    return torch


def cuda_home(version: str | None, home: str | None) -> str | None:
    """The toolkit to build the CUDA kernels with; None: build the CPU kernels only. No GPU is needed.

    Args:
        version: the CUDA version of the installed torch; None: a CPU build.
        home: where torch finds a toolkit; None: nowhere.
    """
    choice = os.environ.get("ARSBENCH_CUDA", "auto")
    if choice not in ("auto", "0", "1"):
        sys.exit(f"ARSBENCH_CUDA is {choice!r}; it must be auto, 0 or 1.")
    if choice == "0" or (choice == "auto" and version is None):
        return None
    try:
        if version is None:
            raise UnusableToolkitError("the installed torch has no CUDA (install a CUDA build of torch)")
        return usable_toolkit(home)
    except UnusableToolkitError as error:
        if choice == "1":
            sys.exit(f"ARSBENCH_CUDA=1, but {error}.")
        warnings.warn(
            f"The installed torch has CUDA, but {error}: arsbench is built with CPU kernels only, and a GPU "
            "runs the slower reference ops.",
            stacklevel=1,
        )
        return None


def usable_toolkit(home: str | None) -> str:
    """The real directory of the toolkit in `home`; sets TORCH_CUDA_ARCH_LIST if it is unset.

    Raises:
        UnusableToolkitError: there is no toolkit, its nvcc does not run, or nvcc supports none of our
            architectures.
    """
    if home is None:
        raise UnusableToolkitError("no CUDA toolkit was detected (install one, or set CUDA_HOME to it)")
    supported = supported_architectures(home)
    if not os.environ.get("TORCH_CUDA_ARCH_LIST"):
        architectures = [arch for arch in GPU_ARCHITECTURES if arch in supported]
        if not architectures:
            raise UnusableToolkitError(
                f"nvcc in {home} supports none of the architectures {', '.join(GPU_ARCHITECTURES)} "
                "(install a newer toolkit, or set TORCH_CUDA_ARCH_LIST)"
            )
        # The driver compiles the PTX of the last architecture for later GPUs.
        os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(architectures) + "+PTX"
    return toolkit_home(home)


def supported_architectures(home: str) -> set[str]:
    """The compute capabilities that nvcc compiles for, such as 9.0.

    Raises:
        UnusableToolkitError: nvcc is missing or does not run.
    """
    nvcc = Path(home, "bin", "nvcc")
    advice = "install the toolkit's compiler, or set CUDA_HOME to a complete toolkit"
    try:
        answer = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True)
    except OSError as error:
        raise UnusableToolkitError(f"{nvcc} does not run: {error.strerror} ({advice})") from error
    if answer.returncode != 0:
        last_line = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise UnusableToolkitError(f"{nvcc} fails with exit code {answer.returncode}: {last_line} ({advice})")
    return {f"{major}.{minor}" for major, minor in re.findall(r"compute_(\d+)(\d)", answer.stdout)}


def toolkit_home(home: str) -> str:
    """The directory that nvcc itself reports: nvcc on the PATH may be a script in /usr/local/bin."""
    command = [Path(home, "bin", "nvcc"), "--dryrun", "-x", "cu", os.devnull]
    answer = subprocess.run(command, capture_output=True, text=True).stderr
    top = re.search(r"^#\$ TOP=(.+)$", answer, re.MULTILINE)
    return os.path.realpath(top.group(1).strip()) if top else home


def toolkit_headers(torch_directory: Path) -> list[str]:
    """Compiler flags for the headers of CUDA libraries that the toolkit may lack.

    torch's headers include those of cuSPARSE; the packages that a CUDA build of torch installs contain them.
    """
    directories = sorted(torch_directory.parent.glob("nvidia/*/include"))
    return [flag for directory in directories for flag in ("-idirafter", str(directory))]


def has_compiler() -> bool:
    candidates = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return any(shutil.which(candidate) for candidate in candidates)


def openmp_flags(torch_directory: Path) -> tuple[list[str], list[str]]:
    """Flags for compiler and linker. at::parallel_for is a header: without OpenMP it runs on one thread."""
    if sys.platform != "darwin":
        return ["-fopenmp"], ["-fopenmp"]
    # Apple's compiler comes without an OpenMP library; torch contains header and library.
    if (torch_directory / "include" / "omp.h").exists():
        return ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
    return [], []


def native() -> dict:
    """The arguments of setup() that build the compiled module, if any."""
    if os.environ.get("ARSBENCH_NATIVE") == "0":
        return {}
    torch = import_torch()
    from torch.utils import cpp_extension

    home = cuda_home(torch.version.cuda, cpp_extension.CUDA_HOME)
    cuda = home is not None
    if not has_compiler():
        warnings.warn(
            "No C++ compiler was detected (c++, g++, clang++ or $CXX): arsbench is installed without "
            "compiled kernels and runs the slower reference ops.",
            stacklevel=1,
        )
        return {}
    if cuda:
        cpp_extension.CUDA_HOME = home
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
        # Source distributions contain these files: a machine without CUDA must pack the CUDA sources too.
        depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.[ch]*")),
    )
    return {"ext_modules": [extension], "cmdclass": {"build_ext": cpp_extension.BuildExtension}}


# "cli" is installed as arsbench_cli: other packages have a top-level module called cli.
setup(
    # setuptools counts folders that contain only data files as namespace packages.
    packages=[
        *find_namespace_packages(include=["arsbench", "arsbench.*"], exclude=["*.__pycache__"]),
        "arsbench_cli",
    ],
    package_dir={"arsbench_cli": "cli"},
    package_data={
        "arsbench": ["py.typed"],
        "arsbench.config.presets": ["*.toml"],
        "arsbench.config.suites": ["*.toml"],
        "arsbench.pages.templates": ["*"],
        "arsbench.report.templates": ["*"],
        "arsbench.training": ["*.jinja"],
    },
    **native(),
)
