"""logclf labels every log line for the price of copying it.

from logclf import Classifier
verdicts = Classifier.default().classify(["…", b"…"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .batch import Verdict
    from .cascade import Route
    from .classifier import Classifier
    from .taxonomy import Severity, Taxonomy

__all__ = ["Classifier", "Route", "Severity", "Taxonomy", "Verdict", "__version__"]

_HOMES = {
    "Classifier": "classifier",
    "Route": "cascade",
    "Severity": "taxonomy",
    "Taxonomy": "taxonomy",
    "Verdict": "batch",
}


def __getattr__(name: str) -> object:
    """Import a name's module when it is first asked for: `import logclf` alone must cost nothing (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
