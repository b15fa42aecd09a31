"""Every kernel on the device: its error against float64, and plain PyTorch's in the same dtype."""

import pytest
import torch

from arsbench import ops
from arsbench.ops.reference import ars_moments as ars_reference
from arsbench.ops.reference import linear_cross_entropy as loss_reference
from arsbench.ops.reference import newton_schulz as newton_schulz_reference
from arsbench.ops.reference import rope_attention as attention_reference

DTYPES = [torch.float32, torch.bfloat16]
THETA, EPS = 1e4, 1e-6
MOMENTS = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 3}


@pytest.fixture(autouse=True)
def seeded(device):
    torch.manual_seed(0)
    families = ("rope_attention", "newton_schulz", "linear_cross_entropy", "ars_moments")
    names = [op for family in families for op in ops._OPS[family]]
    missing = [op for op in names if not ops.has_kernel(op, device.type)]
    assert not missing, (
        f"{missing} have no kernel for {device.type}: a reference would be compared with itself"
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("B", "T", "H", "Hkv", "D"),
    [(1, 1, 1, 1, 64), (2, 17, 2, 1, 64), (2, 64, 4, 4, 128), (1, 65, 6, 2, 128), (8, 255, 6, 6, 128),
     (2, 1000, 4, 2, 64)],
)  # fmt: skip
def test_rope_attention(B, T, H, Hkv, D, dtype, device, assert_as_good_as):
    projection = torch.randn(B, T, (H + 2 * Hkv) * D, device=device).to(dtype)
    q, k, v = projection.unflatten(-1, (-1, D)).split([H, Hkv, Hkv], dim=2)
    weights = [(1 + 0.3 * torch.randn(D, device=device)).to(dtype) for _ in "qk"]
    inputs = [x.detach().requires_grad_() for x in (q, k, v, *weights)]
    grad = torch.randn(B, T, H, D, device=device).to(dtype)
    out = ops.rope_attention(*inputs, THETA, EPS)
    kernel = [out, *torch.autograd.grad(out, inputs, grad)]
    again = ops.rope_attention(*inputs, THETA, EPS)
    repeated = [again, *torch.autograd.grad(again, inputs, grad)]
    assert all(torch.equal(a, b) for a, b in zip(kernel, repeated, strict=True))

    def reference(tensors, gradient):
        out, lse = attention_reference.rope_attention(*tensors, THETA, EPS)
        return [
            out,
            *attention_reference.rope_attention_backward(gradient, *tensors, out, lse, THETA, EPS),
        ]

    plain_inputs = [x.detach() for x in inputs]
    plain = reference(plain_inputs, grad)
    truth = reference([x.double() for x in plain_inputs], grad.double())
    for actual, peer, true in zip(kernel, plain, truth, strict=True):
        if true.norm() > 1e-9:  # at T = 1 the gradients of queries and keys are 0
            # The reference computes bf16 in float32; the kernel's tensor cores round what they multiply.
            assert_as_good_as(actual.detach(), peer, true, factor=2.0 if dtype == torch.float32 else 8.0)


@pytest.fixture
def matmul():
    """PyTorch's settings for matrix products on a GPU; TF32 is off before and after."""
    settings = torch.backends.cuda.matmul
    settings.allow_tf32 = False
    yield settings
    settings.allow_tf32 = False


@pytest.mark.parametrize("D", [64, 128, 256])
@pytest.mark.parametrize("switch", [("allow_tf32", False, True), ("fp32_precision", "ieee", "tf32")], ids=str)
def test_rope_attention_uses_tf32_if_pytorch_may(switch, D, device, matmul):
    if device.type != "cuda":
        pytest.skip("TF32 is the GPU's")
    q, k, v, grad = (torch.randn(2, 65, heads, D, device=device) for heads in (4, 2, 2, 4))
    inputs = [q, k, v, *(torch.ones(D, device=device) for _ in "qk")]
    truth = list(attention_reference.rope_attention(*(x.double() for x in inputs), THETA, EPS))
    doubles = [x.double() for x in (grad, *inputs)]
    truth += attention_reference.rope_attention_backward(*doubles, *truth, THETA, EPS)

    def errors():
        kernels = torch.ops.arsbench
        actual = list(kernels.rope_attention(*inputs, THETA, EPS))
        if D < 256:  # larger heads use the reference's backward
            actual += kernels.rope_attention_backward(grad, *inputs, *actual, THETA, EPS)
        return [((x - true).norm() / true.norm()).item() for x, true in zip(actual, truth, strict=False)]

    name, off, on = switch
    setattr(matmul, name, off)
    exact = errors()
    setattr(matmul, name, on)
    for unrounded, rounded in zip(exact, errors(), strict=True):
        assert 20 * unrounded < rounded < 2e-3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        (16, 16),
        (3, 33, 65),
        (2, 65, 33),
        (12, 768, 512),
        (8, 512, 2048),
        (1000, 24),
        (5, 9, 40),  # so narrow that ATen's products are used
        (4, 40, 3),
        (65537, 16, 17),  # more matrices than a launch takes
    ],
    ids=str,
)
def test_newton_schulz(shape, dtype, device, assert_as_good_as):
    x = torch.randn(shape, device=device).to(dtype)
    plain = newton_schulz_reference.newton_schulz(x, 5, ops.QUINTIC)
    truth = newton_schulz_reference.newton_schulz(x.double(), 5, ops.QUINTIC)
    kernel = ops.newton_schulz(x)
    assert torch.equal(kernel, ops.newton_schulz(x))
    assert_as_good_as(kernel, plain, truth, factor=1.2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("tokens", "width", "vocabulary"),
    [
        (5, 16, 17),
        (300, 64, 1000),
        (2040, 512, 40479),
        (3400, 16, 40479),
    ],  # the last: two chunks, in bf16 too
)
def test_linear_cross_entropy(tokens, width, vocabulary, dtype, device, assert_as_good_as):
    hidden = torch.randn(tokens, width, device=device).to(dtype).requires_grad_()
    weight = (torch.randn(vocabulary, width, device=device) / width**0.5).to(dtype).requires_grad_()
    target = torch.randint(vocabulary, (tokens,), device=device)
    target[:2] = -100
    result = ops.linear_cross_entropy(hidden, weight, target)
    kernel = [*result, *torch.autograd.grad(result.loss, (hidden, weight))]
    arguments = (target, -100, "mean", True)
    plain = loss_reference.linear_cross_entropy(hidden.detach(), weight.detach(), *arguments)
    truth = loss_reference.linear_cross_entropy(
        hidden.detach().double(), weight.detach().double(), *arguments
    )
    for actual, peer, true in zip(kernel, plain, truth, strict=True):
        assert_as_good_as(actual.detach(), peer, true)


def make_lists(dtype, device, sizes):
    state = ops.state_dtype(dtype)
    params, grads, bases = ([torch.randn(n, device=device).to(dtype) for n in sizes] for _ in range(3))
    exp_avgs, flats = ([torch.randn(n, device=device, dtype=state) for n in sizes] for _ in range(2))
    # Not near 0: one element with a tiny v would dominate the norm of the whole direction.
    exp_avg_sqs = [torch.rand(n, device=device, dtype=state) + 0.1 for n in sizes]
    strengths = torch.rand(len(sizes), device=device, dtype=torch.float64)
    return params, grads, bases, exp_avgs, exp_avg_sqs, flats, strengths


def double(lists):
    return [[x.double() for x in part] if isinstance(part, list) else part for part in lists]


def copied(lists):
    return [[x.clone() for x in part] if isinstance(part, list) else part for part in lists]


def every_phase(module, lists, second_moment="bounded"):
    """All phases of a sync and a lazy step on a list; returns all results."""
    params, grads, bases, exp_avgs, exp_avg_sqs, flats, strengths = lists
    like = [torch.empty_like(x) for x in params]
    residuals, directions = ([torch.empty_like(x) for x in exp_avgs] for _ in range(2))
    module.ars_perturb(params, grads, exp_avg_sqs, like, 0.1, 0.99, 1e-8, 3, True)
    perturbed = [p.clone() for p in params]
    module.ars_restore(params, like)
    module.ars_residual(grads, bases, residuals)
    dots = module.ars_dots(grads, flats)
    moments = (0.9, 0.99, 1e-8, 3, second_moment)
    energies, norms = module.ars_whiten(grads, exp_avgs, exp_avg_sqs, directions, flats, strengths, *moments)
    module.ars_apply(params, directions, energies, 1e-3, 0.1)
    adam = (1e-3, *moments[:3], 0.1, *moments[3:])
    again = module.ars_adamw(params, grads, exp_avgs, exp_avg_sqs, [], None, *adam)
    norms_injected = module.ars_adamw(params, grads, exp_avgs, exp_avg_sqs, flats, strengths, *adam)
    return [
        *perturbed,
        *residuals,
        *directions,
        *params,
        *exp_avgs,
        *exp_avg_sqs,
        dots,
        energies,
        norms,
        again,
        norms_injected,
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[70], [50, 0, 100_000, 33], [20 + 37 * i for i in range(400)]])
@pytest.mark.parametrize("second_moment", ars_reference.SECOND_MOMENTS)
def test_ars_moments(sizes, second_moment, dtype, device, assert_as_good_as):
    lists = make_lists(dtype, device, sizes)
    kernels = torch.ops.arsbench
    kernel = every_phase(kernels, copied(lists), second_moment)
    repeated = every_phase(kernels, copied(lists), second_moment)
    assert all(torch.equal(a, b) for a, b in zip(kernel, repeated, strict=True))
    plain = every_phase(ars_reference, copied(lists), second_moment)
    truth = every_phase(ars_reference, double(lists), second_moment)
    for actual, peer, true in zip(kernel, plain, truth, strict=True):
        if true.numel():
            assert_as_good_as(actual.to(peer.dtype), peer, true)


def every_other_op(dtype, device):
    """A function that calls the other ops, forward and backward, and returns all results."""
    kernels = torch.ops.arsbench
    q, k, v, grad = (torch.randn(2, 65, heads, 64, device=device).to(dtype) for heads in (4, 2, 2, 4))
    norm = torch.ones(64, device=device)
    hidden, weight = (torch.randn(rows, 32, device=device).to(dtype) for rows in (70, 100))
    target = torch.randint(100, (70,), device=device)
    matrices = [torch.randn(shape, device=device).to(dtype) for shape in ((2, 33, 40), (33, 80), (5, 9, 40))]

    def call():
        out, lse = kernels.rope_attention(q, k, v, norm, norm, THETA, EPS)
        gradients = kernels.rope_attention_backward(grad, q, k, v, norm, norm, out, lse, THETA, EPS)
        loss = kernels.linear_cross_entropy(hidden, weight, target, -100, "mean", True)
        return [out, lse, *gradients, *loss, *(ops.newton_schulz(x) for x in matrices)]

    return call


def replayed(call):
    """The results of `call`, computed by its CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = call()
    graph.replay()
    torch.cuda.synchronize()
    return results


@pytest.mark.parametrize("dtype", DTYPES)
def test_everything_can_be_captured_in_a_graph(dtype, device):
    if device.type != "cuda":
        pytest.skip("graphs are CUDA's")
    kernels, call = torch.ops.arsbench, every_other_op(dtype, device)
    lists = make_lists(dtype, device, [5, 1000, 70_000])
    # These calls also warm up: nothing may be loaded during a capture.
    captured, expected = copied(lists), [*every_phase(kernels, copied(lists)), *call()]
    results = replayed(lambda: [*every_phase(kernels, captured), *call()])
    assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))
