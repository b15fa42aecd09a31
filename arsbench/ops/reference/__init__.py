"""Every op in plain PyTorch, written once: fallback, parity test's peer and benchmark's baseline."""
