"""What holds for every estimator."""

import re

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from disentangle import Masked
from disentangle.conditionals import (
    CategoricalConditional,
    FullGaussianConditional,
    GaussianConditional,
    MaskedConditional,
    MixtureConditional,
)
from disentangle.dependence import (
    BarberAgakovEstimator,
    Bound,
    CLUBEstimator,
    Dependence,
    DifferenceOfEntropiesEstimator,
    GivenClasses,
    InfoNCEEstimator,
    LeaveOneOutEstimator,
    MINEEstimator,
    NWJEstimator,
    SampledCLUBEstimator,
    ScaleInvariant,
    SMILEEstimator,
    TotalCorrelationEstimator,
    VariationalUpperBound,
)
from disentangle.errors import TooFewRowsError

F64 = torch.float64
ESTIMATORS = {
    "CLUB": CLUBEstimator,
    "sampledCLUB": SampledCLUBEstimator,
    "L1Out": LeaveOneOutEstimator,
    "VUB": VariationalUpperBound,
    "InfoNCE": InfoNCEEstimator,
    "NWJ": NWJEstimator,
    "MINE": MINEEstimator,
    "SMILE": SMILEEstimator,
    "BA": lambda x_dim, y_dim, hidden_dim=32: BarberAgakovEstimator(x_dim, y_dim, hidden_dim, entropy=1.0),
    "DoE": DifferenceOfEntropiesEstimator,
    "scale invariant": lambda x_dim, y_dim, hidden_dim=32: ScaleInvariant(
        CLUBEstimator(x_dim, y_dim, hidden_dim), x_dim, y_dim
    ),
    "whitened": lambda x_dim, y_dim, hidden_dim=32: ScaleInvariant(
        InfoNCEEstimator(x_dim, y_dim, hidden_dim), x_dim, y_dim, whiten=True
    ),
}
CRITICS = ["InfoNCE", "NWJ", "MINE", "SMILE"]
every = pytest.mark.parametrize("name", list(ESTIMATORS))


@every
def test_it_says_what_it_is(name):
    estimator = ESTIMATORS[name](3, 2)
    assert isinstance(estimator, Dependence)
    assert isinstance(estimator.bound, Bound)
    assert estimator.bound.side in ("upper", "lower", "neither")
    assert estimator.bound.condition != Dependence.bound.condition
    if name in ("scale invariant", "whitened"):
        assert (estimator.label, estimator.bound) == (estimator.dependence.label, estimator.dependence.bound)
    else:
        assert estimator.label == name


@every
def test_every_call_gives_the_fresh_value(name):
    estimator = ESTIMATORS[name](3, 2)
    x, y = torch.randn(8, 3), torch.randn(8, 2)
    seeded = torch.get_rng_state()
    with torch.no_grad():
        first = estimator(x, y)
    torch.set_rng_state(seeded)
    again = estimator(x, y)
    assert torch.equal(first, again)
    assert again.requires_grad
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter.mul_(1.5)
    torch.set_rng_state(seeded)
    changed = estimator(x, y)
    assert not torch.equal(changed, first)
    torch.set_rng_state(seeded)
    assert not torch.equal(estimator(2 * x, y), changed)


@every
def test_inputs_have_correct_gradients(name):
    estimator = ESTIMATORS[name](2, 2, 3).double().eval()
    x, y = (torch.randn(4, 2, dtype=F64, requires_grad=True) for _ in range(2))
    seeded = torch.get_rng_state()

    def same_draw(x, y):
        torch.set_rng_state(seeded)
        return estimator(x, y)

    assert torch.autograd.gradcheck(same_draw, (x, y))
    if name != "MINE":  # its gradient is not that of its value
        assert torch.autograd.gradcheck(estimator.learning_loss, (x, y))


@every
def test_learning_lowers_the_loss_on_a_batch_and_every_parameter_learns(name):
    estimator = ESTIMATORS[name](3, 2)
    x = torch.randn(64, 3)
    y = x[:, :2] + 0.3 * torch.randn(64, 2)
    optimizer = torch.optim.Adam(estimator.parameters(), 1e-2)
    first = estimator.learning_loss(x, y).item()
    for _ in range(50):
        optimizer.zero_grad()
        loss = estimator.learning_loss(x, y)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in estimator.parameters())
        optimizer.step()
    assert loss.item() < first - 0.1


@every
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((4, 2), (4, 2), "expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 2) and (4, 2)"),
        ((4, 3), (4, 3), "expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 3) and (4, 3)"),
        ((4, 3), (5, 2), "expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 3) and (5, 2)"),
        (
            (2, 4, 3),
            (2, 2),
            "expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (2, 4, 3) and (2, 2)",
        ),
        ((1, 3), (1, 2), "{}: expected at least 2 rows to compare, got 1"),
    ],
)
def test_wrong_shapes_are_named_with_the_wanted_and_the_given(name, x, y, message):
    estimator = ESTIMATORS[name](3, 2)
    for call in (estimator, estimator.learning_loss):
        kind = TooFewRowsError if "at least" in message else ValueError
        with pytest.raises(kind, match=re.escape(message.format(estimator.label))):
            call(torch.randn(x), torch.randn(y))


@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_refuses_a_masked_sequence(name):
    estimator = ESTIMATORS[name](3, 2)
    sequence = Masked(torch.randn(4, 5, 3), torch.ones(4, 5, dtype=torch.bool))
    message = "expected x of shape (N, 3), got a masked sequence: a critic takes its mean"
    with pytest.raises(ValueError, match=re.escape(message)):
        estimator(sequence, torch.randn(4, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@every
def test_autocast_computes_in_bfloat16_and_reduces_in_float32(name, dtype):
    estimator = ESTIMATORS[name](8, 6)
    x, y = torch.randn(32, 8).to(dtype), torch.randn(32, 6).to(dtype)
    seeded = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        low, low_loss = estimator(x, y), estimator.learning_loss(x, y)
    torch.set_rng_state(seeded)
    estimator.eval()
    assert low.dtype == low_loss.dtype == torch.float32
    if name not in ("scale invariant", "whitened"):  # these moved between the two calls
        torch.testing.assert_close(low, estimator(x, y), rtol=0.05, atol=0.05)
    torch.testing.assert_close(low_loss, estimator.learning_loss(x, y), rtol=0.05, atol=0.05)


@every
def test_a_state_dict_brings_it_back(name):
    x, y = torch.randn(16, 3), torch.randn(16, 2)
    estimator, other = ESTIMATORS[name](3, 2), ESTIMATORS[name](3, 2)
    estimator.learning_loss(x, y)  # moves what moves
    other.load_state_dict(estimator.state_dict())
    values = []
    for each in (estimator, other):
        torch.manual_seed(1)
        values.append((each(x, y), each.learning_loss(x, y)))
    assert torch.equal(values[0][0], values[1][0])
    assert torch.equal(values[0][1], values[1][1])


@every
def test_identical_rows_give_finite_values_and_gradients(name):
    estimator = ESTIMATORS[name](3, 2)
    x, y = torch.ones(4, 3, requires_grad=True), torch.ones(4, 2, requires_grad=True)
    loss = estimator.learning_loss(x, y)
    value = estimator(x, y)
    gradients = torch.autograd.grad(value + loss, [x, y], allow_unused=True)
    assert value.isfinite()
    assert loss.isfinite()
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    "name", [name for name in ESTIMATORS if name != "sampledCLUB"]
)  # it draws a number on the host
def test_nothing_reads_a_value_back_to_the_host(name):
    with FakeTensorMode():  # tensors without values: reading one raises
        estimator = ESTIMATORS[name](3, 2)
        x, y = torch.randn(8, 3, requires_grad=True), torch.randn(8, 2, requires_grad=True)
        (estimator.learning_loss(x, y) + estimator(x, y)).backward()
        assert all(parameter.grad is not None for parameter in estimator.parameters())
        with pytest.raises(DataDependentOutputException):
            estimator(x, y).item()


@pytest.mark.cuda
@every
def test_it_agrees_with_the_cpu_on_cuda(name, cuda):
    x, y = torch.randn(64, 8), torch.randn(64, 8)
    estimator = ESTIMATORS[name](8, 8)
    estimator.learning_loss(x, y)
    estimator.eval()
    seeded = torch.get_rng_state()
    here, loss = estimator(x, y), estimator.learning_loss(x, y)
    estimator.to(cuda)
    torch.set_rng_state(seeded)
    there = estimator(x.to(cuda), y.to(cuda)), estimator.learning_loss(x.to(cuda), y.to(cuda))
    for a, b in zip(there, (here, loss), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CLUBEstimator(3, 2, conditional=GaussianConditional(4, 2)),
            "3 features of x and 2 of y, .* 4 and 2",
        ),
        (lambda: CLUBEstimator(3, 2, conditional=GaussianConditional(3, 4, log_variance="zero")), "for 3 and 4"),
        (lambda: CLUBEstimator(3, 2, conditional=MaskedConditional(MixtureConditional(3, 1))), "for 3 and 1"),
        (lambda: LeaveOneOutEstimator(3, 2, conditional=CategoricalConditional(3, 5)), "for 3 and 1"),
        (
            lambda: DifferenceOfEntropiesEstimator(3, 2, marginal=FullGaussianConditional(3, 2)),
            "1 features of x .* for 3 and 2",
        ),
        (
            lambda: CLUBEstimator(3, 2, conditional=GaussianConditional(3, 2), log_variance="tanh"),
            "got log_variance='tanh'",
        ),
        (
            lambda: GivenClasses(CLUBEstimator(3, 2), classes=4),
            r"CLUBEstimator\(x_dim \+ 4, y_dim\), got one for 3 features",
        ),
        (
            lambda: ScaleInvariant(CLUBEstimator(3, 2), 4, 2),
            r"4 features of x and 2 of y, got one for \(3, 2\)",
        ),
        (lambda: ScaleInvariant(TotalCorrelationEstimator(3, 2), 4, 2), r"got one for \(3, 2\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_sizes_that_fit_are_taken():
    CLUBEstimator(
        9, 2, conditional=MaskedConditional(GaussianConditional(3, 2), encode=lambda values, mask: values[:, 0])
    )
    CLUBEstimator(3, 2, conditional=GaussianConditional(3, 2, log_variance="zero"))
    CLUBEstimator(3, 2, conditional=FullGaussianConditional(3, 2))
    CLUBEstimator(3, 1, conditional=CategoricalConditional(3, 5))
