"""Every key of a configuration: its type, its default, its range and what it means.

The keys without a remark are the seed report's; every other key has a default that leaves the meaning of
the seed's configuration as it was. `doc` is the text that the documentation of the keys is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from arsbench.config.optimizers import is_third_party

# Upper limits that no training reaches: a slip of the keyboard is refused instead of running for years.
# Whether a model fits into memory is another question (`arsbench.training.memory`).
WIDEST = 10**9
MOST_STEPS = 10**12
MOST_ITERATIONS = 100  # of Newton-Schulz
LONGEST_PERIOD = 10_000  # k


def key(default: Any, doc: str, **limits: Any) -> Any:
    """A configuration key.

    Args:
        default: its value where the user gives none.
        doc: what it means, in a sentence, with its unit.
        limits: `minimum`, `maximum` (inclusive), `above`, `below` (exclusive) or `choices`.
    """
    metadata = {"doc": doc, **limits}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ExperimentConfig:
    tasks: list[str] = key(
        ["wikitext2_line"],
        "the task, in a list of one; a label in brackets is shown with every figure: `wikitext2_line (mini)`",
    )
    seed: int = key(42, "seed of initialisation, shuffling and a split that is drawn", minimum=0, below=2**63)
    device: str = key("auto", "`auto` takes a GPU where there is one", choices=("auto", "cpu", "cuda"))
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
        "largest size of a tokenizer's vocabulary; the model takes the tokenizer's real size",
        minimum=258,
        maximum=10**7,
    )
    embedding_size: int = key(512, "width of the residual stream", minimum=1, maximum=WIDEST)
    sequence_length: int = key(255, "tokens a row that the model reads", minimum=1, maximum=10**6)
    num_heads: int = key(6, "query heads", minimum=1, maximum=WIDEST)
    num_layers: int = key(4, "transformer blocks", minimum=1, maximum=10_000)
    rope_theta: float = key(10000.0, "base of the rotary embedding", above=0)
    intermediate_size: int = key(2048, "width inside the MLP", minimum=1, maximum=WIDEST)
    tie_word_embeddings: bool = key(True, "use the embedding's weight as the output head")
    num_kv_heads: int | None = key(
        None, "key-value heads, a divisor of `num_heads` (default: as many)", minimum=1, maximum=WIDEST
    )
    head_dim: int = key(
        128,
        "width of one head, whatever `embedding_size / num_heads` is; even for `rope`",
        minimum=2,
        maximum=WIDEST,
    )


@dataclass
class DataConfig:
    batch_size: int = key(8, "rows a step (times `train.accumulate`)", minimum=1, maximum=WIDEST)
    num_workers: int = key(
        0, "processes that read batches ahead; the rows are memory-mapped, 0 is fast", minimum=0, maximum=1000
    )
    tokenizer_path: str = key(
        "./data/wikitext2_tokenizer.json",
        "the tokenizer's file: read if it is there, else trained and written",
    )
    source: str = key(
        "auto",
        "where the text comes from; `auto`: the folder `ARSBENCH_WIKITEXT2` if set, else the hub",
        choices=("auto", "hub", "files", "pydocs"),
    )
    path: str | None = key(None, "folder of the texts for `files` (default: `ARSBENCH_WIKITEXT2`)")
    train_file: str | None = key(
        None, "training text in that folder; with any of the three set, no other file is used"
    )
    validation_file: str | None = key(None, "validation text in that folder")
    test_file: str | None = key(None, "test text in that folder")
    modulus: int = key(113, "p of `mod_addition`, (x + y) mod p", minimum=2, maximum=10_000)
    train_fraction: float = key(
        0.3, "share of the p² pairs that `mod_addition` trains on, chosen by the seed", above=0, below=1
    )


@dataclass
class OptimizerConfig:
    name: str = key("ARS", "one of ours, or `package.module:Class` for any torch optimizer")
    groups: str = key(
        "split",
        "what a third-party optimizer gets: `split`, the matrices and the rest as two parameter groups; "
        "`one`, a list of all parameters; `rest_adamw`, the matrices, and AdamW with the `adam_` keys trains "
        "the rest",
        choices=("split", "one", "rest_adamw"),
    )
    base: str | None = key(
        None, "the optimizer, as `package.module:Class`, that a third-party wrapper such as SAM wraps"
    )
    lr: float = key(1e-4, "learning rate", minimum=0)
    betas: list[float] = key([0.9, 0.999], "decays of the first and second moment", minimum=0, below=1)
    eps: float = key(1e-8, "added to the root of the second moment", minimum=0)
    weight_decay: float = key(0.1, "decoupled weight decay", minimum=0)
    ns_steps: int = key(5, "Newton-Schulz iterations", minimum=0, maximum=MOST_ITERATIONS)
    rho: float = key(0.1, "radius of the SAM perturbation", minimum=0)
    k: int = key(
        5, "a SAM (sync) step every k steps; 1: every step, 0: never", minimum=0, maximum=LONGEST_PERIOD
    )
    alpha: float = key(0.1, "strength at which the flatness vector is injected on lazy steps", minimum=0)
    adam_lr: float | None = key(None, "learning rate of the AdamW group (default: `lr`)", minimum=0)
    adam_betas: list[float] = key([0.9, 0.999], "decays in the AdamW group", minimum=0, below=1)
    adam_eps: float = key(1e-8, "eps in the AdamW group", minimum=0)
    adam_weight_decay: float = key(0.01, "weight decay in the AdamW group", minimum=0)
    momentum: float = key(0.95, "momentum of Muon and AdaMuon", minimum=0, below=1)
    adaptive: bool = key(True, "ASAM: scale the perturbation by the parameters' absolute values")
    adaptive_sync: bool = key(
        False, "A-GSAM: sync when gradient and flatness vector disagree, at the latest after k"
    )
    adaptive_beta: float = key(
        0.99, "A-GSAM: decay of the moving average of the squared cosine", minimum=0, below=1
    )
    adaptive_lambda: float = key(2.0, "A-GSAM: a sync below minus this many root mean squares", minimum=0)
    adaptive_gamma: float = key(2.0, "A-GSAM: exponent of the injection strength", minimum=0)
    second_moment: str | None = key(
        None,
        "gradient that the second moment sees on a lazy step: `plain`, as published, which may throw a "
        "weight far off; `bounded`, the plain one, but no less than the injected one's share; `injected` "
        "(default: `injected` with `adaptive_sync`, else `bounded`)",
        choices=("bounded", "plain", "injected"),
    )


@dataclass
class SchedulerConfig:
    name: str = key(
        "none", "shape of the learning rate after the warm-up", choices=("none", "cosine", "linear")
    )
    warmup_steps: int = key(0, "optimizer steps of linear warm-up", minimum=0, maximum=MOST_STEPS)


@dataclass
class TrainConfig:
    epochs: int = key(5, "passes over the training rows", minimum=1, maximum=10**6)
    log_every: int = key(10, "optimizer steps between two records of a step", minimum=1, maximum=MOST_STEPS)
    ckpt_every: int = key(
        1, "epochs between two checkpoints; the last epoch always has one", minimum=1, maximum=10**6
    )
    max_steps: int | None = key(
        None, "stop after so many optimizer steps, in mid-epoch if need be", minimum=1, maximum=MOST_STEPS
    )
    eval_every_steps: int | None = key(
        None,
        "optimizer steps between two evaluations of the validation split within an epoch; the report shows "
        "those at its end, comparisons use all",
        minimum=1,
        maximum=MOST_STEPS,
    )
    stop_at: float | None = key(
        None,
        "end the run after the epoch whose deciding validation metric is as good as this (`mod_addition`: "
        "accuracy from 0 to 1; `wikitext2_line`: loss of the strict protocol)",
    )
    precision: str = key("fp32", "`bf16`: autocast with float32 weights and states", choices=("fp32", "bf16"))
    matrices: str = key(
        "hidden",
        "what is orthogonalised: `hidden` matrices, or `all`, those of embeddings and output head included",
        choices=("hidden", "all"),
    )
    grad_clip: float | None = key(None, "largest global 2-norm of the gradient of a pass", above=0)
    accumulate: int = key(1, "batches whose mean gradient makes one optimizer step", minimum=1, maximum=10**6)
    ignore_padding: bool = key(False, "leave padding out of the training loss (the seed counts it)")
    ckpt_every_steps: int | None = key(
        None, "optimizer steps between two checkpoints within an epoch", minimum=1, maximum=MOST_STEPS
    )
    keep_checkpoints: int = key(
        2, "newest checkpoints that are kept; the older is the spare", minimum=1, maximum=10**6
    )


@dataclass
class Config:
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The sections and keys as the user gave them, overrides included, in their order."""

    @property
    def task(self) -> str:
        """The task with its label, as it is shown beside figures."""
        return self.experiment.tasks[0]


SECTIONS: dict[str, type] = {
    "experiment": ExperimentConfig,
    "model": ModelConfig,
    "data": DataConfig,
    "optimizer": OptimizerConfig,
    "scheduler": SchedulerConfig,
    "train": TrainConfig,
}


def effective(config: Config) -> dict[str, dict[str, Any]]:
    """What is run: every key with its value, defaults included, as plain JSON types."""
    result = {}
    for name, section_type in SECTIONS.items():
        section = getattr(config, name)
        result[name] = {f.name: getattr(section, f.name) for f in fields(section_type)}
    optimizer = config.given.get("optimizer", {})
    if is_third_party(optimizer):
        result["optimizer"] = dict(optimizer)  # its other defaults are that package's, shown with the groups
    return result
