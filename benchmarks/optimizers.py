"""One optimizer step, without a model: arsbench against torch, pytorch_optimizer and heavyball.

On the parameters of GPT-2 small (124 M, 48 matrices) and of the configuration `seed` (39.6 M, 28 matrices).
All optimizers update the same parameters with the same gradients, and have their defaults. Muons take the
matrices and AdamW the other parameters, fused where it can be chosen; SOAP takes all. "ars-lazy" is ARS
without its sync steps. The error is that of a Muon's update against Newton-Schulz in float64 with Jordan's
coefficients, in Frobenius norm and up to scale, the largest of all matrices; heavyball has other
coefficients. Peers that are not installed are left out.

    python -m benchmarks.optimizers [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from arsbench import optim
from arsbench.config import load_config
from arsbench.ops import QUINTIC
from arsbench.ops.reference.newton_schulz import newton_schulz as reference
from benchmarks.floors import Shapes, parameter_shapes
from benchmarks.harness import Row, Run, common_options, compare, measure, peaks_of, print_peak, publish

# ARS takes its first step as a sync step and as many others as lazy ones: more than a benchmark takes.
LAZY_STEPS = 10_000
# One sync step of ARS, one step that allocates, and one that compiles.
WARM_UP_STEPS = 3


def gpt2_small() -> tuple[list[torch.Size], list[torch.Size]]:
    """Shapes of the matrices and of the other parameters of GPT-2 small (Radford et al., 2019)."""
    width, layers, vocabulary, positions = 768, 12, 50_257, 1024
    matrices = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)] * layers
    biases = [(3 * width,), (width,), (4 * width,), (width,), *[(width,)] * 4] * layers
    others = [(vocabulary, width), (positions, width), *biases, (width,), (width,)]
    return [torch.Size(shape) for shape in matrices], [torch.Size(shape) for shape in others]


MODELS: dict[str, Callable[[], tuple[Shapes, Shapes]]] = {
    "gpt2-small": gpt2_small,
    "seed": lambda: parameter_shapes(load_config("seed").model),
}
Parameters = list[nn.Parameter]


def _ours(optimizer: Callable[..., Any], matrices: Parameters, others: Parameters) -> Run:
    """A step of one of our optimizers."""
    groups = [{"params": matrices, "kind": "matrix"}, {"params": others, "kind": "adamw"}]
    built = optimizer(groups)
    loss = torch.zeros(())
    return lambda: built.step(lambda: loss)


def _both(muon: Callable[..., Any], matrices: Parameters, others: Parameters) -> Run:
    """A step of a Muon for matrices, and of torch's fused AdamW for the others."""
    optimizers = [muon(matrices), torch.optim.AdamW(others, fused=True)]
    return lambda: [optimizer.step() for optimizer in optimizers]


def _torch_adamw(matrices: Parameters, others: Parameters, **implementation: bool) -> Run:
    return torch.optim.AdamW(matrices + others, **implementation).step


def _pytorch_optimizer(name: str, matrices: Parameters, others: Parameters) -> Run:
    import pytorch_optimizer

    if name == "SOAP":
        return pytorch_optimizer.SOAP(matrices + others).step
    groups = [{"params": matrices, "use_muon": True}, {"params": others, "use_muon": False}]
    return pytorch_optimizer.Muon(groups).step


def _heavyball(matrices: Parameters, others: Parameters) -> Run:
    import heavyball

    return _both(heavyball.Muon, matrices, others)


OURS: dict[str, Callable[[Parameters, Parameters], Run]] = {
    "muon": partial(_ours, optim.Muon),
    "adarmsuon": partial(_ours, optim.AdaRMSuon),
    "ars-lazy": partial(_ours, partial(optim.ARS, k=LAZY_STEPS)),
    "adamw": lambda matrices, others: partial(optim.AdamW(matrices + others).step),
}
PEERS: dict[str, Callable[[Parameters, Parameters], Run]] = {
    "torch-muon": partial(_both, torch.optim.Muon),
    "torch-adamw-foreach": partial(_torch_adamw, foreach=True),
    "torch-adamw-fused": partial(_torch_adamw, fused=True),
    "pytorch_optimizer-muon": partial(_pytorch_optimizer, "Muon"),
    "pytorch_optimizer-soap": partial(_pytorch_optimizer, "SOAP"),
    "heavyball-muon": _heavyball,
}
MUONS = ("torch-muon", "pytorch_optimizer-muon", "heavyball-muon")
COMPARED = {
    "muon": (*MUONS, "pytorch_optimizer-soap"),
    "adarmsuon": (*MUONS, "pytorch_optimizer-soap"),
    "ars-lazy": (*MUONS, "pytorch_optimizer-soap"),
    "adamw": ("torch-adamw-foreach", "torch-adamw-fused"),
}


def installed(peer: str) -> bool:
    """Whether the package of a peer can be imported."""
    return importlib.util.find_spec(peer.partition("-")[0]) is not None


def contender(optimizer: str, matrices: Parameters, others: Parameters) -> Run:
    """A function that takes one step."""
    take = (OURS | PEERS)[optimizer](matrices, others)
    gradients = [parameter.grad for parameter in matrices + others]

    def step() -> None:
        for parameter, gradient in zip(matrices + others, gradients, strict=True):
            parameter.grad = gradient  # heavyball removes it
        take()

    return step


def model_parameters(model: str) -> tuple[Parameters, Parameters]:
    """The matrices and the other parameters of a model."""
    torch.manual_seed(0)
    matrices, others = (parameters(shapes, std=0.02) for shapes in MODELS[model]())
    return matrices, others


def parameters(shapes: Shapes, std: float) -> Parameters:
    """Random parameters with random gradients."""
    result = [nn.Parameter(torch.randn(shape) * std) for shape in shapes]
    for parameter in result:
        parameter.grad = torch.randn(parameter.shape) * 1e-3
    return result


def error(optimizer: str, shapes: Sequence[torch.Size]) -> float:
    """The error of a Muon's first update of matrices of these shapes."""
    torch.manual_seed(0)
    matrices = parameters(shapes, std=0)
    truths = [reference(matrix.grad.double(), 5, QUINTIC) for matrix in matrices]
    (OURS | PEERS)[optimizer](matrices, parameters([torch.Size((1,))], std=0))()
    return max(
        (normalized(-matrix.detach().double()) - normalized(truth)).norm().item()
        for matrix, truth in zip(matrices, truths, strict=True)
    )


def normalized(x: Tensor) -> Tensor:
    """x with Frobenius norm 1."""
    return x / x.norm()


def table(names: Iterable[str], seconds: dict[str, list[float]], peaks: dict[str, float]) -> list[Row]:
    """The rows of one model."""
    rows = []
    for name in names:
        model, optimizer = name.split()
        for peer in COMPARED.get(optimizer, ()):
            other = f"{model} {peer}"
            if other in seconds:
                both = (peaks[name], peaks[other])
                rows.append(compare(name, seconds[name], peer, seconds[other], both))
    return rows


@click.command()
@common_options()
@click.option("--peak", hidden=True, help="Only print this contender's peak memory in MB.")
def main(rounds: int, json_path: Path | None, peak: str | None) -> None:
    """Time arsbench and its peers, and print a table."""
    if peak is not None:
        model, optimizer = peak.split()
        print_peak(contender(optimizer, *model_parameters(model)), WARM_UP_STEPS)
        return
    left_out = [peer for peer in PEERS if not installed(peer)]
    if left_out:
        print(f"not installed, left out: {', '.join(left_out)} (pip install --group bench)")
    present = [name for name in OURS | PEERS if name not in left_out]
    rows: list[Row] = []
    errors = {}
    for model, shapes_of in MODELS.items():
        names = [f"{model} {optimizer}" for optimizer in present]
        drawn = model_parameters(model)
        steps = {f"{model} {optimizer}": contender(optimizer, *drawn) for optimizer in present}
        for step in steps.values():
            for _ in range(WARM_UP_STEPS):
                step()
        seconds, rates = measure(steps, rounds, minimum_seconds=0)
        del steps, drawn
        rows += table(names, seconds, peaks_of("benchmarks.optimizers", names))
        matrices = sorted(set(shapes_of()[0]))
        errors |= {f"{model} {name}": error(name, matrices) for name in ("muon", *MUONS) if name in present}
    publish(rows, rates, json_path, errors=errors)
    for name, value in errors.items():
        print(f"error of {name} against float64: {value:.2e}")


if __name__ == "__main__":
    main()
