import pytest

from disentangle.information import correction


@pytest.fixture
def few_steps(monkeypatch):
    """A critic that learns for a fifth of its time: for what holds however long it learns."""
    monkeypatch.setattr(correction, "STEPS", 100)
