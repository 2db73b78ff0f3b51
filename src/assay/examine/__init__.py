"""The main job: artefacts are unpacked, inspected and identified into a record."""

from .main import ExamineError, Outcome, examine, keep_apart
from .sandbox import SandboxUnavailable
from .scheduler import Progress

__all__ = ["ExamineError", "Outcome", "Progress", "SandboxUnavailable", "examine", "keep_apart"]
