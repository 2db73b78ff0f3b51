"""Times that a format gives as year, month, day, hour, minute and second."""

from __future__ import annotations

from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(
    year: int, month: int, day: int, hour: int, minute: int, second: int, *, nanosecond: int = 0, east: int = 0
) -> int | None:
    """Return nanoseconds since 1970-01-01 UTC, or None if there is no such time.

    Args:
        year: of the Gregorian calendar, 1 to 9999.
        month: from 1; also day.
        day: see `month`.
        hour: from 0; also minute and second.
        minute: see `hour`.
        second: see `hour`.
        nanosecond: added to it; may be a second or more.
        east: minutes by which the clock is ahead of UTC.
    """
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds - east * 60) * 1_000_000_000 + nanosecond
