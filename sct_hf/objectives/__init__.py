"""Losses and targets that training adds to a model's own loss, one per module. Importing the package registers all."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
