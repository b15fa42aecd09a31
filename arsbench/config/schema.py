"""Every key of a configuration: type, default, limits and meaning; those of an optimizer in
`hyperparameters`.

A configuration of the reference report sets only some of the keys. The defaults of all others keep its
meaning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from arsbench.config.hyperparameters import Hyperparameters, is_third_party
from arsbench.config.keys import MOST_STEPS, WIDEST, key

_size = partial(key, minimum=1, maximum=WIDEST)
_steps = partial(key, minimum=1, maximum=MOST_STEPS)
_count = partial(key, minimum=1, maximum=10**6)


@dataclass
class ExperimentConfig:
    tasks: list[str] = key(
        ["wikitext2_line"],
        "the task, as a list of one name; a label in brackets is shown with every figure: "
        "`wikitext2_line (mini)`",
    )
    seed: int = key(42, "seed of initialisation, shuffling and random splits", minimum=0, below=2**63)
    device: str = key("auto", "`auto` uses a GPU if there is one", choices=("auto", "cpu", "cuda"))
    deterministic: bool = key(
        False, "allow only deterministic algorithms (`torch.use_deterministic_algorithms`)"
    )


@dataclass
class ModelConfig:
    type: str = key(
        "rope",
        "the model's architecture; `one_layer`: learned positions, attention and a ReLU MLP without norms, "
        "for `mod_addition`",
        choices=("rope", "one_layer"),
    )
    vocabulary_size: int = key(
        40479,
        "maximum vocabulary size of the tokenizer; the model uses the tokenizer's actual size",
        minimum=258,
        maximum=10**7,
    )
    embedding_size: int = _size(512, "width of the residual stream")
    sequence_length: int = _count(255, "input tokens per row")
    num_heads: int = _size(6, "query heads")
    num_layers: int = key(4, "transformer blocks", minimum=1, maximum=10_000)
    rope_theta: float = key(10000.0, "base of the rotary embedding", above=0)
    intermediate_size: int = _size(2048, "width inside the MLP")
    tie_word_embeddings: bool = key(True, "use the embedding's weight as the output head")
    num_kv_heads: int | None = _size(None, "key-value heads, a divisor of `num_heads` (default: `num_heads`)")
    head_dim: int = key(
        128,
        "width of one head, independent of `embedding_size / num_heads`; even for `rope`",
        minimum=2,
        maximum=WIDEST,
    )


@dataclass
class DataConfig:
    batch_size: int = _size(8, "rows per batch; an optimizer step uses `train.accumulate` batches")
    num_workers: int = key(
        0,
        "processes that load batches in advance; 0 is fast, since rows are memory-mapped",
        minimum=0,
        maximum=1000,
    )
    tokenizer_path: str = key(
        "./data/wikitext2_tokenizer.json",
        "the tokenizer's file: read if it exists, otherwise trained and written",
    )
    source: str = key(
        "auto",
        "source of the text; `auto`: the folder `ARSBENCH_WIKITEXT2` if set, otherwise the Hugging Face hub",
        choices=("auto", "hub", "files", "pydocs"),
    )
    path: str | None = key(None, "folder of the texts for `files` (default: `ARSBENCH_WIKITEXT2`)")
    train_file: str | None = key(
        None, "training text in that folder; if any of the three files is set, no other file is used"
    )
    validation_file: str | None = key(None, "validation text in that folder")
    test_file: str | None = key(None, "test text in that folder")
    modulus: int = key(113, "p of `mod_addition`, (x + y) mod p", minimum=2, maximum=10_000)
    train_fraction: float = key(
        0.3, "share of the p² pairs that `mod_addition` trains on; the seed chooses them", above=0, below=1
    )


@dataclass
class OptimizerChoice:
    """The keys of the section `optimizer` that are no hyperparameters."""

    name: str = key("ARS", "a built-in optimizer, or `package.module:Class` for any torch optimizer")
    groups: str = key(
        "split",
        "parameters of a third-party optimizer; `split`: matrices and other parameters as two groups; `one`: "
        "a list of all parameters; `rest_adamw`: the matrices, while AdamW with the `adam_` keys trains the "
        "other parameters",
        choices=("split", "one", "rest_adamw"),
    )
    base: str | None = key(
        None, "the optimizer that a third-party wrapper such as SAM wraps, as `package.module:Class`"
    )


CHOICE_KEYS = tuple(entry.name for entry in fields(OptimizerChoice))


@dataclass
class OptimizerConfig(Hyperparameters, OptimizerChoice):
    """The section `optimizer`; a dataclass's fields begin with those of its last base, here `name`."""


@dataclass
class SchedulerConfig:
    name: str = key(
        "none", "shape of the learning rate after the warm-up", choices=("none", "cosine", "linear")
    )
    warmup_steps: int = key(0, "optimizer steps of linear warm-up", minimum=0, maximum=MOST_STEPS)


@dataclass
class TrainConfig:
    epochs: int = _count(5, "passes over the training rows")
    log_every: int = _steps(10, "optimizer steps between two records of a step")
    ckpt_every: int = _count(1, "epochs between two checkpoints; there is always one after the last epoch")
    max_steps: int | None = _steps(None, "stop after this many optimizer steps, also within an epoch")
    eval_every_steps: int | None = _steps(
        None,
        "optimizer steps between two evaluations of the validation split within an epoch; the report shows "
        "the evaluation at the end of each epoch, comparisons use all",
    )
    stop_at: float | None = key(
        None,
        "stop after the epoch whose deciding validation metric reaches this value (`mod_addition`: accuracy, "
        "0 to 1; `wikitext2_line`: loss of the strict protocol)",
    )
    precision: str = key("fp32", "`bf16`: autocast with float32 weights and states", choices=("fp32", "bf16"))
    matrices: str = key(
        "hidden",
        "matrices to orthogonalise; `hidden`: hidden layers; `all`: embeddings and output head as well",
        choices=("hidden", "all"),
    )
    grad_clip: float | None = key(
        None, "maximum global 2-norm of the gradient of each forward-backward pass", above=0
    )
    accumulate: int = _count(1, "batches per optimizer step, which uses their mean gradient")
    ignore_padding: bool = key(
        False, "exclude padding from the training loss (the reference report counts it)"
    )
    ckpt_every_steps: int | None = _steps(None, "optimizer steps between two checkpoints within an epoch")
    keep_checkpoints: int = _count(2, "number of newest checkpoints to keep")


@dataclass
class Config:
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The configuration as written: sections and keys with overrides, in the order of the file."""

    @property
    def task(self) -> str:
        """The task with its label, as it is shown beside figures."""
        return self.experiment.tasks[0]


SECTIONS: dict[str, type] = {
    entry.name: entry.default_factory for entry in fields(Config) if entry.name != "given"
}


def effective(config: Config) -> dict[str, dict[str, Any]]:
    """The effective configuration: every key with its value, defaults included, in JSON's types."""
    sections = {name: asdict(getattr(config, name)) for name in SECTIONS}
    optimizer = config.given.get("optimizer", {})
    if is_third_party(optimizer):  # the class's other defaults are shown with the parameter groups
        sections["optimizer"] = dict(optimizer)
    return sections
