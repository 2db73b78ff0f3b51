"""The record: write, read and query it."""

from .query import QueryError, query, reader
from .schema import describe
from .store import Record, RecordError, now

__all__ = ["QueryError", "Record", "RecordError", "describe", "now", "query", "reader"]
