"""The tiny models of the tests of the model."""

from tests.model.conftest import make_model, targets

__all__ = ["make_model", "targets"]
