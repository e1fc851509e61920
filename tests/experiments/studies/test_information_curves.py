import inspect

from disentangle.dependence import Dependence, parameter_free
from disentangle.experiments.studies.information_curves import NOT_IN_NATS


def test_what_has_no_parameters_is_not_in_nats():
    found = [each for _, each in inspect.getmembers(parameter_free, inspect.isclass) if issubclass(each, Dependence)]
    assert {each.label for each in found if each is not Dependence} == NOT_IN_NATS
