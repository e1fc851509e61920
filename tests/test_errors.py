import importlib
import inspect
import pkgutil

import disentangle
from disentangle import DisentangleError, errors


def classes_of(name):
    """The exception and warning classes that a module defines, but for those that never leave it."""
    for each in vars(importlib.import_module(name)).values():
        ours = inspect.isclass(each) and each.__module__ == name and not each.__name__.startswith("_")
        if ours and issubclass(each, Exception):
            yield each


def test_every_error_of_the_library_derives_from_one():
    modules = [each.name for each in pkgutil.walk_packages(disentangle.__path__, "disentangle.")]
    found = {each for name in modules if not name.endswith("__main__") for each in classes_of(name)}
    assert found >= {getattr(errors, name) for name in errors.__all__}
    assert [each for each in found if not issubclass(each, DisentangleError)] == []


def test_errors_are_still_of_their_built_in_kinds():
    kinds = {
        errors.DataError: ValueError,
        errors.DataWarning: UserWarning,
        errors.EstimatorWarning: UserWarning,
        errors.BackboneError: RuntimeError,
        errors.NonFiniteError: FloatingPointError,
        errors.RunError: RuntimeError,
        errors.SavedModelError: RuntimeError,
        errors.SeedsError: RuntimeError,
        errors.TooFewRowsError: ValueError,
    }
    assert {DisentangleError, *kinds} == {getattr(errors, name) for name in errors.__all__}
    assert [error for error, kind in kinds.items() if not issubclass(error, kind)] == []


def test_errors_are_exported_where_they_are_raised():
    from disentangle import data, nn, saving, training

    assert (data.DataError, data.DataWarning) == (errors.DataError, errors.DataWarning)
    assert (training.RunError, training.SeedsError) == (errors.RunError, errors.SeedsError)
    assert training.NonFiniteError is errors.NonFiniteError
    assert saving.SavedModelError is errors.SavedModelError
    assert nn.backbones.BackboneError is errors.BackboneError
