"""Using a finished run: evaluating it again, and exporting and sampling its language model."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from safetensors import SafetensorError, safe_open

from arsbench import models
from arsbench.config import Config, config_from_dict
from arsbench.data.tokenizer import Tokenizer
from arsbench.errors import UserError
from arsbench.runs.checks import TRAINING_STATE
from arsbench.runs.folder import RunFolder
from arsbench.tasks import changed_names, create_task
from arsbench.training.checkpoint import WEIGHTS, Checkpoint, latest_checkpoint
from arsbench.training.evaluate import evaluate
from arsbench.training.start import choose_device

EMBEDDING = "model.embed_tokens.weight"


def load_model(run: RunFolder, warn: Callable[[str], None]) -> tuple[Config, torch.nn.Module]:
    """The configuration of a run and its language model at the newest whole checkpoint, in evaluation mode.

    The texts that the run was trained on are not needed.

    Args:
        run: the run.
        warn: receives a sentence about each damaged checkpoint that is skipped.

    Raises:
        UserError: the run has no readable checkpoint, or no language model.
    """
    config, checkpoint = _newest(run, warn)
    return config, _load_model(run, config, checkpoint)


def _newest(run: RunFolder, warn: Callable[[str], None]) -> tuple[Config, Checkpoint]:
    """The configuration and the newest whole checkpoint of a run."""
    try:
        config = config_from_dict(run.config)
    except UserError as error:
        raise UserError(f"{run.path / 'config.json'} is damaged: {error}") from error
    checkpoint = latest_checkpoint(run.checkpoints, warn)
    if checkpoint is None:
        raise UserError(f"{run.path} has no checkpoint yet; let it train to the end of an epoch")
    return config, checkpoint


def _load_model(run: RunFolder, config: Config, checkpoint: Checkpoint) -> torch.nn.Module:
    if config.model.type != "rope":
        raise UserError(
            f"{run.path} is a run of {config.task}, which has no language model; give a run of wikitext2_line"
        )
    try:
        with safe_open(str(checkpoint.path / WEIGHTS), framework="pt") as weights:
            (vocabulary_size, _) = weights.get_slice(EMBEDDING).get_shape()
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{checkpoint.path / WEIGHTS} is damaged: it has no matrix {EMBEDDING} ({reason}); "
            f"restore the file"
        ) from error
    model = models.build_model(config.model, vocabulary_size)
    checkpoint.load_weights(model)
    return model.eval()


def evaluate_run(run: RunFolder, splits: Sequence[str], warn: Callable[[str], None]) -> dict[str, Any]:
    """The figures of a run's newest checkpoint.

    Args:
        run: the run; its texts must be where its configuration says.
        splits: "validation", "test"; empty for all splits of the task.
        warn: receives a sentence about each damaged checkpoint that is skipped.

    Returns:
        The figures of `arsbench.training.evaluate` by split.

    Raises:
        UserError: the task has no such split, the texts or the checkpoint cannot be read, or the text of a
            split has changed since the run was trained.
    """
    device = choose_device("auto")  # whatever device it was trained on
    config, checkpoint = _newest(run, warn)
    task = create_task(config, run)
    model = task.build_model()
    checkpoint.load_weights(model)
    model.to(device)
    available = task.evaluation_splits()
    for name in splits:
        if name not in available:
            raise UserError(f"the run has no split {name!r}; it has {', '.join(available)}")
    wanted = [name for name in available if not splits or name in splits]
    trained_on = checkpoint.load_state(TRAINING_STATE)["data"]
    changed = [name for name in changed_names(trained_on, task.fingerprint()) if name in wanted]
    if changed:
        raise UserError(
            f"the {' and the '.join(changed)} text has changed since {run.path} was trained, so the figures "
            f"would not be comparable; restore the text"
        )
    return {name: evaluate(model, task, config, name, device) for name in wanted}


def _tokenizer(run: RunFolder, model: torch.nn.Module) -> Tokenizer:
    """The tokenizer in the run's folder, whose ids are the model's."""
    tokenizer = Tokenizer(run.tokenizer_path)
    if tokenizer.vocabulary_size != model.vocabulary_size:
        raise UserError(
            f"{run.tokenizer_path} has {tokenizer.vocabulary_size} entries and the model "
            f"{model.vocabulary_size}; restore the tokenizer that the run was trained with"
        )
    return tokenizer


def export_run(run: RunFolder, directory: Path, warn: Callable[[str], None]) -> None:
    """Write the newest checkpoint's model as a Hugging Face directory (see `models.export_huggingface`).

    Its README.md has the figures of that checkpoint and says how to reproduce them.

    Args:
        run: the run.
        directory: where to write.
        warn: receives a sentence about each damaged checkpoint that is skipped.

    Raises:
        UserError: as `load_model` and `models.export_huggingface`.
    """
    config, checkpoint = _newest(run, warn)
    model = _load_model(run, config, checkpoint)
    tokenizer = _tokenizer(run, model)
    models.export_huggingface(
        model,
        directory,
        tokenizer_path=run.tokenizer_path,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        readme=_readme(run, config, checkpoint.step),
    )


def _readme(run: RunFolder, config: Config, step: int) -> str:
    """The README of an export, with the figures that the run recorded at `step`."""
    records = [record for record in (*run.evaluations(), *run.epochs()) if record.get("step") == step]
    keys = ("source", "path", "train_file", "validation_file", "test_file")
    data = {key: getattr(config.data, key) for key in keys}
    template = (resources.files("arsbench.training") / "export_readme.md.jinja").read_text(encoding="utf-8")
    return jinja2.Template(template, keep_trailing_newline=True, undefined=jinja2.StrictUndefined).render(
        run=run,
        config=config,
        step=step,
        evaluation=records[-1]["evaluation"] if records else {},
        path=shlex.quote(str(run.path)),
        data=", ".join(f"{key}={value!r}" for key, value in data.items() if value is not None),
    )


@torch.no_grad()
def sample_run(
    run: RunFolder, prompt: str, tokens: int, temperature: float, seed: int, warn: Callable[[str], None]
) -> str:
    """A continuation of `prompt`, to the end of the sentence.

    Args:
        run: the run.
        prompt: any text; it may be empty.
        tokens: maximum number of new tokens.
        temperature: divides the logits, finite and ≥ 0; 0 takes the likeliest token.
        seed: of the sampling.
        warn: receives a sentence about each damaged checkpoint that is skipped.

    Raises:
        UserError: the prompt is not UTF-8, the temperature is out of range, or as `load_model`.
    """
    if not 0 <= temperature < math.inf:
        raise UserError(f"the temperature is {temperature}; it must be finite and ≥ 0")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:  # lone surrogates stand for undecodable bytes of the command line
        raise UserError(
            f"the prompt is not UTF-8 text at character {error.start + 1}; give it in UTF-8"
        ) from error
    config, model = load_model(run, warn)
    tokenizer = _tokenizer(run, model)
    generator = torch.Generator().manual_seed(seed)
    # In training every sentence follows an end of text, except the first of a row.
    ids = [tokenizer.eos_id, *tokenizer.encode_batch([prompt])[0]]
    start = len(ids)
    for _ in range(tokens):
        window = torch.tensor([ids[-config.model.sequence_length :]])  # (1, T)
        logits = model(window)[0, -1].float()  # (V,)
        logits[tokenizer.pad_id] = -torch.inf
        if temperature == 0:
            token = int(logits.argmax())
        else:
            # In float64 and relative to the largest logit, no positive temperature overflows.
            scaled = (logits.double() - logits.max()) / temperature
            token = int(torch.multinomial(scaled.softmax(-1), 1, generator=generator))
        if token == tokenizer.eos_id:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:])
