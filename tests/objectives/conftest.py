"""The tiny models of the tests of the model."""

from tests.model.fixtures import make_model, targets

__all__ = ["make_model", "targets"]
