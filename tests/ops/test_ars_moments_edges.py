"""What the element-wise ARS ops do at the edges: extremes, wrong arguments, autograd, compilation."""

import math

import pytest
import torch

from arsbench import ops
from arsbench.ops.reference import ars_moments as reference

DTYPES = [torch.float32, torch.bfloat16, torch.float64]
RHO, LR, BETA1, BETA2, EPS, DECAY = 0.05, 1e-2, 0.9, 0.99, 1e-8, 0.1


def op_named(name):
    return getattr(torch.ops.arsbench, name).default


def update(function, x, **options):
    """Call ars_whiten or ars_adamw through its public function, with everything that both need."""
    lists = (x.grads, x.exp_avgs, x.exp_avg_sqs)
    options = {"beta1": BETA1, "beta2": BETA2, "eps": EPS, "step": 3} | options
    return function(*lists, **options)


def test_without_flatness_vectors_the_plain_gradient_is_used(make_inputs):
    plain, zero = make_inputs(torch.float64), make_inputs(torch.float64)
    directions, energies, norms = update(ops.ars_whiten, plain)
    injected = update(ops.ars_whiten, zero, flats=zero.flats, strengths=torch.zeros_like(zero.strengths))
    assert all(torch.equal(a, b) for a, b in zip(directions, injected[0], strict=True))
    assert torch.equal(energies, injected[1])
    assert torch.equal(norms, injected[2])


def test_one_call_may_mix_dtypes(make_inputs):
    mixed, alone = [make_inputs(dtype) for dtype in DTYPES], [make_inputs(dtype) for dtype in DTYPES]

    def call(inputs):
        lists = ("params", "grads", "exp_avgs", "exp_avg_sqs")
        joined = [[t for x in inputs for t in getattr(x, name)] for name in lists]
        return ops.ars_adamw(*joined, lr=LR, beta1=BETA1, beta2=BETA2, eps=EPS, weight_decay=DECAY, step=2)

    assert torch.equal(call(mixed), torch.cat([call([x]) for x in alone]))
    for a, b in zip(mixed, alone, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.params, b.params, strict=True))


def perturb(x, **options):
    options = {"rho": RHO, "beta2": BETA2, "eps": EPS, "step": 1, "adaptive": True} | options
    return ops.ars_perturb(x.params, x.grads, x.exp_avg_sqs, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "strided"])
def test_restore_gives_back_the_very_bits(dtype, layout, make_inputs):
    x = make_inputs(dtype, layout)
    x.params[1][0, 0], x.params[1][0, 1] = math.nan, -0.0
    before = [p.clone() for p in x.params]
    backups = perturb(x)
    assert not torch.equal(x.params[0], before[0])
    ops.ars_restore(x.params, backups)
    bits = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float64: torch.int64}[dtype]
    for p, old in zip(x.params, before, strict=True):
        assert torch.equal(p.contiguous().view(bits), old.contiguous().view(bits))


@pytest.mark.parametrize("past", [1, 3, 8])
@pytest.mark.parametrize("size", [1, 5, 17, 1024, 5001])
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_may_begin_anywhere_and_nothing_beside_it_is_written(dtype, size, past):
    def placed(values):
        space = torch.full((past + size + 7,), 7.0, dtype=values.dtype)
        view = space[past : past + size]
        view.copy_(values)
        return space, view

    p, g1, g2 = torch.randn(3, size).to(dtype)
    v = torch.rand(size).to(ops.state_dtype(dtype))
    backups, residuals = placed(torch.zeros_like(p)), placed(torch.zeros_like(v))
    params, expected = placed(p), p.clone()
    options = (RHO, BETA2, EPS, 1, True)
    op_named("ars_perturb")([params[1]], [g1], [v], [backups[1]], *options)
    op_named("ars_perturb")([expected], [g1], [v], [torch.empty_like(p)], *options)
    assert torch.equal(backups[1], p)
    assert torch.equal(params[1], expected)
    ops.ars_residual([g2], [g1], [residuals[1]])
    assert torch.equal(residuals[1], ops.ars_residual([g2], [g1])[0])
    for space, _ in (backups, params, residuals):
        assert torch.all(space[:past] == 7)
        assert torch.all(space[past + size :] == 7)


@pytest.mark.parametrize("use", ["op", "reference"])
@pytest.mark.parametrize("size", [1e30, 1.0, 1e-20, 1e-30])
@pytest.mark.parametrize("eps", [1e-8, 1e-12, 0.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_first_perturbation_neither_overflows_nor_vanishes(use, size, eps, dtype):
    function = op_named("ars_perturb") if use == "op" else reference.ars_perturb
    generator = torch.Generator().manual_seed(1)
    g = (size * torch.randn(40, 50, dtype=torch.float64, generator=generator)).to(dtype)
    p = torch.ones(40, 50, dtype=dtype)
    v = torch.zeros(40, 50, dtype=ops.state_dtype(dtype))
    function([p], [g], [v], [p.clone()], 1000.0, BETA2, eps, 1, False)
    # n = g/ε and e = ρ·n/(‖n‖+1e-12); ε = 0 stands for 1e-20.
    exact = g.double()
    expected = 1 + 1000 * exact / (exact.norm() + 1e-12 * max(eps, 1e-20))
    torch.testing.assert_close(
        p.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-4 if dtype != torch.bfloat16 else 0.01
    )


@pytest.mark.parametrize("use", ["op", "reference"])
@pytest.mark.parametrize("eps", [1e-8, 0.0])
def test_zero_gradients_perturb_nothing(use, eps):
    function = op_named("ars_perturb") if use == "op" else reference.ars_perturb
    p = torch.ones(9)
    function([p], [torch.zeros(9)], [torch.zeros(9)], [torch.empty(9)], RHO, BETA2, eps, 1, True)
    assert torch.equal(p, torch.ones(9))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bad_gradient_is_not_hidden(bad, dtype, make_inputs):
    x = make_inputs(dtype)
    x.grads[1][0, 1] = bad
    directions, energies, norms = update(ops.ars_whiten, x)
    assert not x.exp_avgs[1][0, 1].isfinite()
    assert directions[1][0, 1].isnan()
    assert energies.isnan().tolist() == [i == 1 for i in range(len(x.shapes))]
    assert norms.isfinite().tolist() == [i != 1 for i in range(len(x.shapes))]
    x = make_inputs(dtype)
    x.grads[1][0, 1] = bad
    perturb(x)
    assert x.params[1].isnan().any()
    assert x.params[0].isfinite().all()


def test_adamw_equals_torch(make_inputs):
    x = make_inputs(torch.float32)
    params = [torch.nn.Parameter(p.clone()) for p in x.params]
    optimizer = torch.optim.AdamW(params, lr=LR, betas=(BETA1, BETA2), eps=EPS, weight_decay=DECAY)
    m, v = ([torch.zeros_like(p) for p in params] for _ in range(2))
    for step in (1, 2, 3):
        for p, g in zip(params, x.grads, strict=True):
            p.grad = g * step
        optimizer.step()
        ops.ars_adamw(
            x.params,
            [g * step for g in x.grads],
            m,
            v,
            lr=LR,
            beta1=BETA1,
            beta2=BETA2,
            eps=EPS,
            weight_decay=DECAY,
            step=step,
        )
    # Three steps of a few float32 roundings each.
    torch.testing.assert_close(x.params, [p.detach() for p in params], rtol=2e-6, atol=2e-7)


def test_autograd_notices_the_change(make_inputs):
    x = make_inputs(torch.float32)
    weight = x.params[0].requires_grad_()
    loss = (weight**2).sum()
    backups = perturb(x)
    ops.ars_restore(x.params, backups)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def expanded(x):
    x.exp_avgs[1] = torch.zeros(7).expand(3, 7)


def too_short(x):
    x.exp_avg_sqs.pop()


def of_another_shape(x):
    x.exp_avgs[1] = x.exp_avgs[1].T


def of_another_dtype(x):
    x.exp_avgs[0] = x.exp_avgs[0].double()


def of_no_use(x):
    x.grads[0] = x.grads[0].long()


@pytest.mark.parametrize("spoil", [expanded, too_short, of_another_shape, of_another_dtype, of_no_use])
def test_the_kernel_checks_for_itself(spoil, compiled, make_inputs):
    compiled("ars_whiten")
    x = make_inputs(torch.float32)
    spoil(x)
    before = [v.clone() for v in x.exp_avg_sqs]
    with pytest.raises((ValueError, RuntimeError)):
        update(ops.ars_whiten, x)
    assert all(torch.equal(a, b) for a, b in zip(before, x.exp_avg_sqs, strict=True))


@pytest.mark.parametrize("options", [{"step": 0}, {"flats": "given"}, {"strengths": "given"}])
def test_wrong_options(options, make_inputs):
    x = make_inputs(torch.float32)
    options = {name: getattr(x, name) if value == "given" else value for name, value in options.items()}
    with pytest.raises(ValueError, match=next(iter(options))):
        update(ops.ars_whiten, x, **options)


def test_compiles_whole(make_inputs):
    def update(params, grads, exp_avgs, exp_avg_sqs, others):
        backups = ops.ars_perturb(
            params, grads, exp_avg_sqs, rho=RHO, beta2=BETA2, eps=EPS, step=3, adaptive=True
        )
        ops.ars_restore(params, backups)
        flats = ops.ars_residual(grads, others)
        strengths = ops.ars_dots(grads, flats)[:, 0].sqrt()
        directions, energies, _ = ops.ars_whiten(
            grads, exp_avgs, exp_avg_sqs, beta1=BETA1, beta2=BETA2, eps=EPS, step=3, flats=flats,
            strengths=strengths,
        )  # fmt: skip
        ops.ars_apply(params, directions, energies, lr=LR, weight_decay=DECAY)

    results = []
    for function in (update, torch.compile(update, backend="aot_eager", fullgraph=True)):
        x = make_inputs(torch.float32, shapes=[(5,), (3, 7)])
        function(x.params, x.grads, x.exp_avgs, x.exp_avg_sqs, x.others)
        results.append([*x.params, *x.exp_avgs, *x.exp_avg_sqs])
    for plain, compiled_result in zip(*results, strict=True):
        torch.testing.assert_close(compiled_result, plain)
