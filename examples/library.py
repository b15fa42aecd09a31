"""Train a small convolutional network with ARS, with closures, on images that the program draws.

    python examples/library.py
    python examples/library.py --optimizer AdamW

Shapes: B images in a batch, C channels, H = W = 24 pixels, K = 3 classes.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arsbench.optim import ARS, split_parameters

CLASSES = ("disc", "square", "cross")


def draw_images(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy images of one shape each, at random places and sizes.

    Returns:
        images (count, 1, 24, 24), float32, and labels (count,), int64.
    """
    labels = torch.randint(len(CLASSES), (count,), generator=generator)
    centre_x, centre_y, radius = (
        low + (high - low) * torch.rand(count, 1, 1, generator=generator)  # (count, 1, 1)
        for low, high in ((8, 16), (8, 16), (4, 7))
    )
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")  # (H, W)
    dx, dy = (x - centre_x).abs(), (y - centre_y).abs()  # (count, H, W)
    shapes = torch.stack(
        [
            dx**2 + dy**2 < radius**2,
            torch.maximum(dx, dy) < 0.85 * radius,
            (torch.minimum(dx, dy) < 0.3 * radius) & (torch.maximum(dx, dy) < radius),
        ]
    )  # (K, count, H, W)
    images = shapes[labels, torch.arange(count)].float()  # (count, H, W)
    return (images + 0.3 * torch.randn(images.shape, generator=generator)).unsqueeze(1), labels


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; halves height and width."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride=2, bias=False)
        # BatchNorm works too, but updates its running statistics in both passes of a sync step.
        self.norm1, self.norm2 = nn.GroupNorm(4, channels_out), nn.GroupNorm(4, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))  # (B, C', H/2, W/2)
        y = self.norm2(self.conv2(y))  # (B, C', H/2, W/2)
        return F.relu(y + self.shortcut(x))  # (B, C', H/2, W/2)


class Network(nn.Module):
    """Class scores of images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.layers = nn.Sequential(ResidualBlock(width, 2 * width), ResidualBlock(2 * width, 4 * width))
        # `split_parameters` recognises an output head by its name: head, classifier, lm_head, score, ...
        self.classifier = nn.Linear(4 * width, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        features = self.layers(F.relu(self.stem(images)))  # (B, 4·width, H/4, W/4)
        return self.classifier(features.mean(dim=(2, 3)))  # (B, K)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--optimizer", choices=("ARS", "AdamW"), default="ARS")
    for name, default in (("epochs", 5), ("images", 2048), ("batch", 64), ("width", 16)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    options = parser.parse_args()

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images, labels = draw_images(options.images, generator)  # (N, 1, H, W), (N,)
    test_images, test_labels = draw_images(512, generator)
    model = Network(options.width)
    if options.optimizer == "ARS":
        # The convolutions take ARS, as matrices of C_out rows; classifier, norms and biases take AdamW.
        optimizer = ARS(split_parameters(model), lr=3e-3, rho=0.1, k=5, alpha=0.1)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    steps = options.epochs * (options.images // options.batch)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)  # as for any PyTorch optimizer

    def train_on(batch: Tensor) -> Tensor:
        """One optimizer step; batch: indices of images, (B,)."""

        # PyTorch's own optimizers call this once. ARS calls it twice in every k-th step.
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[batch]), labels[batch])  # ()
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        scheduler.step()
        return loss.detach()

    for epoch in range(1, options.epochs + 1):
        order = torch.randperm(options.images, generator=generator)  # (N,)
        losses = [train_on(batch) for batch in order.split(options.batch) if len(batch) == options.batch]
        with torch.no_grad():
            correct = (model(test_images).argmax(1) == test_labels).float().mean()
        print(f"epoch {epoch}: training loss {torch.stack(losses).mean():.4f}, test accuracy {correct:.1%}")


if __name__ == "__main__":
    main()
