"""Assay: the evaluation laboratory in software. Evidence, not accusation, and the same yardstick for everyone."""

__version__ = "0.1.0"
