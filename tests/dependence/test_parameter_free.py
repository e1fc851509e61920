import re

import jaxtyping
import pytest
import torch

from disentangle import Masked, Pairwise, functional
from disentangle.dependence import (
    CKA,
    DHSIC,
    HSIC,
    CentralMomentDiscrepancy,
    CosineMarginLoss,
    CrossCovariance,
    DistanceCorrelation,
    FeatureCorrelation,
    OrthogonalLoss,
)

F64 = torch.float64

SAME_SIZE = [OrthogonalLoss(), CentralMomentDiscrepancy()]
ANY_SIZES = [FeatureCorrelation(), CrossCovariance(), HSIC(), DHSIC(), DistanceCorrelation(), CKA(), CosineMarginLoss()]
MODULES = [*SAME_SIZE, *ANY_SIZES]


def test_orthogonal_loss_is_the_papers_over_the_square_of_the_batch():
    x, y = torch.randn(5, 3, dtype=F64), torch.randn(5, 3, dtype=F64)
    torch.testing.assert_close(OrthogonalLoss()(x, y), torch.linalg.matrix_norm(x @ y.T) ** 2 / 5**2)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (FeatureCorrelation(), functional.feature_correlation),
        (CrossCovariance(), functional.cross_covariance),
        (HSIC(), functional.hsic),
        (HSIC(bandwidth=(0.5, 2.0)), lambda x, y: functional.hsic(x, y, bandwidth=(0.5, 2.0))),
        (HSIC(unbiased=True), lambda x, y: functional.hsic(x, y, unbiased=True)),
        (HSIC(scales=[0.5, 2.0]), lambda x, y: functional.hsic(x, y, scales=(0.5, 2.0))),
        (DHSIC(), functional.dhsic),
        (
            DHSIC(bandwidth=0.5, scales=(0.5, 2.0)),
            lambda x, y: functional.dhsic(x, y, bandwidth=0.5, scales=(0.5, 2.0)),
        ),
        (DistanceCorrelation(), functional.distance_correlation),
        (DistanceCorrelation(unbiased=True), lambda x, y: functional.distance_correlation(x, y, unbiased=True)),
        (CKA(), functional.cka),
        (CentralMomentDiscrepancy(), functional.central_moment_discrepancy),
        (
            CentralMomentDiscrepancy(3, width=2.0),
            lambda x, y: functional.central_moment_discrepancy(x, y, 3, width=2.0),
        ),
    ],
)
def test_a_module_is_its_function_with_its_options(module, function):
    x, y = torch.randn(9, 4), torch.randn(9, 4) + 1
    assert torch.equal(module(x, y), function(x, y))


@pytest.mark.parametrize("module", MODULES)
def test_there_is_nothing_to_learn_and_the_value_is_no_bound(module):
    assert not module.state_dict()
    assert module.bound.side == "neither"
    assert "zero" in module.bound.condition
    with pytest.raises(
        TypeError, match=f"expected a dependence that learns, got {type(module).__name__}, which has no parameters"
    ):
        module.learning_loss(torch.randn(3, 2), torch.randn(3, 2))


def test_the_logged_names_tell_them_apart():
    assert len({module.label for module in MODULES}) == len(MODULES)
    assert not set("".join(module.label for module in MODULES)) & set(".;()")


@pytest.mark.parametrize("module", SAME_SIZE)
def test_sizes_that_have_to_be_equal_are_named(module):
    unmatched = [((3, 2), (4, 2)), ((3,), (4,))] if isinstance(module, OrthogonalLoss) else []
    for x, y in (((3, 2), (3, 4)), *unmatched, ((3, 1, 1), (3, 1, 1))):
        with pytest.raises(ValueError, match=re.escape(f", d), got {x} and {y}")):
            module(torch.randn(x), torch.randn(y))
    with pytest.raises(ValueError, match=re.escape(", d), got a masked sequence and (3, 2)")):
        module(Masked(torch.randn(3, 5, 2), torch.ones(3, 5, dtype=torch.bool)), torch.randn(3, 2))


def test_distributions_are_compared_whatever_the_numbers_of_rows():
    x, y = torch.randn(6, 2, dtype=F64), torch.randn(4, 2, dtype=F64)
    value = CentralMomentDiscrepancy()(x, y)
    torch.testing.assert_close(CentralMomentDiscrepancy()(x.repeat(2, 1), y.repeat(3, 1)), value)
    torch.testing.assert_close(CentralMomentDiscrepancy()(x, x.repeat(2, 1)), torch.zeros((), dtype=F64))


@pytest.mark.parametrize("module", ANY_SIZES)
def test_sizes_may_differ_and_numbers_of_rows_may_not(module):
    assert module(torch.randn(5, 2), torch.randn(5, 3)).isfinite()
    wanted = "expected x of shape (N, x_dim) and y of shape (N, y_dim) with the same N >= 1, got "
    for x, y in (((3, 2), (4, 2)), ((1, 2), (4, 2)), ((3,), (4, 1)), ((3, 1, 1), (3, 1)), ((0, 2), (0, 2))):
        with pytest.raises(ValueError, match=re.escape(f"{wanted}{x} and {y}")):
            module(torch.randn(x), torch.randn(y))
    with pytest.raises(ValueError, match=re.escape(f"{wanted}a masked sequence and (3, 2)")):
        module(Masked(torch.randn(3, 5, 2), torch.ones(3, 5, dtype=torch.bool)), torch.randn(3, 2))


def test_dhsic_takes_any_number_of_variables_by_name():
    variables = {name: torch.randn(8, d) for name, d in {"L": 4, "A": 1, "S": 3}.items()}
    present = {"A": torch.arange(8) > 2}
    value = Pairwise({("L", "A", "S"): DHSIC(scales=(0.5, 2.0))})(variables, present)["dHSIC(L;A;S)"]
    rows = [each[3:] for each in variables.values()]
    torch.testing.assert_close(value, functional.dhsic(*rows, scales=(0.5, 2.0)))
    message = "expected 3 variables of shapes (N, dim) with the same N >= 1, got (8, 4), (8,), (7, 2)"
    with pytest.raises(ValueError, match=re.escape(message)):
        DHSIC()(torch.randn(8, 4), torch.randn(8), torch.randn(7, 2))


def test_the_margin_loss_compares_the_rows_of_all_latents_by_their_labels_whatever_these_are():
    first, second = torch.randn(2, 6, 3, dtype=F64)
    classes = torch.tensor([0, 2, 0, 1, 1, 2])
    one_hot = torch.nn.functional.one_hot(classes).double()
    variables = {"S_text": first, "S_audio": second, "label": classes}
    value = Pairwise({("S_text", "S_audio", "label"): CosineMarginLoss(0.4)})(variables)["margin(S_text;S_audio;label)"]
    expected = functional.cosine_margin(torch.cat([first, second]), torch.cat([one_hot, one_hot]), 0.4)
    torch.testing.assert_close(value, expected)
    near = functional.cosine_margin(first, (0.5 * classes).double()[:, None], 0.4)
    torch.testing.assert_close(CosineMarginLoss(0.4)(first, 0.5 * classes), near)
    with pytest.raises(ValueError, match=re.escape("expected latents of one size before the labels, got sizes [2, 3]")):
        CosineMarginLoss()(first, second[:, :2], classes)
    with pytest.raises(ValueError, match="expected a margin of 0 or more, got -1"):
        CosineMarginLoss(-1.0)


def test_one_takes_the_place_of_another_in_pairs():
    variables = {"L": torch.randn(8, 4), "S": torch.randn(8, 4), "X_L": torch.randn(8, 9)}
    pairs = Pairwise({("L", "S"): CKA(), ("X_L", "S"): HSIC(unbiased=True)})
    assert not pairs.learns
    assert list(pairs(variables)) == ["CKA(L;S)", "HSIC(X_L;S)"]


@pytest.mark.parametrize("module", [HSIC(unbiased=True), DistanceCorrelation(), CKA(), CrossCovariance()])
def test_descending_a_dependence_removes_what_it_sees(module):
    torch.manual_seed(1)
    x = torch.randn(128, 2)
    y = (x + 0.5 * torch.randn(128, 2)).requires_grad_()
    start = module(x, y).item()
    optimizer = torch.optim.Adam([y], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        module(x, y).backward()
        optimizer.step()
    assert module(x, y) < 0.3 * start
    assert y.std() > 0.3  # by more than shrinking


@pytest.mark.cuda
@pytest.mark.parametrize("module", MODULES)
def test_dependences_agree_with_the_cpu_on_cuda(module, cuda):
    x, y = torch.randn(64, 8), torch.randn(64, 8)
    torch.testing.assert_close(module(x.to(cuda), y.to(cuda)).cpu(), module(x, y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("module", MODULES)
def test_autocast_takes_what_is_less_precise(module):
    x, y = torch.randn(2, 12, 4).half()
    exact = module(x.float(), y.float())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(x, y), exact)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HSIC(kernel="bogus"), "expected kernel as 'gaussian' or 'laplace', got 'bogus'"),
        (lambda: HSIC(bandwidth=(1.0, 0.0)), "expected a positive bandwidth"),
        (lambda: DHSIC(scales=()), "expected positive scales, one at least"),
        (lambda: DHSIC(bandwidth=(1.0, 1.0, -1.0)), "expected a positive bandwidth"),
        (lambda: CentralMomentDiscrepancy(0), "expected at least 1 moment, got 0"),
        (lambda: CentralMomentDiscrepancy(width=0.0), "expected a positive width, got 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused_at_once(make, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        make()
