"""A package of which one part is used: what it loads for its other users waits until one asks."""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec


def put_off(package: str) -> None:
    """Have the package's own first file run only once a name is asked for that it gives itself.

    Its parts are loaded as ever. A package that is loaded already, or is not there, stays as it is.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec is None or spec.loader is None:
        return
    module, loader = module_from_spec(spec), spec.loader

    def asked_for(name: str) -> object:
        try:
            return import_module(f"{package}.{name}")
        except ModuleNotFoundError:
            vars(module).pop("__getattr__", None)
            loader.exec_module(module)
            return getattr(module, name)

    vars(module)["__getattr__"] = asked_for
    sys.modules[package] = module
