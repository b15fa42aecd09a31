"""Check an installation with CUDA kernels; no GPU is needed.

    python tests/cuda/check_build.py

Prints what was checked, or exits with 1 and names the failure.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from arsbench import _native, ops

# The ops that have CUDA kernels.
FAMILIES = ("rope_attention", "newton_schulz", "linear_cross_entropy", "ars_moments")
OPS = tuple(op for family in FAMILIES for op in ops._OPS[family])


def require(condition: bool, failure: str) -> None:
    if not condition:
        sys.exit(f"FAILED: {failure}")


def shapes_on_cuda() -> dict[str, tuple[torch.Size, ...]]:
    """The shapes of every op's results for fake tensors on a GPU."""
    with FakeTensorMode(), torch.device("cuda"), torch.no_grad():
        q, k = torch.empty(2, 17, 4, 64), torch.empty(2, 17, 2, 64)
        weight = torch.empty(64)
        matrices = [torch.empty(16, 24), torch.empty(40)]
        moments = [torch.empty_like(x) for x in matrices]
        options = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 1}
        hidden, head = torch.empty(34, 32), torch.empty(1000, 32)
        calls: dict[str, Callable[[], object]] = {
            "rope_attention": lambda: ops.rope_attention(q, k, k, weight, weight, 1e4),
            "newton_schulz": lambda: ops.newton_schulz(torch.empty(3, 16, 24), 5),
            "linear_cross_entropy": lambda: (
                ops.linear_cross_entropy(hidden, head, torch.zeros(34, dtype=torch.int64)).token_loss
            ),
            "ars_dots": lambda: ops.ars_dots(matrices, matrices),
            "ars_whiten": lambda: ops.ars_whiten(matrices, moments, moments, **options)[1],
        }
        results = {}
        for name, call in calls.items():
            result = call()
            require(isinstance(result, Tensor) and result.device.type == "cuda", f"{name} leaves the GPU")
            results[name] = result.shape
    return results


def main() -> None:
    info = _native.build_info()
    require(bool(info.get("cuda")), f"the compiled module has no CUDA kernels: {info}")
    missing = [op for op in OPS if not _native.has_kernel(op, "cuda")]
    require(not missing, f"no CUDA kernel for {', '.join(missing)}")
    print(f"built for torch {info['torch']}; the dispatcher has a CUDA kernel for each of {len(OPS)} ops")
    expected = {
        "rope_attention": (2, 17, 4, 64),
        "newton_schulz": (3, 16, 24),
        "linear_cross_entropy": (34,),
        "ars_dots": (2, 3),
        "ars_whiten": (2,),
    }
    shapes = {name: tuple(shape) for name, shape in shapes_on_cuda().items()}
    require(shapes == expected, f"fake tensors on the GPU give {shapes} instead of {expected}")
    print("fake tensors on a GPU give results of the right shapes")
    if torch.cuda.is_available():
        print("this machine has a GPU: run `make gpu-test` next")
        return
    script = "from arsbench_cli.main import main; main()"
    command = [sys.executable, "-c", script, "train", "seed", "--set", "experiment.device=cuda"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    sentence = done.stderr.strip()
    require(
        done.returncode == 2 and sentence.count("\n") == 0 and "GPU" in sentence, f"without a GPU: {sentence}"
    )
    print(f"without a GPU: {sentence}")


if __name__ == "__main__":
    main()
