"""Train a small byte-level transformer with ARS on any text file.

    python examples/minimal.py README.md
    python examples/minimal.py my_book.txt --steps 2000 --width 256

Shapes: B rows in a batch, T bytes in a row, D width, H heads, V = 256 byte values.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arsbench.optim import ARS, split_parameters

V = 256  # every byte is a token


class Block(nn.Module):
    """Causal self-attention, then an MLP; each adds to the residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        # Three matrices rather than one of 3·D rows: ARS orthogonalises each matrix as a whole.
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm_attention(x)  # (B, T, D)
        q, k, v = (
            project(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D/H)
            for project in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D/H)
        x = x + self.mix(attended.transpose(1, 2).flatten(2))  # (B, T, D)
        return x + self.down(F.gelu(self.up(self.norm_mlp(x))))  # (B, T, D)


class Transformer(nn.Module):
    """Predicts the next byte of every row."""

    def __init__(self, width: int, heads: int, layers: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, width)
        self.positions = nn.Embedding(length, width)
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, V, bias=False)
        for table in (self.embedding, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, inputs: Tensor) -> Tensor:
        positions = torch.arange(inputs.shape[1], device=inputs.device)  # (T,)
        x = self.embedding(inputs) + self.positions(positions)  # (B, T, D)
        for layer in self.layers:
            x = layer(x)  # (B, T, D)
        return self.head(self.norm(x))  # (B, T, V)

    def loss(self, rows: Tensor) -> Tensor:
        """Mean cross-entropy in nats per byte; rows: (B, T + 1), int64."""
        logits = self(rows[:, :-1])  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())  # ()


def training_step(model: Transformer, optimizer: ARS, rows: Tensor) -> Tensor:
    """One optimizer step: one forward-backward pass, or two where ARS measures the sharpness."""

    # The rows are drawn outside the closure, because both passes must see the same batch.
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model.loss(rows)
        loss.backward()
        return loss

    return optimizer.step(closure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="any file; its last tenth is the validation text")
    sizes = {"steps": 300, "batch": 16, "length": 128, "width": 128, "heads": 4, "layers": 2}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    options = parser.parse_args()
    if not options.text.is_file():
        parser.error(f"{options.text} is not a file; name a text")

    torch.manual_seed(0)
    text = torch.frombuffer(bytearray(options.text.read_bytes()), dtype=torch.uint8).long()  # (N,)
    split = len(text) * 9 // 10
    if len(text) - split <= options.length:
        parser.error(f"{options.text} has {len(text)} bytes; it needs more than {10 * options.length}")
    train = text[:split].unfold(0, options.length + 1, 1)  # (every start, T + 1), a view
    validation = text[split:].unfold(0, options.length + 1, options.length)  # (every T-th start, T + 1)

    model = Transformer(options.width, options.heads, options.layers, options.length)
    # The matrices take ARS; embeddings, head and norms take AdamW with `adam_lr`.
    optimizer = ARS(split_parameters(model), lr=1e-3, adam_lr=3e-3, weight_decay=0.1, rho=0.1, k=5, alpha=0.1)

    passes = 0
    for step in range(1, options.steps + 1):
        rows = train[torch.randint(len(train), (options.batch,))]  # (B, T + 1)
        loss = training_step(model, optimizer, rows)
        passes += 1 + int(optimizer.diagnostics()["sync"])
        if step % 50 == 0 or step == options.steps:
            with torch.no_grad():
                total = sum(model.loss(part) * len(part) for part in validation.split(64))
            print(
                f"step {step}, {passes} passes: training loss {loss:.4f}, "
                f"validation loss {total / len(validation):.4f} nats/byte"
            )


if __name__ == "__main__":
    main()
