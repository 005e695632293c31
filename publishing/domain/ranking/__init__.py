"""Owns the list of ranking terms: every module of this folder is one."""

import importlib
import pkgutil
from typing import cast

from publishing.domain.scoring import Term


def load() -> tuple[Term, ...]:
    """All terms, in the order of their names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(cast("Term", importlib.import_module(f"{__name__}.{name}")) for name in names)
