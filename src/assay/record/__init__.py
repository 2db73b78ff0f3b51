"""The record: write, read and query it."""

from .query import QueryError, query, reader
from .schema import describe
from .store import Record, RecordError

__all__ = ["QueryError", "Record", "RecordError", "describe", "query", "reader"]
