"""What a trained run is good for: evaluating it again, and if it is of text, exporting and continuing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from arsbench import models
from arsbench.config import Config, config_from_dict
from arsbench.data.tokenizer import Tokenizer
from arsbench.errors import UserError
from arsbench.runs.checks import TRAINING_STATE
from arsbench.runs.folder import RunFolder
from arsbench.tasks import restore_task
from arsbench.training.checkpoint import WEIGHTS, Checkpoint, latest_checkpoint
from arsbench.training.evaluate import evaluate
from arsbench.training.passes import autocast
from arsbench.training.start import choose_device

EMBEDDING = "model.embed_tokens.weight"


def load_model(run: RunFolder, warn: Callable[[str], None]) -> tuple[Config, torch.nn.Module]:
    """The configuration of a run and its language model at the newest whole checkpoint, in evaluation mode.

    It does without the texts that the run was trained on.

    Args:
        run: the run.
        warn: told of damaged checkpoints that are passed over.

    Raises:
        UserError: the run has no checkpoint that can be read, or is no run on text.
    """
    config = _config(run)
    if config.model.type != "rope":
        raise UserError(
            f"{run.path} is a run of {config.task}, which knows no text; give a run of wikitext2_line"
        )
    checkpoint = _newest_checkpoint(run, warn)
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
    return config, model.eval()


def _config(run: RunFolder) -> Config:
    try:
        return config_from_dict(run.config)
    except UserError as error:
        raise UserError(f"{run.path / 'config.json'} is damaged: {error}") from error


def _newest_checkpoint(run: RunFolder, warn: Callable[[str], None]) -> Checkpoint:
    checkpoint = latest_checkpoint(run.checkpoints, warn)
    if checkpoint is None:
        raise UserError(f"{run.path} has no checkpoint yet; let it train to the end of an epoch")
    return checkpoint


def evaluate_run(run: RunFolder, splits: Sequence[str], warn: Callable[[str], None]) -> dict[str, Any]:
    """The figures of a run's newest checkpoint.

    Args:
        run: the run; its texts must still be where its configuration says.
        splits: "validation", "test"; empty for all that the task has.
        warn: told of damaged checkpoints that are passed over.

    Returns:
        The figures of `arsbench.training.evaluate` by split.

    Raises:
        UserError: a split is not configured, the texts or the checkpoint cannot be had, or a text to be
            evaluated is no longer the one that the run was trained beside.
    """
    device = choose_device("auto")  # wherever it was trained
    checkpoint = _newest_checkpoint(run, warn)
    config = _config(run)
    task = restore_task(config, run)
    model = task.build_model()
    checkpoint.load_weights(model)
    model.to(device)
    available = task.evaluation_splits()
    for name in splits:
        if name not in available:
            raise UserError(f"the run has no split {name!r}; it has {', '.join(available)}")
    wanted = {name: split for name, split in available.items() if not splits or name in splits}
    trained_on = checkpoint.load_state(TRAINING_STATE)["data"]
    changed = [name for name in task.changed_since(trained_on) if name in wanted]
    if changed:
        raise UserError(
            f"the {' and the '.join(changed)} text has changed since {run.path} was trained, so that its "
            f"figures could not be compared; put it back"
        )
    return {
        name: evaluate(model, task, split, device, autocast(config, device)) for name, split in wanted.items()
    }


def _tokenizer(run: RunFolder, model: torch.nn.Module) -> Tokenizer:
    """The run's own; its ids are the model's."""
    tokenizer = Tokenizer(run.tokenizer_path)
    if tokenizer.vocabulary_size != model.vocabulary_size:
        raise UserError(
            f"{run.tokenizer_path} has {tokenizer.vocabulary_size} entries and the model "
            f"{model.vocabulary_size}; put the tokenizer back that the run was trained with"
        )
    return tokenizer


def export_run(run: RunFolder, directory: Path, warn: Callable[[str], None]) -> None:
    """Write the newest checkpoint's model as a Hugging Face directory (see `models.export_huggingface`)."""
    _, model = load_model(run, warn)
    tokenizer = _tokenizer(run, model)
    models.export_huggingface(
        model,
        directory,
        tokenizer_path=run.tokenizer_path,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
    )


@torch.no_grad()
def sample_run(
    run: RunFolder, prompt: str, tokens: int, temperature: float, seed: int, warn: Callable[[str], None]
) -> str:
    """A continuation of `prompt`, to the end of the sentence.

    Args:
        run: the run.
        prompt: any text, also an empty one.
        tokens: at most so many new tokens.
        temperature: the logits are divided by it, at least 0 and finite; 0 takes the likeliest token.
        seed: of the draws.
        warn: told of damaged checkpoints that are passed over.

    Raises:
        UserError: the prompt or the temperature cannot be used, or as of `load_model`.
    """
    if not 0 <= temperature < math.inf:
        raise UserError(f"the temperature is {temperature}; give a number of at least 0")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:  # such halves of pairs stand for bytes of the command line
        raise UserError(
            f"the prompt is not UTF-8 text at character {error.start + 1}; give it in UTF-8"
        ) from error
    config, model = load_model(run, warn)
    tokenizer = _tokenizer(run, model)
    generator = torch.Generator().manual_seed(seed)
    # In training every sentence but a row's first follows an end of text.
    ids = [tokenizer.eos_id, *tokenizer.encode_batch([prompt])[0]]
    start = len(ids)
    for _ in range(tokens):
        window = torch.tensor([ids[-config.model.sequence_length :]])  # (1, T)
        logits = model(window)[0, -1].float()  # (V,)
        logits[tokenizer.pad_id] = -torch.inf
        if temperature == 0:
            token = int(logits.argmax())
        else:
            # In float64 and from the largest down, no positive temperature overflows.
            logits = logits.double() - logits.max()
            probabilities = torch.softmax(logits / temperature, dim=-1)
            token = int(torch.multinomial(probabilities, 1, generator=generator))
        if token == tokenizer.eos_id:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:])
