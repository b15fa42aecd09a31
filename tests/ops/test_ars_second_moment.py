"""The choices of `second_moment` in ars_whiten and ars_adamw: what v sees of an injected gradient."""

import math

import pytest
import torch

from arsbench import ops
from arsbench.ops.reference import ars_moments as reference

DTYPES = [torch.float32, torch.bfloat16, torch.float64]
BETA1, BETA2, EPS, STEP = 0.9, 0.99, 1e-8, 3
MOMENTS = {"beta1": BETA1, "beta2": BETA2, "eps": EPS, "step": STEP}
SIZE = 37  # two turns of sixteen lanes and a rest
LANES = (0, 5, 31, 36)  # in the vectors and in the rest

every_op = pytest.mark.parametrize("name", ["ars_whiten", "ars_adamw"])
every_implementation = pytest.mark.parametrize("implementation", ["op", "reference"])
every_choice = pytest.mark.parametrize("second_moment", ["plain", "bounded", "injected"])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def update(name, implementation, second_moment, g, f=None, v=None, strength=0.5):
    """Update one parameter of zeros with m = 0; returns v and θ, or for ars_whiten v and −s."""
    state = ops.state_dtype(g.dtype)
    m, theta = torch.zeros_like(g, dtype=state), torch.zeros_like(g)
    v = torch.zeros_like(g, dtype=state) if v is None else v.clone()
    s = torch.zeros_like(v)
    strengths = torch.tensor([strength], dtype=torch.float64)
    injection = ([], None) if f is None else ([f], strengths)
    function = getattr(reference if implementation == "reference" else torch.ops.arsbench, name)
    if name == "ars_whiten":
        function([g], [m], [v], [s], *injection, *MOMENTS.values(), second_moment)
        return v, -s
    function([theta], [g], [m], [v], *injection, 1.0, BETA1, BETA2, EPS, 0.0, STEP, second_moment)
    return v, theta


@pytest.fixture(autouse=True)
def _compiled(compiled):
    compiled("ars_whiten", "ars_adamw")


@every_implementation
@every_op
@pytest.mark.parametrize(
    ("second_moment", "expected"),
    # g = 1, f = 4, strength 0.5: g' = 3. v = 0, then v = 10, beside which (1 − β₂)g'² is small.
    [
        ("plain", (0.01, 9.91)),
        ("bounded", (0.09, 9.91)),
        ("injected", (0.09, 9.99)),
    ],
)
@every_dtype
def test_what_the_second_moment_sees(implementation, name, second_moment, expected, dtype):
    g, f = torch.ones(SIZE, dtype=dtype), torch.full((SIZE,), 4, dtype=ops.state_dtype(dtype))
    for before, after in zip((0.0, 10.0), expected, strict=True):
        v, _ = update(name, implementation, second_moment, g, f, torch.full_like(f, before))
        torch.testing.assert_close(v, torch.full_like(f, after), rtol=1e-6, atol=0)


@every_implementation
@every_op
@every_dtype
def test_a_flatness_vector_alone_does_not_divide_by_epsilon(implementation, name, dtype):
    # g = v = 0 where f ≠ 0: a unit that was active when f was measured, and is not any more.
    f = torch.full((SIZE,), 0.01, dtype=ops.state_dtype(dtype))
    longest = {
        second_moment: update(name, implementation, second_moment, torch.zeros(SIZE, dtype=dtype), f)[1]
        .abs()
        .max()
        .item()
        for second_moment in ("plain", "bounded", "injected")
    }
    assert longest["plain"] > 1e4
    assert longest["bounded"] < 1.0
    assert longest["injected"] < 1.0


@every_implementation
@every_op
@every_choice
@every_dtype
def test_without_an_injection_all_choices_are_bitwise_the_same(implementation, name, second_moment, dtype):
    generator = torch.Generator().manual_seed(0)
    g, f, v = torch.randn(3, 1001, dtype=torch.float64, generator=generator)
    f, v = f.to(ops.state_dtype(dtype)), v.square().to(ops.state_dtype(dtype))
    v[::3] = 0
    expected = update(name, implementation, "plain", g.to(dtype), v=v)
    for injection in ({}, {"f": f, "strength": 0.0}):
        result = update(name, implementation, second_moment, g.to(dtype), v=v, **injection)
        assert torch.equal(result[0], expected[0])
        assert torch.equal(result[1], expected[1])


@every_implementation
@every_op
@every_choice
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("spoiled", ["g", "f", "v"])
@every_dtype
def test_a_bad_number_is_not_hidden(implementation, name, second_moment, bad, spoiled, dtype):
    state = ops.state_dtype(dtype)
    tensors = {"g": torch.ones(SIZE, dtype=dtype), "f": torch.ones(SIZE, dtype=state)}
    tensors["v"] = torch.ones(SIZE, dtype=state)
    tensors[spoiled][list(LANES)] = bad
    v, _ = update(name, implementation, second_moment, **tensors)
    if spoiled == "f" and second_moment == "plain":
        assert v.isfinite().all()  # v does not see f
        return
    seen = v[list(LANES)]
    assert torch.all(seen.isnan() if math.isnan(bad) else seen == math.inf)
    assert v.isfinite().sum() == SIZE - len(LANES)


@every_implementation
@every_op
@every_dtype
def test_opposite_infinities_make_nan(implementation, name, dtype):
    # β₂v + (1−β₂)g² is ∞ while g' = ∞ − ∞ is NaN.
    g, f = torch.ones(SIZE, dtype=dtype), torch.ones(SIZE, dtype=ops.state_dtype(dtype))
    g[list(LANES)], f[list(LANES)] = math.inf, -math.inf
    v, _ = update(name, implementation, "bounded", g, f)
    assert v[list(LANES)].isnan().all()
    assert v.isnan().sum() == len(LANES)


@every_choice
def test_the_public_functions_pass_the_choice_on(second_moment, make_inputs):
    # "plain" is the default.
    choice = {} if second_moment == "plain" else {"second_moment": second_moment}
    whitened, stepped, expected = (make_inputs(torch.float32) for _ in range(3))
    lists = [(x.grads, x.exp_avgs, x.exp_avg_sqs) for x in (whitened, stepped, expected)]
    injection = {"flats": expected.flats, "strengths": expected.strengths} | choice
    ops.ars_whiten(*lists[0], **MOMENTS, **injection)
    ops.ars_adamw(stepped.params, *lists[1], lr=0.1, weight_decay=0.0, **MOMENTS, **injection)
    reference.ars_whiten(
        *lists[2], expected.directions, expected.flats, expected.strengths, *MOMENTS.values(), second_moment
    )
    for x in (whitened, stepped):
        torch.testing.assert_close(x.exp_avg_sqs, expected.exp_avg_sqs, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("call", ["public", "op", "reference"])
@pytest.mark.parametrize("shapes", [[(5,)], []])
def test_an_unknown_choice_is_refused_with_the_choices(call, shapes, make_inputs):
    x = make_inputs(torch.float32, shapes=shapes)
    lists = (x.grads, x.exp_avgs, x.exp_avg_sqs)
    injection, numbers = (x.flats, x.strengths), (0.1, BETA1, BETA2, EPS, 0.0, STEP)
    before = [v.clone() for v in x.exp_avg_sqs]
    if call == "public":
        calls = [
            lambda: ops.ars_whiten(*lists, **MOMENTS, second_moment="some"),
            lambda: ops.ars_adamw(
                x.params, *lists, **MOMENTS, lr=0.1, weight_decay=0.0, second_moment="some"
            ),
        ]
    else:
        module = torch.ops.arsbench if call == "op" else reference
        calls = [
            lambda: module.ars_whiten(*lists, x.directions, *injection, *MOMENTS.values(), "some"),
            lambda: module.ars_adamw(x.params, *lists, *injection, *numbers, "some"),
        ]
    for refused in calls:
        with pytest.raises(
            ValueError, match=r'second_moment is .some.; it must be "plain", "bounded" or "inj'
        ):
            refused()
    assert all(torch.equal(a, b) for a, b in zip(before, x.exp_avg_sqs, strict=True))


@every_choice
def test_compiles_whole(second_moment, make_inputs):
    def step(params, grads, exp_avgs, exp_avg_sqs, flats, strengths):
        injection = {"flats": flats, "strengths": strengths, "second_moment": second_moment}
        directions, energies, _ = ops.ars_whiten(grads, exp_avgs, exp_avg_sqs, **MOMENTS, **injection)
        ops.ars_apply(params, directions, energies, lr=0.1, weight_decay=0.0)
        ops.ars_adamw(params, grads, exp_avgs, exp_avg_sqs, lr=0.1, weight_decay=0.0, **MOMENTS, **injection)

    results = []
    for function in (step, torch.compile(step, backend="aot_eager", fullgraph=True)):
        x = make_inputs(torch.float32, shapes=[(5,), (3, 7)])
        function(x.params, x.grads, x.exp_avgs, x.exp_avg_sqs, x.flats, x.strengths)
        results.append([*x.params, *x.exp_avgs, *x.exp_avg_sqs])
    for eager, traced in zip(*results, strict=True):
        torch.testing.assert_close(traced, eager)
