"""The CUDA kernels of the element-wise ARS ops, run by the host emulator."""

import math

import pytest
import torch

from arsbench.ops.reference import ars_moments as reference

DTYPES = [torch.float32, torch.bfloat16]
RHO, LR, BETA1, BETA2, EPS, DECAY = 0.05, 1e-2, 0.9, 0.99, 1e-8, 0.1
CHUNK = 8192
FEW = 64  # elements; the error of a smaller tensor says little about the arithmetic
# Empty tensors at both ends and next to each other; sizes around a vector, a block's iteration and a chunk.
SIZES = [0, 5, 1, 0, 0, 3, 4, 7, 8, 9, 33, 1023, 1025, 2049, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5, 0]
# More tensors than one launch takes, which is 123 with two lists and fewer with more.
MANY = [*SIZES, *(i * 37 % 101 for i in range(110)), 20000]

# An op, and the variant of its call. A wrong bias correction scales the whole direction, which its norm
# hides, unless ε is as large as √v̂.
CASES = {
    "perturb": ("ars_perturb", {"step": 3}),
    "perturb-first": ("ars_perturb", {"step": 1, "adaptive": True}),
    "perturb-second": ("ars_perturb", {"step": 2, "eps": 0.5, "adaptive": True}),
    "perturb-late": ("ars_perturb", {"step": 50, "eps": 0.05, "adaptive": True}),
    "restore": ("ars_restore", {}),
    "dots": ("ars_dots", {"others": "others"}),
    "dots-flats": ("ars_dots", {"others": "flats"}),
    "residual": ("ars_residual", {}),
    "whiten": ("ars_whiten", {"step": 1}),
    "whiten-injected": ("ars_whiten", {"step": 3, "inject": True}),
    "whiten-bounded": ("ars_whiten", {"step": 3, "inject": True, "second_moment": "bounded"}),
    "whiten-injected-twice": ("ars_whiten", {"step": 3, "inject": True, "second_moment": "injected"}),
    "adamw": ("ars_adamw", {"step": 1}),
    "adamw-injected": ("ars_adamw", {"step": 3, "inject": True}),
    "adamw-bounded": ("ars_adamw", {"step": 3, "inject": True, "second_moment": "bounded"}),
    "adamw-injected-twice": ("ars_adamw", {"step": 3, "inject": True, "second_moment": "injected"}),
    "apply": ("ars_apply", {}),
}
every_case = pytest.mark.parametrize("case", CASES)
every_kernel = pytest.mark.parametrize(
    "case",
    [
        "perturb-first",
        "restore",
        "dots",
        "dots-flats",
        "residual",
        "whiten-injected",
        "whiten-bounded",
        "adamw-injected",
        "adamw-bounded",
        "apply",
    ],
)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


class Inputs:
    """Arguments of every op: lists of tensors, each `past` elements after an aligned address."""

    LISTS = ("params", "grads", "others", "backups", "exp_avgs", "exp_avg_sqs", "flats", "directions")
    BESIDE = 7.0  # the value of the memory around each tensor

    def __init__(self, dtype, sizes, past=0):
        generator = torch.Generator().manual_seed(0)
        self.dtype, self.past, self.memory = dtype, past, []
        self.numels = torch.tensor(sizes)

        def draw(dtype, scale=1.0):
            values = (scale * torch.randn(size, dtype=torch.float64, generator=generator) for size in sizes)
            return [self.placed(value.to(dtype)) for value in values]

        self.params, self.grads, self.others, self.backups = (draw(dtype) for _ in range(4))
        self.exp_avgs, self.exp_avg_sqs = draw(torch.float32, 0.1), draw(torch.float32, 0.01)
        self.flats, self.directions = draw(torch.float32), draw(torch.float32)
        for v in self.exp_avg_sqs:
            v.abs_()
        self.strengths = torch.rand(len(sizes), dtype=torch.float64, generator=generator)

    def placed(self, values):
        begin = 8 + self.past
        memory = torch.full((begin + values.numel() + 8,), self.BESIDE, dtype=values.dtype)
        self.memory.append((memory, begin, begin + values.numel()))
        memory[begin : begin + values.numel()] = values
        return memory[begin : begin + values.numel()]

    def double(self):
        for name in self.LISTS:
            setattr(self, name, [x.double() for x in getattr(self, name)])
        return self


def arguments(case, x):
    """The op's name, and its arguments in the order of its schema."""
    name, options = CASES[case]
    step, second = options.get("step"), options.get("second_moment", "plain")
    eps = options.get("eps", EPS)
    injection = (x.flats, x.strengths) if options.get("inject") else ([], None)
    moments = (x.exp_avgs, x.exp_avg_sqs)
    return name, {
        "ars_perturb": lambda: (
            x.params, x.grads, x.exp_avg_sqs, x.backups, RHO, BETA2, eps, step, options.get("adaptive", False)
        ),
        "ars_restore": lambda: (x.params, x.others),
        "ars_dots": lambda: (x.grads, getattr(x, options["others"])),
        "ars_residual": lambda: (x.grads, x.others, x.directions),
        "ars_whiten": lambda: (
            x.grads, *moments, x.directions, *injection, BETA1, BETA2, EPS, step, second
        ),
        "ars_adamw": lambda: (
            x.params, x.grads, *moments, *injection, LR, BETA1, BETA2, EPS, DECAY, step, second
        ),
        "ars_apply": lambda: (x.params, x.flats, x.strengths, LR, DECAY),
    }[name]()  # fmt: skip


def everything(x, results):
    """Everything that a call may change: its results, then every list of tensors."""
    results = () if results is None else (results,) if isinstance(results, torch.Tensor) else results
    return {f"result {i}": [r] for i, r in enumerate(results)} | {name: getattr(x, name) for name in x.LISTS}


def by_reference(case, x):
    name, args = arguments(case, x)
    return everything(x, getattr(reference, name)(*args))


@pytest.fixture
def by_kernel(host_kernels):
    """by_kernel(case, inputs): the kernels' results."""
    library = host_kernels("ars_moments")
    results = {"ars_dots": [(3,)], "ars_whiten": [(), ()], "ars_adamw": [()]}

    def call(case, x, schedule=(0, 0), threads=1):
        name, args = arguments(case, x)
        # Omitted lists are null pointers, choices are numbers; unwritten results stay NaN.
        args = [None if isinstance(arg, list) and not arg else arg for arg in args]
        args = [reference.SECOND_MOMENTS.index(arg) if isinstance(arg, str) else arg for arg in args]
        rows = [
            torch.full((len(x.params), *shape), math.nan, dtype=torch.float64)
            for shape in results.get(name, [])
        ]
        kinds = [x.dtype == torch.bfloat16]
        if name == "ars_dots":
            kinds.append(args[1][0].dtype == torch.bfloat16)
        library.schedule(*schedule, threads=threads)
        library(name, *kinds, len(x.params), x.numels, *args, *rows)
        return everything(x, rows)

    return call


def relative_error(value, truth):
    error = torch.linalg.vector_norm(value.double() - truth)
    return (error / torch.linalg.vector_norm(truth)).item() if error > 0 else 0.0


def assert_as_good(actual, peer, truth):
    """Each tensor's error is at most twice the reference's; rows of sums are compared one by one.

    The reference's error of a few elements is chance (a single one may come out exact), so short tensors are
    held against the worst of the reference's errors among them. The floor is for what it gets exactly right:
    two roundings of what it is computed in.
    """
    sizes = [x.numel() for x in truth["params"]]
    for name in truth:
        lists = (
            values[name][0] if name.startswith("result") else values[name] for values in (actual, peer, truth)
        )
        errors, allowed = [], []
        for kernel, plain, exact in zip(*lists, strict=True):
            assert kernel.isfinite().all(), name
            floor = 2 * torch.finfo(torch.float32 if kernel.dtype == torch.float64 else kernel.dtype).eps
            errors.append(relative_error(kernel, exact))
            allowed.append(2 * relative_error(plain, exact) + floor)
        worst = max((bound for bound, size in zip(allowed, sizes, strict=True) if size < FEW), default=0)
        for error, bound, size in zip(errors, allowed, sizes, strict=True):
            bound = worst if size < FEW else bound
            assert error <= bound, f"{name} of {size} elements: {error:.2e} > {bound:.2e}"


def assert_same_bits(some, others):
    for name, tensors in others.items():
        for i, (one, other) in enumerate(zip(some[name], tensors, strict=True)):
            assert torch.equal(bits(one), bits(other)), f"{name} {i}"


def bits(x):
    return x.contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


def check_parity(case, dtype, sizes, by_kernel):
    actual = by_kernel(case, Inputs(dtype, sizes), threads=2)
    peer = by_reference(case, Inputs(dtype, sizes))
    truth = by_reference(case, Inputs(dtype, sizes).double())
    if case == "residual":  # one number is parallel to any other: the residual is rounding error only
        for values in (actual, peer, truth):
            values["directions"] = [x if x.numel() > 1 else x[:0] for x in values["directions"]]
    assert_as_good(actual, peer, truth)


@every_case
@every_dtype
def test_parity(case, dtype, by_kernel):
    check_parity(case, dtype, MANY, by_kernel)


@pytest.mark.slow
@every_case
@every_dtype
def test_parity_of_long_lists(case, dtype, by_kernel):
    generator = torch.Generator().manual_seed(1)
    sizes = torch.exp(torch.rand(297, generator=generator) * math.log(3000)).int().tolist()
    for count in (1, 2, 70, 71, 300):
        check_parity(case, dtype, [100_000, *sizes[:200], 0, 50_001, *sizes[200:]][:count], by_kernel)


@pytest.fixture(scope="module")
def in_order():
    """The results under the first schedule, by case and dtype."""
    return {}


@every_kernel
@every_dtype
def test_schedules_do_not_change_a_bit(case, dtype, schedule, by_kernel, in_order):
    results = by_kernel(
        case, Inputs(dtype, [CHUNK + 5, 1, 0, 40, 1029]), schedule, threads=1 + schedule[0] % 2
    )
    assert_same_bits(results, in_order.setdefault((case, dtype), results))


@every_kernel
@every_dtype
def test_memory_may_begin_anywhere_and_nothing_beside_it_is_written(case, dtype, by_kernel):
    expected = by_kernel(case, Inputs(dtype, SIZES))
    for past in (1, 2, 4):
        x = Inputs(dtype, SIZES, past)
        assert_same_bits(by_kernel(case, x), expected)
        for memory, begin, end in x.memory:
            assert torch.all(memory[:begin] == x.BESIDE)
            assert torch.all(memory[end:] == x.BESIDE)


def test_one_misaligned_list_is_enough(by_kernel):
    # An operation reads vectors only if all its tensors are aligned.
    expected = by_kernel("adamw", Inputs(torch.float32, SIZES))
    for name in ("params", "grads", "exp_avgs", "exp_avg_sqs"):
        x, other = Inputs(torch.float32, SIZES), Inputs(torch.float32, SIZES, past=1)
        setattr(x, name, getattr(other, name))
        assert_same_bits(by_kernel("adamw", x), expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@every_dtype
def test_a_bad_gradient_is_not_hidden(bad, dtype, by_kernel):
    def spoiled():
        x = Inputs(dtype, [9000, 20, 5, 0])
        x.grads[0][8999], x.grads[2][1] = bad, bad
        return x

    for case in ("whiten", "adamw", "dots"):
        actual, peer = by_kernel(case, spoiled()), by_reference(case, spoiled())
        for name, tensors in peer.items():
            for one, other in zip(actual[name], tensors, strict=True):
                assert torch.equal(one.isnan(), other.isnan()), (case, name)
                assert torch.equal(one.isinf(), other.isinf()), (case, name)
    for case, name in (("perturb", "params"), ("residual", "directions")):
        actual = by_kernel(case, spoiled())[name]
        assert [bool(x.isfinite().all()) for x in actual] == [False, True, False, True]
        assert actual[0][8999].isnan()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("spoiled", ["grads", "flats", "exp_avg_sqs"])
@pytest.mark.parametrize(
    "case", ["whiten-injected", "whiten-bounded", "whiten-injected-twice", "adamw-bounded"]
)
@every_dtype
def test_second_moment_does_not_hide_a_bad_number(case, spoiled, bad, dtype, by_kernel):
    def inputs():
        x = Inputs(dtype, [9000, 20, 5, 0])
        for i, k in ((0, 0), (0, 8999), (2, 1)):
            getattr(x, spoiled)[i][k] = bad
        return x

    actual, peer = (run(case, inputs())["exp_avg_sqs"] for run in (by_kernel, by_reference))
    bad_numbers = 0 if spoiled == "flats" and case == "whiten-injected" else 3
    assert sum((~v.isfinite()).sum() for v in actual) == bad_numbers
    for v, expected in zip(actual, peer, strict=True):
        assert torch.equal(v.isnan(), expected.isnan())
        assert torch.equal(v.isinf(), expected.isinf())


@pytest.mark.parametrize("size", [1e30, 1e-20, 1e-30])
@pytest.mark.parametrize("eps", [1e-8, 0.0])
@every_dtype
def test_first_perturbation_neither_overflows_nor_vanishes(size, eps, dtype, host_kernels):
    g = (size * torch.randn(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).to(dtype)
    p, v, backup = torch.ones(2000, dtype=dtype), torch.zeros(2000), torch.empty(2000, dtype=dtype)
    lists, options = ([p], [g], [v], [backup]), (1000.0, BETA2, eps, 1, False)
    host_kernels("ars_moments")(
        "ars_perturb", dtype == torch.bfloat16, 1, torch.tensor([2000]), *lists, *options
    )
    # n = g/ε and e = ρ·n/(‖n‖+1e-12); ε = 0 is replaced by 1e-20.
    expected = 1 + 1000 * g.double() / (g.double().norm() + 1e-12 * max(eps, 1e-20))
    tolerance = {torch.float32: 1e-4, torch.bfloat16: 0.01}[dtype]
    torch.testing.assert_close(p.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=tolerance)
    assert torch.all(backup == 1)


def test_elements_beyond_a_tensor_count_for_nothing(host_kernels):
    # With ε = 0 the direction of a zero without history is 0/0. No NaN may come from outside the tensor.
    g, m, v, s = torch.ones(5), torch.zeros(5), torch.zeros(5), torch.empty(5)
    energy, norm = torch.empty(1, dtype=torch.float64), torch.empty(1, dtype=torch.float64)
    lists = ([g], [m], [v], [s])
    host_kernels("ars_moments")(
        "ars_whiten",
        False,
        1,
        torch.tensor([5]),
        *lists,
        None,
        None,
        BETA1,
        BETA2,
        0.0,
        1,
        0,
        energy,
        norm,
    )
    torch.testing.assert_close(s, torch.ones(5))
    torch.testing.assert_close(energy.item(), math.sqrt(5), rtol=1e-6, atol=0)


@every_dtype
def test_restore_gives_back_the_very_bits(dtype, by_kernel):
    x = Inputs(dtype, [CHUNK + 3, 40])
    for p in x.params:
        p[0], p[1], p[2] = math.nan, -0.0, -math.inf
        bits(p)[3] = -1  # another NaN
        bits(p)[4] = 1  # the smallest positive number
    before = [bits(p).clone() for p in x.params]
    by_kernel("perturb", x)
    assert all(torch.equal(bits(b), old) for b, old in zip(x.backups, before, strict=True))
    assert not torch.equal(bits(x.params[1]), before[1])
    x.others = x.backups
    by_kernel("restore", x)
    assert all(torch.equal(bits(p), old) for p, old in zip(x.params, before, strict=True))


def test_clean_under_address_sanitizer(run_under):
    result = run_under("address", "run_ars_moments")
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]


@pytest.mark.slow
def test_clean_under_thread_sanitizer(run_under):
    result = run_under("thread", "run_ars_moments")
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
