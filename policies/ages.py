"""How old things are, where Docker's dates can be missing, absurd or ahead of us."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collectors.facts import Container, Facts, Image

_SETTLING = timedelta(minutes=5)
"""What was there within this time of our very first look was there before it."""

# Docker did not exist before: an older date is an empty field or a reproducible build, not an age.
_DOCKER_BEGAN = datetime(2013, 1, 1, tzinfo=UTC)


def age(at: datetime | None, now: datetime) -> timedelta | None:
    """Give the time from `at` to `now`; None where the date is missing, absurd or in the future."""
    if at is None or not _DOCKER_BEGAN <= at <= now:
        return None
    return now - at


def since_end(container: Container, now: datetime) -> timedelta | None:
    """
    Give how long ago a container ended, or was created if it never started; None when that is unknown.

    A container created months ago that ended a minute ago is a minute old. And it is never older than we have
    watched it stopped, however far somebody sets the wall clock.
    """
    never_ran = container.started_at is None and container.finished_at is None
    dated = age(container.created_at if never_ran else container.finished_at, now)
    if dated is None or container.stopped_for is None:
        return dated
    return min(dated, container.stopped_for)


def unused_for(image: Image, now: datetime) -> timedelta:
    """
    Give how long an image that nothing references has certainly lain unused.

    That is never longer than we watched it, so no rule can fire on an image that we have just met. The build
    date says nothing: an image built in 2015 may have been pulled a minute ago.
    """
    if not image.inspected:
        return timedelta(0)
    if image.last_tagged_at is None:
        return image.watched_for
    since_tagged = age(image.last_tagged_at, now)
    return timedelta(0) if since_tagged is None else min(since_tagged, image.watched_for)


def unused_by_date(image: Image, facts: Facts) -> timedelta:
    """
    Give how long an image has lain unused, for a cleanup that cannot wait until we have watched it for that long.

    One that nothing has used for as long as we have watched at all is believed to be as old as its last tag: on a
    disk that was full before we came nothing else would tell. Once the wall clock was set forward no date is believed.
    """
    watched = unused_for(image, facts.now)
    dated = age(image.last_tagged_at, facts.now)
    if not image.inspected or dated is None or facts.watched is None:
        return watched
    if image.watched_for < facts.watched - _SETTLING:
        return watched  # it came, or was in use, while we watched
    set_since = facts.clock_set_ago is not None and facts.clock_set_ago < dated
    return watched if set_since else dated
