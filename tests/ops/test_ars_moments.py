"""The element-wise ARS ops against the formulas in float64, written out here once more."""

import math

import pytest
import torch

from arsbench import ops
from arsbench.ops.reference import ars_moments as reference

SHAPES = [(5,), (3, 7), (16384 + 5,), (0, 4), (2, 3, 4, 5), (), (1, 33)]
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
RHO, LR, BETA1, BETA2, EPS, DECAY = 0.05, 1e-2, 0.9, 0.99, 1e-8, 0.1
NAMES = ["ars_perturb", "ars_restore", "ars_dots", "ars_residual", "ars_whiten", "ars_adamw", "ars_apply"]


class Inputs:
    """Lists of random tensors, with the same values in every layout."""

    def __init__(self, dtype, layout="contiguous", shapes=SHAPES):
        self.generator = torch.Generator().manual_seed(0)
        self.layout = layout
        self.shapes = shapes
        state = ops.state_dtype(dtype)
        self.params, self.grads, self.others = (self.draw(dtype) for _ in range(3))
        self.exp_avgs, self.flats = self.draw(state, 0.1), self.draw(state)
        self.backups, self.directions = self.draw(dtype), self.draw(state)  # to be overwritten
        self.exp_avg_sqs = [v.abs_() for v in self.draw(state, 0.01)]
        self.strengths = torch.rand(len(shapes), dtype=torch.float64, generator=self.generator)

    def draw(self, dtype, scale=1.0):
        values = (
            scale * torch.randn(shape, dtype=torch.float64, generator=self.generator) for shape in self.shapes
        )
        return [self.laid_out(value.to(dtype)) for value in values]

    def laid_out(self, x):
        if x.dim() == 0 or self.layout == "contiguous":
            return x
        if self.layout == "permuted":  # dense, in another order
            return x.movedim(0, -1).contiguous().movedim(-1, 0)
        return torch.stack([x, x], dim=-1)[..., 0]  # "strided": with gaps


def arguments(name, x, step=3):
    """The op's arguments in the schema's order, from a set of inputs."""
    injection = (x.flats, x.strengths)
    return {
        "ars_perturb": (x.params, x.grads, x.exp_avg_sqs, x.backups, RHO, BETA2, EPS, step, True),
        "ars_restore": (x.params, x.others),
        "ars_dots": (x.grads, x.flats),
        "ars_residual": (x.grads, x.others, x.directions),
        "ars_whiten": (
            x.grads,
            x.exp_avgs,
            x.exp_avg_sqs,
            x.directions,
            *injection,
            BETA1,
            BETA2,
            EPS,
            step,
            False,
        ),
        "ars_adamw": (
            x.params,
            x.grads,
            x.exp_avgs,
            x.exp_avg_sqs,
            *injection,
            LR,
            BETA1,
            BETA2,
            EPS,
            DECAY,
            step,
            False,
        ),
        "ars_apply": (x.params, x.flats, x.strengths, LR, DECAY),
    }[name]


def truth(name, x, step=3):
    """What the op returns and what it leaves in its arguments, in float64, for tensors that are float64."""
    n = len(x.params)
    p, g, m, v = x.params, x.grads, x.exp_avgs, x.exp_avg_sqs
    g_in = [g[i] + x.strengths[i] * x.flats[i] for i in range(n)]
    new_m = [BETA1 * m[i] + (1 - BETA1) * g_in[i] for i in range(n)]
    new_v = [BETA2 * v[i] + (1 - BETA2) * g[i] ** 2 for i in range(n)]
    s = [(new_m[i] / (1 - BETA1**step)) / ((new_v[i] / (1 - BETA2**step)) ** 0.5 + EPS) for i in range(n)]
    norms = [t.pow(2).sum().sqrt() for t in g_in]
    if name == "ars_perturb":
        old = 1 - BETA2 ** max(1, step - 1) + 1e-12
        ascent = [g[i] / ((v[i] / old) ** 0.5 + EPS) * p[i].abs() for i in range(n)]
        return [*(p[i] + RHO * a / (a.pow(2).sum().sqrt() + 1e-12) for i, a in enumerate(ascent)), *g, *v, *p]
    if name == "ars_restore":
        return [*x.others, *x.others]
    if name == "ars_dots":
        rows = [
            [(a * b).sum() for a, b in ((g[i], g[i]), (x.flats[i], x.flats[i]), (g[i], x.flats[i]))]
            for i in range(n)
        ]
        return [torch.tensor(rows, dtype=torch.float64), *g, *x.flats]
    if name == "ars_residual":
        g1 = x.others
        return [
            *g,
            *g1,
            *(g[i] - (g[i] * g1[i]).sum() / ((g1[i] ** 2).sum() + 1e-12) * g1[i] for i in range(n)),
        ]
    if name == "ars_whiten":
        energies = [t.pow(2).sum().sqrt() for t in s]
        return [torch.stack(energies), torch.stack(norms), *g, *new_m, *new_v, *s, *x.flats, x.strengths]
    if name == "ars_adamw":
        new_p = [p[i] * (1 - LR * DECAY) - LR * s[i] for i in range(n)]
        return [torch.stack(norms), *new_p, *g, *new_m, *new_v, *x.flats, x.strengths]
    new_p = [p[i] * (1 - LR * DECAY) - LR * x.strengths[i] * x.flats[i] for i in range(n)]
    return [*new_p, *x.flats, x.strengths]


def tensors_in(values):
    """All tensors in nested lists and tuples, in order."""
    if isinstance(values, torch.Tensor):
        return [values]
    return [t for value in values for t in tensors_in(value)] if isinstance(values, (list, tuple)) else []


def outcome(op, args):
    """What `op` returns, followed by all its tensor arguments as it leaves them."""
    return [*tensors_in(op(*args)), *tensors_in(args)]


def op_named(name):
    return getattr(torch.ops.arsbench, name).default


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "strided"])
def test_opcheck(name, dtype, layout):
    torch.library.opcheck(op_named(name), arguments(name, Inputs(dtype, layout)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "strided"])
@pytest.mark.parametrize("step", [1, 2, 50])
def test_parity(name, dtype, layout, step, compiled, assert_as_good_as):
    compiled(name)
    mine = outcome(op_named(name), arguments(name, Inputs(dtype, layout), step))
    theirs = outcome(getattr(reference, name), arguments(name, Inputs(dtype, layout), step))
    exact = Inputs(dtype)
    for attribute in ("params", "grads", "others", "exp_avgs", "exp_avg_sqs", "flats"):
        setattr(exact, attribute, [t.double() for t in getattr(exact, attribute)])
    expected = truth(name, exact, step)
    assert len(mine) == len(theirs) == len(expected)
    for kernel, plain, true in zip(mine, theirs, expected, strict=True):
        if name == "ars_residual" and true.numel() == 1:
            continue  # one number is parallel to any other: what is left of it is rounding alone
        # Norms are float64 sums over what was computed in the state's dtype.
        computed_in = ops.state_dtype(dtype) if kernel.dtype == torch.float64 else None
        assert_as_good_as(kernel, plain, true, computed_in=computed_in)


@pytest.mark.parametrize("name", NAMES)
def test_empty_lists(name):
    x = Inputs(torch.float32)
    nothing = tuple(
        [] if isinstance(a, list) else a[:0] if isinstance(a, torch.Tensor) else a for a in arguments(name, x)
    )
    for result in tensors_in(op_named(name)(*nothing)):
        assert result.shape in ((0,), (0, 3))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_a_bit(name, dtype, threads, compiled):
    compiled(name)
    shapes = [(300, 301), (70000,), (11,)]  # five or six chunks in a tensor
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(outcome(op_named(name), arguments(name, Inputs(dtype, shapes=shapes))))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def update(function, x, **options):
    """Call ars_whiten or ars_adamw through its public function, with everything that both need."""
    lists = (x.grads, x.exp_avgs, x.exp_avg_sqs)
    options = {"beta1": BETA1, "beta2": BETA2, "eps": EPS, "step": 3} | options
    return function(*lists, **options)


def test_without_flatness_vectors_the_plain_gradient_is_used():
    plain, zero = Inputs(torch.float64), Inputs(torch.float64)
    directions, energies, norms = update(ops.ars_whiten, plain)
    injected = update(ops.ars_whiten, zero, flats=zero.flats, strengths=torch.zeros_like(zero.strengths))
    assert all(torch.equal(a, b) for a, b in zip(directions, injected[0], strict=True))
    assert torch.equal(energies, injected[1])
    assert torch.equal(norms, injected[2])


@pytest.mark.parametrize("use", ["op", "reference"])
def test_second_moment_sees_the_injected_gradient_only_if_asked(use):
    function = op_named("ars_whiten") if use == "op" else reference.ars_whiten
    for inject_second in (False, True):
        x = Inputs(torch.float64)
        seen = (
            [g + a * f for g, a, f in zip(x.grads, x.strengths, x.flats, strict=True)]
            if inject_second
            else x.grads
        )
        expected = [BETA2 * v + (1 - BETA2) * g**2 for v, g in zip(x.exp_avg_sqs, seen, strict=True)]
        function(*arguments("ars_whiten", x)[:-1], inject_second)
        torch.testing.assert_close(x.exp_avg_sqs, expected)


def test_one_call_may_mix_dtypes():
    mixed, alone = [Inputs(dtype) for dtype in DTYPES], [Inputs(dtype) for dtype in DTYPES]

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
def test_restore_gives_back_the_very_bits(dtype, layout):
    x = Inputs(dtype, layout)
    x.params[1][0, 0], x.params[1][0, 1] = math.nan, -0.0
    before = [p.clone() for p in x.params]
    backups = perturb(x)
    assert not torch.equal(x.params[0], before[0])
    ops.ars_restore(x.params, backups)
    bits = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float64: torch.int64}[dtype]
    for p, old in zip(x.params, before, strict=True):
        assert torch.equal(p.contiguous().view(bits), old.contiguous().view(bits))


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
def test_a_bad_gradient_is_not_hidden(bad, dtype):
    x = Inputs(dtype)
    x.grads[1][0, 1] = bad
    directions, energies, norms = update(ops.ars_whiten, x)
    assert not x.exp_avgs[1][0, 1].isfinite()
    assert directions[1][0, 1].isnan()
    assert energies.isnan().tolist() == [i == 1 for i in range(len(SHAPES))]
    assert norms.isfinite().tolist() == [i != 1 for i in range(len(SHAPES))]
    x = Inputs(dtype)
    x.grads[1][0, 1] = bad
    perturb(x)
    assert x.params[1].isnan().any()
    assert x.params[0].isfinite().all()


def test_adamw_equals_torch():
    x = Inputs(torch.float32)
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


def test_autograd_notices_the_change():
    x = Inputs(torch.float32)
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
def test_the_kernel_checks_for_itself(spoil, compiled):
    compiled("ars_whiten")
    x = Inputs(torch.float32)
    spoil(x)
    before = [v.clone() for v in x.exp_avg_sqs]
    with pytest.raises((ValueError, RuntimeError)):
        update(ops.ars_whiten, x)
    assert all(torch.equal(a, b) for a, b in zip(before, x.exp_avg_sqs, strict=True))


@pytest.mark.parametrize("options", [{"step": 0}, {"flats": "given"}, {"strengths": "given"}])
def test_wrong_options(options):
    x = Inputs(torch.float32)
    options = {name: getattr(x, name) if value == "given" else value for name, value in options.items()}
    with pytest.raises(ValueError, match=next(iter(options))):
        update(ops.ars_whiten, x, **options)


def test_compiles_whole():
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
        x = Inputs(torch.float32, shapes=[(5,), (3, 7)])
        function(x.params, x.grads, x.exp_avgs, x.exp_avg_sqs, x.others)
        results.append([*x.params, *x.exp_avgs, *x.exp_avg_sqs])
    for plain, compiled_result in zip(*results, strict=True):
        torch.testing.assert_close(compiled_result, plain)
