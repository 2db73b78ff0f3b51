"""What whoever supplies a release states about it: statements and SBOMs in, facts on what is declared out.

A statement proves nothing about the release. It is held against what was found by one mechanism for all topics: the
record's views `found` and `declared_found`.
"""

from .document import TOPICS, Document, Topic
from .read import Given, StatementError, add, read
from .template import template

__all__ = ["TOPICS", "Document", "Given", "StatementError", "Topic", "add", "read", "template"]
