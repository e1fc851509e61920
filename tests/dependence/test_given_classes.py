import math
import re

import pytest
import torch
from jaxtyping import config
from torch.nn.functional import one_hot

from disentangle import (
    HSIC,
    AlternatingStep,
    CategoricalConditional,
    CLUBEstimator,
    DistanceCorrelation,
    GivenClasses,
    InfoNCEEstimator,
    Masked,
    Model,
    OrthogonalLoss,
    Pairwise,
    Rows,
)
from disentangle.conditionals import Conditional
from disentangle.dependence import (
    CKA,
    BarberAgakovEstimator,
    LeaveOneOutEstimator,
    SampledCLUBEstimator,
    ScaleInvariant,
    VariationalUpperBound,
)

F64 = torch.float64


def draw(n=60, dtype=F64):
    """x and y, and classes 5, 0 and 2 of 10, 20 and 30 rows, in no order."""
    classes = torch.tensor([5, 0, 0, 2, 2, 2]).repeat(n // 6)[torch.randperm(n)]
    return torch.randn(n, 3, dtype=dtype), torch.randn(n, 3, dtype=dtype), classes


@pytest.mark.parametrize(
    "dependence", [HSIC(), HSIC(bandwidth=0.7), HSIC(unbiased=True), DistanceCorrelation(), CKA(), OrthogonalLoss()]
)
def test_it_is_the_mean_over_classes_of_what_it_wraps(dependence):
    x, y, c = draw()
    x.requires_grad_()
    value = GivenClasses(dependence)(x, y, c)
    expected = sum((c == k).sum() / 60 * dependence(x[c == k], y[c == k]) for k in (0, 2, 5))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each, x)[0] for each in (value, expected)))


def test_it_has_the_gradients_of_its_value():
    x, y, c = draw(24)
    x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: GivenClasses(HSIC(bandwidth=1.0))(x, y, c), (x, y))


def test_neither_the_order_of_rows_nor_the_numbers_of_classes_matter():
    x, y, c = draw()
    rows = torch.randperm(60)
    given = GivenClasses(HSIC())
    torch.testing.assert_close(given(x[rows], y[rows], c[rows]), given(x, y, c))
    torch.testing.assert_close(given(x, y, torch.tensor([7, 9, -1, 9, 9, 3])[c]), given(x, y, c))
    two = c == 2
    torch.testing.assert_close(given(x, y, two), given(x, y, two.long()))


def test_what_the_class_explains_is_left_and_what_it_does_not_is_seen():
    c = torch.arange(400) % 4
    x, y = (torch.randn(4, 2)[c] * 3 + torch.randn(400, 2) for _ in range(2))
    marginal, given = HSIC(unbiased=True), GivenClasses(HSIC(unbiased=True))
    assert given(x, y, c).abs() < 0.05 * marginal(x, y)
    inside = given(x, y + 0.7 * x, c)
    assert inside > 10 * given(x, y, c).abs()


def test_classes_of_too_few_rows_are_left_out():
    x, y, c = draw()
    c[:3] = torch.tensor([8, 8, 9])
    rest = c < 8
    torch.testing.assert_close(GivenClasses(HSIC())(x, y, c), GivenClasses(HSIC())(x[rest], y[rest], c[rest]))
    message = "expected a class with at least 40 rows in the batch, got 30 at most in 60 rows: .*drop_last=True"
    with pytest.raises(ValueError, match=message):
        GivenClasses(HSIC(), min_rows=40)(*draw())


LEARNING = [CLUBEstimator, SampledCLUBEstimator, LeaveOneOutEstimator]


@pytest.mark.parametrize("kind", LEARNING)
def test_a_conditional_is_told_the_class_and_compared_within_it(kind):
    x, y, c = draw(dtype=torch.float32)
    inner = kind(3 + 6, 3)
    given = GivenClasses(inner, classes=6)
    known = torch.cat([x, one_hot(c, 6)], 1)
    torch.testing.assert_close(given.learning_loss(x, y, c), inner.learning_loss(known, y))
    torch.manual_seed(1)
    value = given(x, y, c)
    torch.manual_seed(1)
    expected = sum((c == k).sum() / 60 * inner(known[c == k], y[c == k]) for k in (0, 2, 5))
    torch.testing.assert_close(value, expected)


class Truth(Conditional):
    """The true y given x and c: 0.8 x + 5 c, with noise of 0.6."""

    def forward(self, x):
        mean = 0.8 * x[:, :1] + 5 * x[:, 1:].argmax(1, keepdim=True)
        return torch.distributions.Independent(torch.distributions.Normal(mean, torch.full_like(mean, 0.6)), 1)


def test_by_the_true_conditional_it_is_an_upper_bound_of_the_information_given_the_class():
    """I(x;y|c) = -log(1 - 0.8²) / 2, while the classes alone make I(x;y) larger."""
    c = torch.arange(4000) % 3
    x = torch.randn(4000, 1)
    y = 0.8 * x + 5 * c[:, None] + 0.6 * torch.randn(4000, 1)
    truth = -0.5 * math.log(1 - 0.8**2)
    club = GivenClasses(CLUBEstimator(1 + 3, 1, conditional=Truth()), classes=3)
    l1out = GivenClasses(LeaveOneOutEstimator(1 + 3, 1, conditional=Truth()), classes=3)
    exact = 0.8**2 / 0.6**2  # of CLUB, for Gaussians: rho² / (1 - rho²)
    assert club(x, y, c).item() == pytest.approx(exact, rel=0.1)
    assert truth - 0.05 < l1out(x, y, c).item() < exact
    unrelated = 5 * c[:, None] + torch.randn(4000, 1)
    fitted = GivenClasses(CLUBEstimator(1 + 3, 1), classes=3)
    optimizer = torch.optim.Adam(fitted.parameters(), 2e-2)
    few = slice(0, 1000)
    for _ in range(200):
        optimizer.zero_grad()
        fitted.learning_loss((x + 5 * c[:, None])[few], unrelated[few], c[few]).backward()
        optimizer.step()
    assert fitted(x + 5 * c[:, None], unrelated, c).abs() < 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_autocast_takes_what_is_less_precise(dtype):
    x, y, c = draw(dtype=torch.float32)
    for given in (GivenClasses(HSIC()), GivenClasses(CLUBEstimator(3 + 6, 3), classes=6)):
        exact = given(x, y, c)
        with torch.autocast("cpu", torch.bfloat16):
            low = given(x.to(dtype), y.to(dtype), c)
        assert low.dtype == torch.float32
        torch.testing.assert_close(low, exact, rtol=0.05, atol=0.02)


def test_y_may_be_classes_too():
    x, _, c = draw(dtype=torch.float32)
    digit = torch.randint(0, 4, (60,))
    inner = CLUBEstimator(3 + 6, 1, conditional=CategoricalConditional(3 + 6, 4))
    assert GivenClasses(inner, classes=6)(x, digit, c).isfinite()
    columns = one_hot(digit).float()
    torch.testing.assert_close(GivenClasses(HSIC())(x, digit, c), GivenClasses(HSIC())(x, columns, c))


def test_label_and_bound_are_those_within_classes():
    given = GivenClasses(CLUBEstimator(9, 3), classes=6)
    assert (given.label, given.bound.side) == ("conditionalCLUB", "upper")
    assert given.bound.condition == f"within each class, {CLUBEstimator.bound.condition}"


class Encoder(Model):
    """Two latents that are one at the start."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 6)
        self.layer.weight.data[3:] = self.layer.weight.data[:3]

    def forward(self, batch):
        x, digit = batch
        a, b = self.layer(x).chunk(2, 1)
        return {"a": a, "b": b, "digit": digit}

    def losses(self, variables, batch):
        return {"size": Rows.unweighted((variables["a"].square().mean(1) - 1).square())}


@pytest.mark.parametrize("make", [HSIC, lambda: CLUBEstimator(3 + 4, 3)], ids=["HSIC", "CLUB"])
def test_it_trains_in_a_group_of_three_names(make):
    inner = make()
    classes = 4 if isinstance(inner, CLUBEstimator) else None
    penalty = Pairwise({("a", "b", "digit"): GivenClasses(inner, classes=classes)})
    model = Encoder()
    step = AlternatingStep(
        model,
        penalty,
        objective=lambda losses, penalties: losses["size"].mean() + sum(penalties.values()),
        optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-2) if classes else None,
    )
    x, digit = torch.randn(64, 4), torch.arange(64) % 4
    before = GivenClasses(HSIC())(*model((x, digit)).values())
    for _ in range(60):
        (name,) = step((x, digit)).penalties
    assert name == f"conditional{inner.label}(a;b;digit)"
    assert GivenClasses(HSIC())(*model((x, digit)).values()) < 0.7 * before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *(
            (
                lambda kind=kind: GivenClasses(kind, classes=6),
                "expected a dependence without parameters, or CLUBEstimator, SampledCLUBEstimator, LeaveOneOutEstimator, got "
                f"{type(kind).__name__}",
            )
            for kind in (
                InfoNCEEstimator(9, 3),
                VariationalUpperBound(9, 3),
                BarberAgakovEstimator(9, 3, entropy=1.0),
                ScaleInvariant(CLUBEstimator(9, 3), 9, 3),
            )
        ),
        (
            lambda: GivenClasses(CLUBEstimator(9, 3)),
            "expected the number of classes for a dependence that learns, got None with CLUBEstimator",
        ),
        (lambda: GivenClasses(HSIC(), classes=6), "expected no number of classes, got 6 with HSIC"),
        (lambda: GivenClasses(HSIC(), min_rows=1), "expected min_rows of at least 2, got 1"),
        (lambda: GivenClasses(GivenClasses(HSIC())), "expected a dependence of two variables, got a GivenClasses of 3"),
        (
            lambda: ScaleInvariant(GivenClasses(CLUBEstimator(9, 3), classes=6), 3, 3),
            "expected a dependence of two variables, got a GivenClasses of 3",
        ),
    ],
)
def test_what_it_cannot_wrap_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_batches_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # as users have it
    x, y, c = draw(dtype=torch.float32)
    given = GivenClasses(CLUBEstimator(3 + 6, 3), classes=6)
    shapes = "expected x of shape (N, x_dim) and y of shape (N, y_dim), got "
    numbers = "expected the classes as whole numbers (N,), got "
    for call in (given, given.learning_loss):
        for batch, error, message in (
            ((x, y, c.float()), ValueError, f"{numbers}torch.float32 (60,): .long() makes whole numbers of them"),
            ((x, y, torch.stack([c, c], 1)), ValueError, f"{numbers}torch.int64 (60, 2)"),
            ((x, y, Masked(x[:, None], c[:, None] >= 0)), ValueError, f"{numbers}a masked sequence"),
            ((Masked(x[:, None], c[:, None] >= 0), y, c), ValueError, f"{shapes}a masked sequence and (60, 3): frames"),
            ((x, y[:, None], c), ValueError, f"{shapes}(60, 3) and (60, 1, 3)"),
            ((x, y, ["a"] * 60), TypeError, "got a list of strings: disentangle.class_numbers("),
            ((x, y), ValueError, "expected three variables, x, y and their classes, got 2"),
            ((x, y[:-1], c), ValueError, "expected x, y and classes of the same N, got 60, 59 and 60"),
            (
                (x[:, :2], y, c),
                ValueError,
                "expected x of shape (N, 3), as 9 features less 6 classes are, and y of shape ",
            ),
            ((x, y[:, :2], c), ValueError, "less 6 classes are, and y of shape (N, 3), got (60, 3) and (60, 2)"),
            ((x, y, c + 1), ValueError, "expected classes 0 to 5 as whole numbers, got 6"),
        ):
            with pytest.raises(error, match=re.escape(message)):
                call(*batch)


@pytest.mark.cuda
def test_classes_agree_with_the_cpu_on_cuda(cuda):
    x, y, c = draw()
    value = GivenClasses(HSIC())(x.to(cuda), y.to(cuda), c.to(cuda)).cpu()
    torch.testing.assert_close(value, GivenClasses(HSIC())(x, y, c))
