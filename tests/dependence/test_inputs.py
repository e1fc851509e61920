"""What every dependence takes, and how it refuses the rest."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import config

from disentangle import (
    CKA,
    DHSIC,
    HSIC,
    CategoricalConditional,
    CentralMomentDiscrepancy,
    CLUBEstimator,
    CrossCovariance,
    DistanceCorrelation,
    FeatureCorrelation,
    GaussianConditional,
    InfoNCEEstimator,
    LeaveOneOutEstimator,
    Masked,
    MINEEstimator,
    ModalityDiscriminator,
    NWJEstimator,
    OrthogonalLoss,
    Pairwise,
    SampledCLUBEstimator,
    ScaleInvariant,
    TotalCorrelationEstimator,
    class_numbers,
    frames,
)
from disentangle.conditionals import FullGaussianConditional, MixtureConditional
from disentangle.critics import SeparableCritic
from disentangle.dependence import (
    BarberAgakovEstimator,
    CosineMarginLoss,
    DifferenceOfEntropiesEstimator,
    SMILEEstimator,
    VariationalUpperBound,
)

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
PARAMETER_FREE = [
    OrthogonalLoss,
    CentralMomentDiscrepancy,
    FeatureCorrelation,
    CrossCovariance,
    HSIC,
    DHSIC,
    DistanceCorrelation,
    CKA,
    CosineMarginLoss,
]
MAKE = {
    "CLUB": CLUBEstimator,
    "CLUB full": lambda p, q: CLUBEstimator(p, q, conditional=FullGaussianConditional(p, q)),
    "CLUB mixture": lambda p, q: CLUBEstimator(p, q, conditional=MixtureConditional(p, q)),
    "sampledCLUB": SampledCLUBEstimator,
    "L1Out": LeaveOneOutEstimator,
    "L1Out full": lambda p, q: LeaveOneOutEstimator(p, q, conditional=FullGaussianConditional(p, q)),
    "VUB": VariationalUpperBound,
    "InfoNCE": InfoNCEEstimator,
    "InfoNCE separable": lambda p, q: InfoNCEEstimator(p, q, critic=SeparableCritic(p, q)),
    "NWJ": NWJEstimator,
    "MINE": MINEEstimator,
    "SMILE": SMILEEstimator,
    "BA": lambda p, q: BarberAgakovEstimator(p, q, entropy=1.0),
    "DoE": DifferenceOfEntropiesEstimator,
    "TC": TotalCorrelationEstimator,
    "discriminator": lambda p, _: ModalityDiscriminator(p),
    "scale invariant": lambda p, q: ScaleInvariant(CLUBEstimator(p, q), p, q),
    "whitened": lambda p, q: ScaleInvariant(InfoNCEEstimator(p, q), p, q, whiten=True),
    **{dependence.label: lambda *_, dependence=dependence: dependence() for dependence in PARAMETER_FREE},
}
LEARNING = [name for name in MAKE if name not in {dependence.label for dependence in PARAMETER_FREE}]
every = pytest.mark.parametrize("name", list(MAKE))
learning = pytest.mark.parametrize("name", LEARNING)


@pytest.fixture
def unchecked(monkeypatch):
    """As users have it: without the tests' own type check, which would come first."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


def calls(dependence):
    """The value and, where there is one, the learning loss; the same noise for every call."""

    def seeded(call):
        def run(*variables):
            torch.manual_seed(3)
            return call(*variables)

        return run

    learns = next(dependence.parameters(), None) is not None
    return [seeded(dependence), *([seeded(dependence.learning_loss)] if learns else [])]


@every
def test_one_number_per_row_may_come_without_its_column(name):
    dependence = MAKE[name](1, 1).eval()
    x, y = torch.randn(12), torch.randn(12)
    for call in calls(dependence):
        expected = call(x[:, None], y[:, None])
        for given in ((x, y), (x[:, None], y), (x, y[:, None])):
            assert torch.equal(call(*given), expected)


@every
@pytest.mark.parametrize("dtype", [F16, BF16, torch.int64, torch.uint8, torch.bool])
def test_lower_precision_and_whole_numbers_are_computed_in_that_of_the_parameters(name, dtype):
    dependence = MAKE[name](2, 2).eval()
    x, y = (3 * torch.rand(2, 12, 2)).to(dtype)
    for call in calls(dependence):
        expected = call(x.float(), y.float())
        for given in ((x, y), (x.float(), y), (x, y.float())):
            value = call(*given)
            assert value.dtype == F32
            rough = name in ("scale invariant", "whitened") and dtype in (F16, BF16)  # these round as they were given
            torch.testing.assert_close(value, expected, **({"rtol": 0.05, "atol": 0.05} if rough else {}))


@every
def test_gradients_come_back_in_half_precision(name):
    dependence = MAKE[name](2, 2)
    x, y = (torch.randn(12, 2, dtype=BF16, requires_grad=True) for _ in range(2))
    for call in calls(dependence):
        for given in torch.autograd.grad(call(x, y), (x, y), allow_unused=True):
            assert given is None or (given.dtype == BF16 and given.isfinite().all())


@learning
@pytest.mark.parametrize("dtype", [F16, BF16])
def test_an_estimator_in_half_precision_is_close_to_the_one_it_was(name, dtype):
    whole = MAKE[name](2, 2)
    half = MAKE[name](2, 2)
    half.load_state_dict(whole.state_dict())
    half.to(dtype)
    x, y = torch.randn(2, 12, 2)
    for low, exact in zip(calls(half.eval()), calls(whole.eval()), strict=True):
        value = low(x.to(dtype), y.to(dtype))
        assert value.dtype == F32
        torch.testing.assert_close(value, exact(x, y), rtol=0.1, atol=0.1)


@learning
@pytest.mark.parametrize(("parameters", "given"), [(F32, F64), (F16, F32), (BF16, F32), (BF16, F16)])
def test_what_is_more_precise_than_the_parameters_is_refused_with_the_way_out(name, parameters, given):
    estimator = MAKE[name](2, 2).to(parameters)
    pattern = (
        rf"^expected (x|the variables) in {parameters}, the precision of the parameters, or lower, got {given}: "
        rf"convert \1 by .to\({parameters}\), or the estimator by .to\({given}\)$"
    )
    for call in calls(estimator):
        with pytest.raises(ValueError, match=pattern):
            call(torch.randn(12, 2, dtype=given), torch.randn(12, 2, dtype=given))


@every
def test_both_may_differ_in_precision(name):
    dependence = MAKE[name](2, 2).double().eval()
    x, y = torch.randn(2, 12, 2)
    for call in calls(dependence):
        exact = call(x.double(), y.double())
        for given in ((x.double(), y), (x, y.double())):
            value = call(*given)
            assert value.dtype == F64
            torch.testing.assert_close(value, exact, rtol=1e-4, atol=1e-5)


def sequence(features=2):
    return Masked(torch.randn(12, 5, features), torch.arange(5) < torch.randint(1, 6, (12, 1)))


@every
def test_a_sequence_as_y_is_refused_with_the_way_out_which_works(name, unchecked):
    dependence = MAKE[name](2, 2)
    x, y = torch.randn(12, 2), sequence()
    for call in calls(dependence):
        with pytest.raises(ValueError, match=r"got .*a masked sequence.*: .*frames\(\.\.\.\)"):
            call(x, y)
        assert call(*frames(x, y)).isfinite()


@every
def test_a_sequence_as_x_is_refused_with_the_way_out(name, unchecked):
    for call in calls(MAKE[name](2, 2)):
        with pytest.raises(ValueError, match=r"a masked sequence.*(mean|frames)"):
            call(sequence(), torch.randn(12, 2))


THINGS = {
    "a numpy.ndarray: torch.as_tensor({}, dtype=torch.float32) makes one": np.zeros((12, 2)),
    "a pandas.DataFrame: torch.as_tensor({}.to_numpy(), dtype=torch.float32) makes one": pd.DataFrame(
        np.zeros((12, 2))
    ),
    "a list: torch.as_tensor({}, dtype=torch.float32) makes one": [[0.0, 1.0]] * 12,
    "a list of strings: disentangle.class_numbers({})[0] numbers them": ["a", "b"] * 6,
    "a pandas.Series of strings: disentangle.class_numbers({})[0] numbers them": pd.Series(["a", "b"] * 6),
    "a tuple of whole numbers: torch.as_tensor({}) makes classes of them, .float() behind it numbers": (0, 1) * 6,
    "a NoneType": None,
    "a dict": {"x": 1},
}


@every
@pytest.mark.parametrize(("words", "thing"), THINGS.items(), ids=[type(thing).__name__ for thing in THINGS.values()])
def test_what_is_no_tensor_is_refused_with_what_makes_it_one(name, words, thing, unchecked):
    right = torch.randn(12, 2)
    for call in calls(MAKE[name](2, 2)):
        for place, given in enumerate([(thing, right), (right, thing)]):
            message = f"expected {'xy'[place]} as a tensor (N, d), got {words.format('xy'[place])}"
            with pytest.raises(TypeError, match=re.escape(message)):
                call(*given)


@every
def test_what_has_no_rows_or_is_complex_is_refused(name):
    right = torch.randn(12, 2)
    for call in calls(MAKE[name](2, 2)):
        with pytest.raises(ValueError, match=re.escape("of shape (N, d), got ()")):
            call(right, torch.tensor(1.0))
        with pytest.raises(ValueError, match=re.escape("of shape (N, d), got complex numbers of shape (12, 2)")):
            call(right, right.to(torch.complex64))


PREDICTED = ["CLUB", "CLUB full", "CLUB mixture", "sampledCLUB", "L1Out", "L1Out full", "VUB", "BA", "DoE"]
NUMBERS_ALONE = [OrthogonalLoss.label, CentralMomentDiscrepancy.label]


@pytest.mark.parametrize("name", [name for name in MAKE if name not in NUMBERS_ALONE])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_classes_as_x_are_their_one_hot_columns(name, dtype):
    dependence = MAKE[name](3, 3).eval()
    classes, y = (torch.arange(12) % 3).to(dtype), torch.randn(12, 3)
    columns = torch.nn.functional.one_hot(classes.long(), 3).float()
    for call in calls(dependence):
        torch.testing.assert_close(call(classes, y), call(columns, y))


@pytest.mark.parametrize("name", [name for name in MAKE if name not in [*PREDICTED, *NUMBERS_ALONE, "scale invariant"]])
def test_classes_as_y_are_their_one_hot_columns_where_numbers_are_compared(name):
    dependence = MAKE[name](2, 2).eval()
    x, truth = torch.randn(12, 2), torch.arange(12) % 3 == 1  # booleans are classes, too
    columns = torch.stack([~truth, truth], 1).float()
    for call in calls(dependence):
        torch.testing.assert_close(call(x, truth), call(x, columns))


@pytest.mark.parametrize("y_dim", [1, 3])
@pytest.mark.parametrize("name", [*PREDICTED, "scale invariant"])
def test_classes_as_y_of_a_gaussian_are_refused_with_both_ways_out(name, y_dim):
    for call in calls(MAKE[name](2, y_dim)):
        message = "expected y as numbers, got whole numbers (12,), which are classes: CategoricalConditional is q(y|x)"
        with pytest.raises(ValueError, match=re.escape(message)):
            call(torch.randn(12, 2), torch.arange(12) % 3)


@pytest.mark.parametrize("name", NUMBERS_ALONE)
def test_classes_are_refused_where_variables_are_of_one_size(name):
    for x, y, which in ((torch.randn(12), torch.arange(12), "y"), (torch.arange(12), torch.randn(12), "x")):
        message = f"expected {which} as numbers, got whole numbers (12,), which are classes: HSIC and others"
        with pytest.raises(ValueError, match=re.escape(message)):
            MAKE[name](1, 1)(x, y)


@learning
def test_classes_that_are_too_many_are_refused(name):
    for call in calls(MAKE[name](3, 3)):
        with pytest.raises(ValueError, match="expected classes 0 to 2 as whole numbers, got 3"):
            call(torch.arange(12) % 4, torch.randn(12, 3))
    for call in calls(MAKE[name](1, 1)):
        with pytest.raises(
            ValueError, match=r"expected x as one number per row, got whole numbers \(12,\), which are cl"
        ):
            call(torch.arange(12) % 4, torch.randn(12))


@pytest.mark.parametrize("name", [name for name in LEARNING if name != "discriminator"])
def test_one_hot_columns_have_the_precision_of_the_parameters(name):
    for dtype in (BF16, F64):
        for call in calls(MAKE[name](3, 3).to(dtype).eval()):
            assert call(torch.arange(12) % 3, torch.randn(12, 3, dtype=dtype)).isfinite()


def test_the_numbers_of_classes_do_not_matter_without_parameters():
    x, y = torch.randn(60, 3), torch.arange(60) % 4
    y[:8] = 2  # classes of unequal size
    for name in ("HSIC", "dHSIC", "dCor", "CKA", "XCov", "correlation"):
        dependence = MAKE[name](1, 1)
        renamed = torch.tensor([70, -3, 9, 11])[y]
        torch.testing.assert_close(dependence(x, renamed), dependence(x, y))
        assert not torch.isclose(dependence(x, y.float()), dependence(x, y), rtol=1e-3)


def test_classes_in_stacked_estimators_are_those_of_single_ones_whatever_absent_rows_hold():
    clubs = {("digit", "L"): CLUBEstimator(4, 2), ("A", "L"): CLUBEstimator(4, 2), ("digit", "S"): CLUBEstimator(4, 2)}
    single = {";".join(names): calls(copy.deepcopy(club)) for names, club in clubs.items()}
    pairs = Pairwise(clubs)
    assert len(pairs.dependences.stacks) == 1
    variables = {
        "L": torch.randn(12, 2),
        "A": torch.randn(12, 4),
        "S": torch.randn(12, 2),
        "digit": torch.arange(12) % 4,
    }
    variables["digit"][0] = -1
    there = torch.arange(12) > 0
    rows = {name: (variable[1:], variable) for name, variable in variables.items()}
    values, loss = pairs(variables, {"digit": there}), pairs.learning_loss(variables, {"digit": there})
    expected = []
    for key, (value, learning_loss) in single.items():
        x, y = (rows[name]["digit" not in key] for name in key.split(";"))
        torch.testing.assert_close(values[f"CLUB({key})"], value(x, y))
        expected.append(learning_loss(x, y))
    torch.testing.assert_close(loss, sum(expected))
    with pytest.raises(ValueError, match="digit;L: expected classes 0 to 3 as whole numbers, got -1"):
        pairs(variables)


def test_classes_by_name_in_pairs():
    speaker, names = class_numbers(["Bo", "Ann", "Bo", "Cy"] * 5)
    assert names == ["Ann", "Bo", "Cy"]
    z = torch.randn(20, 3)
    given = {
        ("z", "speaker"): HSIC(),
        ("speaker", "z"): CLUBEstimator(3, 3),
        ("z", "name"): CLUBEstimator(3, 1, conditional=CategoricalConditional(3, 3)),
    }
    values = Pairwise(given)({"z": z, "speaker": speaker, "name": speaker})
    assert len(values) == 3
    assert torch.equal(values["HSIC(z;speaker)"], HSIC()(z, torch.nn.functional.one_hot(speaker)))


def test_a_conditional_of_another_size_is_refused_and_does_not_broadcast():
    estimator = CLUBEstimator(2, 3)
    estimator.conditional = GaussianConditional(2, 1)  # when it is made this is refused already
    message = "expected q(y|x) with batch shape (12,) and event shape (3,) for y of shape (12, 3), got (12,) and (1,)"
    for call in calls(estimator):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(torch.randn(12, 2), torch.randn(12, 3))


def test_whole_numbers_do_not_stay_whole_when_standardized():
    wrapper = ScaleInvariant(CLUBEstimator(2, 2), 2, 2)
    x, y = torch.randint(0, 5, (2, 12, 2))
    loss = wrapper.learning_loss(x, y)
    wrapper.eval()
    torch.testing.assert_close(wrapper.learning_loss(x.float(), y.float()), loss)


def test_classes_cannot_be_standardized():
    classes = CLUBEstimator(2, 1, conditional=CategoricalConditional(2, 4))
    with pytest.raises(ValueError, match="expected a dependence of numbers, got a CLUBEstimator of classes"):
        ScaleInvariant(classes, 2, 1)


@every
def test_a_pair_takes_and_refuses_what_its_dependence_does(name):
    dependence = MAKE[name](1, 1).eval()
    x, y = torch.randn(12), torch.randn(12)
    value, *loss = (call(x, y) for call in calls(dependence))
    pairs = Pairwise({("a", "b"): dependence})
    first, second = ([call({"a": x, "b": y})] for call in (calls(pairs)[0], calls(pairs)[-1]))
    assert torch.equal(first[0][f"{dependence.label}(a;b)"], value)
    assert not loss or torch.equal(second[0], loss[0])
    with pytest.raises(ValueError, match=r"a;b: expected .*, got .*\(12, 3, 4\)"):
        pairs({"a": x, "b": torch.randn(12, 3, 4)})
