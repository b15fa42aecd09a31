"""The least memory that training needs, and the memory that is available.

The estimate counts what every training holds at once, and not what depends on kernels and allocators. A
configuration is refused only if it cannot fit, before anything is allocated for it.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from arsbench.config import Config
from arsbench.config.hyperparameters import is_third_party
from arsbench.config.schema import ModelConfig, OptimizerConfig
from arsbench.data.tokenizer import SMALLEST_VOCABULARY
from arsbench.errors import UserError

# Bytes for one pair of mod_addition while the pairs are split: three inputs and a target in int64, twice,
# and its place in the order.
PAIR = 2 * 4 * 8 + 8


def check_memory(config: Config, device: torch.device, classes: int | None = None) -> None:
    """Refuse a configuration whose training does not fit into memory.

    Args:
        config: the run's configuration.
        device: where it would train.
        classes: entries of the model's vocabulary; None before the task is created.

    Raises:
        UserError: says how much memory is needed, what needs most of it, and how much is available.
    """
    host = available_bytes()
    if config.model.type == "one_layer":
        if classes is None:
            _require({"the p² pairs of data.modulus": PAIR * config.data.modulus**2}, host, "this machine")
        classes = config.data.modulus + 1
    sizes = training_bytes(config, classes or SMALLEST_VOCABULARY)
    gpu = device.type == "cuda"
    _require(sizes, *((torch.cuda.mem_get_info(device)[0], "the GPU") if gpu else (host, "this machine")))


def training_bytes(config: Config, vocabulary_size: int) -> dict[str, int]:
    """The least memory that training holds at once, in bytes.

    Args:
        config: the run's configuration.
        vocabulary_size: tokens that the model reads.

    Returns:
        bytes by use; each name lists the keys that decide it.
    """
    model, data = config.model, config.data
    parameters = parameter_count(model, vocabulary_size)
    copies = 2 + _state_copies(config.optimizer)
    element = 4 if config.train.precision == "fp32" else 2
    if model.type == "one_layer":
        rows = min(data.batch_size, data.modulus**2)
        kept = {
            "a batch (data.batch_size, model.embedding_size)": rows * model.embedding_size,
            "attention scores (data.modulus, model.num_heads)": vocabulary_size**2 * model.num_heads,
        }
    else:
        # The input of each block is kept for the backward pass.
        batch = "a batch (data.batch_size, model.sequence_length, model.embedding_size, model.num_layers)"
        kept = {batch: data.batch_size * model.sequence_length * model.embedding_size * model.num_layers}
    weights = f"weights, gradients and optimizer state of {parameters:,} parameters (section model)"
    return {weights: 4 * copies * parameters} | {name: element * count for name, count in kept.items()}


def parameter_count(model: ModelConfig, vocabulary_size: int) -> int:
    """The number of a model's parameters; a tied head is counted once."""
    E, H, D, inner = model.embedding_size, model.num_heads, model.head_dim, model.intermediate_size
    embedding = vocabulary_size * E
    if model.type == "one_layer":
        return 2 * embedding + model.sequence_length * E + 4 * E * H * D + 2 * E * inner + inner + E
    attention = 2 * E * D * (H + (model.num_kv_heads or H)) + 2 * D
    block = attention + 3 * E * inner + 2 * E
    return embedding * (1 if model.tie_word_embeddings else 2) + model.num_layers * block + E


def available_bytes() -> int | None:
    """Memory available to this process in bytes, swap included; None if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return None
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    if "MemAvailable" not in kib:
        return None
    return min([1024 * (kib["MemAvailable"] + kib.get("SwapFree", 0)), *group_limits()])


def group_limits(root: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Limits, in bytes, of the control groups that this process is in.

    Args:
        root: where the groups are mounted.
        member: the file that lists the groups of this process.
    """
    folders = [root, root / "memory"]
    try:
        for line in member.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):  # version 2, version 1
                group = root / controllers / path.removeprefix("/")
                folders += [folder for folder in (group, *group.parents) if root in folder.parents]
    except OSError:
        pass  # not Linux
    files = [folder / name for folder in folders for name in ("memory.max", "memory.limit_in_bytes")]
    limits = []
    for file in files:
        try:
            limits.append(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return limits


def _state_copies(optimizer: OptimizerConfig) -> int:
    """The least number of values that an optimizer keeps for each parameter."""
    if is_third_party({"name": optimizer.name}):
        return 0
    if optimizer.name == "Muon":
        return 1
    # A sync step of ARS keeps the weights while it moves them.
    return 3 if optimizer.name == "ARS" and optimizer.k > 0 else 2


def _require(sizes: dict[str, int], available: int | None, place: str) -> None:
    needed = sum(sizes.values())
    if available is not None and needed > available:
        largest = max(sizes, key=sizes.__getitem__)
        raise UserError(
            f"training needs at least {_in_units(needed)} of memory, most of it for {largest}, and {place} "
            f"has {_in_units(available)} available; choose smaller sizes"
        )


def _in_units(size: int) -> str:
    exponent = 4 if size >= 2**40 else 3 if size >= 2**30 else 2
    return f"{size / 1024**exponent:,.1f} {' KMGT'[exponent]}iB"
