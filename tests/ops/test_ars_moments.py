"""The element-wise ARS ops against the formulas in float64, written out here once more."""

import pytest
import torch

from arsbench import ops
from arsbench.ops.reference import ars_moments as reference

DTYPES = [torch.float32, torch.bfloat16, torch.float64]
RHO, LR, BETA1, BETA2, EPS, DECAY = 0.05, 1e-2, 0.9, 0.99, 1e-8, 0.1
NAMES = ["ars_perturb", "ars_restore", "ars_dots", "ars_residual", "ars_whiten", "ars_adamw", "ars_apply"]
SECOND_MOMENTS = ["plain", "bounded", "injected"]
every_op = pytest.mark.parametrize("name", NAMES)
every_case = pytest.mark.parametrize(
    ("name", "second_moment"),
    [
        *((name, "plain") for name in NAMES),
        *((name, choice) for name in ("ars_whiten", "ars_adamw") for choice in SECOND_MOMENTS[1:]),
    ],
)


def arguments(name, x, step=3, second_moment="plain"):
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
            second_moment,
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
            second_moment,
        ),
        "ars_apply": (x.params, x.flats, x.strengths, LR, DECAY),
    }[name]


def second_moments(x, second_moment):
    """v after the update, in the dtype of the tensors."""
    rest = 1 - BETA2
    lists = zip(x.exp_avg_sqs, x.grads, x.strengths, x.flats, strict=True)
    new_v = []
    for v, g, strength, f in lists:
        plain, injected = BETA2 * v + rest * g**2, rest * (g + strength * f) ** 2
        new_v.append(
            {
                "plain": plain,
                "bounded": torch.where(injected > plain, injected, plain),
                "injected": BETA2 * v + injected,
            }[second_moment]
        )
    return new_v


def truth(name, x, step=3, second_moment="plain"):
    """What the op returns and what it leaves in its arguments, in float64, for tensors that are float64."""
    n = len(x.params)
    p, g, m, v = x.params, x.grads, x.exp_avgs, x.exp_avg_sqs
    g_in = [g[i] + x.strengths[i] * x.flats[i] for i in range(n)]
    new_m = [BETA1 * m[i] + (1 - BETA1) * g_in[i] for i in range(n)]
    new_v = second_moments(x, second_moment)
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


@every_case
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "strided"])
def test_opcheck(name, second_moment, dtype, layout, make_inputs):
    def check(x, *utilities):
        called = arguments(name, x, second_moment=second_moment)
        torch.library.opcheck(op_named(name), called, test_utils=utilities)

    check(make_inputs(dtype, layout), "test_schema", "test_autograd_registration", "test_faketensor")
    # Tracing takes thirty times as long as these checks together: it gets few tensors.
    check(make_inputs(dtype, layout, [(3, 7), (0, 4), ()]), "test_aot_dispatch_dynamic")


@every_case
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "strided"])
@pytest.mark.parametrize("step", [1, 2, 50])
def test_parity(name, second_moment, dtype, layout, step, compiled, assert_as_good_as, make_inputs):
    compiled(name)

    def drawn():
        return arguments(name, make_inputs(dtype, layout), step, second_moment)

    mine = outcome(op_named(name), drawn())
    theirs = outcome(getattr(reference, name), drawn())
    exact = make_inputs(dtype)
    for attribute in ("params", "grads", "others", "exp_avgs", "exp_avg_sqs", "flats"):
        setattr(exact, attribute, [t.double() for t in getattr(exact, attribute)])
    expected = truth(name, exact, step, second_moment)
    assert len(mine) == len(theirs) == len(expected)
    for kernel, plain, true in zip(mine, theirs, expected, strict=True):
        if name == "ars_residual" and true.numel() == 1:
            continue  # one number is parallel to any other: what is left of it is rounding alone
        # Norms are float64 sums over what was computed in the state's dtype.
        computed_in = ops.state_dtype(dtype) if kernel.dtype == torch.float64 else None
        assert_as_good_as(kernel, plain, true, computed_in=computed_in)


@every_case
def test_empty_lists(name, second_moment, make_inputs):
    nothing = tuple(
        [] if isinstance(a, list) else a[:0] if isinstance(a, torch.Tensor) else a
        for a in arguments(name, make_inputs(torch.float32), second_moment=second_moment)
    )
    for result in tensors_in(op_named(name)(*nothing)):
        assert result.shape in ((0,), (0, 3))


@every_op
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_a_bit(name, dtype, threads, compiled, make_inputs):
    compiled(name)
    shapes = [(300, 301), (70000,), (11,)]  # five or six chunks in a tensor
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(outcome(op_named(name), arguments(name, make_inputs(dtype, shapes=shapes))))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
