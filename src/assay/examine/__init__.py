"""The main job: artefacts are unpacked, inspected and identified into a record."""

from .cache import default_folder
from .examination import ExamineError, Outcome, Progress, examine
from .sandbox import SandboxUnavailable

__all__ = ["ExamineError", "Outcome", "Progress", "SandboxUnavailable", "default_folder", "examine"]
