"""The folder of channels: one module each, found by its file name."""

import importlib
import pkgutil
from functools import cache

from sinks.contract import Channel


@cache
def load() -> dict[str, Channel]:
    """Every channel by its name, in the order of names; a module that breaks the contract raises at once."""
    found: dict[str, Channel] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        channel: Channel = importlib.import_module(f"{__name__}.{module.name}").CHANNEL
        if channel.name != module.name:
            raise ImportError(f"channel {channel.name!r} stands in {module.name}.py: name the module after it")
        found[channel.name] = channel
    return found
