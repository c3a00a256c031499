"""The alert lifecycle: a pure function from what was known and what was just found to what is news."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import SubjectKind
from daemon.alerts.state import AlertState, LastDeath, Notice, NoticeKind, Phase, Seen, fingerprint
from policies.policy import Condition, ConditionState, Occurrence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from collectors.facts import Death, Subject
    from policies.catalogue import AlertRule
    from policies.policy import Severity

MOST_SEEN = 64
"""Occurrences that a state remembers one by one; of older ones it only knows that they are old."""

_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one round of findings changed, and what is news of it, whoever is to hear it; the most severe first."""

    changed: tuple[AlertState, ...]
    notices: tuple[Notice, ...]
    quiet: tuple[AlertState, ...]
    """What ended without a word: over before its time, or now part of another alert."""

    def at_once(self) -> Step:
        """Give what became news in this very round: all else is as if it had not been looked at."""
        news = {notice.state.fingerprint for notice in self.notices}
        return Step(
            changed=tuple(state for state in self.changed if state.fingerprint in news),
            notices=self.notices,
            quiet=(),
        )


@dataclass(slots=True)
class _Found:
    """All that was found of one alert for one subject."""

    condition: Condition | None = None
    occurrences: list[Occurrence] = field(default_factory=list)
    death: Death | None = None
    """The newest death that the alert speaks of."""
    news: list[Occurrence] = field(default_factory=list)
    """The occurrences that count now for the first time."""
    gone: bool = False
    """True if the subject is known to exist no longer."""
    removed: str = "it was removed"
    """That in words."""

    @property
    def bad(self) -> bool:
        return self.condition is not None and self.condition.state is ConditionState.BAD

    @property
    def good(self) -> bool:
        return self.condition is not None and self.condition.state is ConditionState.OK

    @property
    def why_over(self) -> str:
        return self.condition.reason if self.condition and self.good else self.removed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What holds for all alerts of one step."""

    ran_alerts: frozenset[str]
    present: Mapping[SubjectKind, frozenset[str] | None]
    now: datetime
    elapsed: timedelta
    rules: Mapping[str, AlertRule]
    host: str

    def gone(self, subject: Subject) -> bool:
        """Tell whether the subject is known to exist no longer."""
        present = self.present.get(subject.kind)
        return present is not None and subject.key not in present


def step(  # noqa: PLR0913  a pure function of the whole round: each argument has its own source
    states: Mapping[str, AlertState],
    findings: Iterable[Condition | Occurrence],
    *,
    ran_alerts: frozenset[str],
    present: frozenset[str] | None,
    gpus: frozenset[str] | None = None,
    filesystems: frozenset[str] | None = None,
    now: datetime,
    elapsed: timedelta,
    rules: Mapping[str, AlertRule],
    host: str,
) -> Step:
    """
    Move every alert by one round of findings.

    `states` are by fingerprint: all active ones, and what is remembered of those `concerned`. `ran_alerts` are the
    alerts whose policies ran; of the others nothing is known. `present` holds the keys of the containers that
    exist, or is `None` while Docker cannot tell; `gpus` those of the GPUs that this host has, lost ones among them,
    or is `None` while that is not known; `filesystems` likewise those that Docker's data lies on. `elapsed` is the
    time since the last round as far as it counts for timers; the wall clock `now` only dates things. An alert
    without a rule is switched off.
    """
    this = _Round(
        ran_alerts=ran_alerts,
        present={
            SubjectKind.CONTAINER: present,
            SubjectKind.GPU: gpus,
            SubjectKind.FILESYSTEM: filesystems,
        },
        now=now,
        elapsed=max(elapsed, _ZERO),
        rules=rules,
        host=host,
    )
    found = _gather(of_interest(tuple(findings), states, rules), rules)
    before = {**_blanks(found, states, this), **states}
    moved = {key: _move(state, found.get(key, _Found()), this) for key, state in before.items()}
    after = _fold(before, moved, rules)
    notices = [Notice(kind=kind, state=state) for key, state in after.items() if (kind := _news(before[key], state))]
    return Step(
        changed=tuple(state for key, state in after.items() if state != before[key]),
        notices=tuple(sorted(notices, key=lambda notice: -notice.state.severity.rank)),
        quiet=tuple(
            state for key, state in after.items() if before[key].phase.active and state.phase is Phase.INACTIVE
        ),
    )


def concerned(findings: Iterable[Condition | Occurrence], rules: Mapping[str, AlertRule]) -> set[str]:
    """
    Give the fingerprints of what is not well, or happened lately: their states must be known to `step`.

    So must those of all active alerts; of what is over and well again no state is needed.
    """
    return {
        fingerprint(finding.alert, finding.subject)
        for finding in findings
        if finding.alert in rules and not _is_well(finding)
    }


def of_interest(
    findings: Sequence[Condition | Occurrence], states: Mapping[str, AlertState], rules: Mapping[str, AlertRule]
) -> list[Condition | Occurrence]:
    """Leave out whatever is well and never was bad: nearly all of it, on a host with many containers."""
    kept = {(state.alert, state.subject.key) for state in states.values()}
    kept.update((finding.alert, finding.subject.key) for finding in findings if not _is_well(finding))
    return [each for each in findings if (each.alert, each.subject.key) in kept and each.alert in rules]


def _is_well(finding: Condition | Occurrence) -> bool:
    return isinstance(finding, Condition) and finding.state is not ConditionState.BAD


def _gather(findings: Iterable[Condition | Occurrence], rules: Mapping[str, AlertRule]) -> dict[str, _Found]:
    """Sort the findings by fingerprint."""
    found: dict[str, _Found] = {}
    deaths: dict[tuple[str, Subject], Death] = {}
    for finding in findings:
        of_key = found.setdefault(fingerprint(finding.alert, finding.subject), _Found())
        if isinstance(finding, Condition):
            of_key.condition = finding
            continue
        of_key.occurrences.append(finding)
        if finding.death:
            # An alert that speaks for this one shows what this one would have shown.
            for speaker in (finding.alert, *rules[finding.alert].folded_into):
                newest = deaths.setdefault((speaker, finding.subject), finding.death)
                if finding.death.finished_at > newest.finished_at:
                    deaths[speaker, finding.subject] = finding.death
    for of_key in found.values():
        finding = of_key.condition or of_key.occurrences[0]
        of_key.death = deaths.get((finding.alert, finding.subject))
    return found


def _blanks(found: Mapping[str, _Found], states: Mapping[str, AlertState], this: _Round) -> dict[str, AlertState]:
    """Give a blank state to everything that is not well and has none: what never was bad needs none."""
    blanks = {}
    for key, of_key in found.items():
        if key not in states and (of_key.bad or of_key.occurrences):
            finding = of_key.condition or of_key.occurrences[0]
            blanks[key] = AlertState(
                fingerprint=key,
                alert=finding.alert,
                subject=finding.subject,
                host=this.host,
                severity=finding.severity,
                since=this.now,
            )
    return blanks


def _move(state: AlertState, found: _Found, this: _Round) -> AlertState:
    """Move one alert by what was found of it, as if there were no others."""
    rule = this.rules.get(state.alert)
    if rule is None:
        return _end(state, this.now, "the alert is switched off") if state.phase.active else state
    gone = this.gone(state.subject)
    if state.alert not in this.ran_alerts or not (found.condition or found.occurrences or gone):
        return _known_as(state, state.host, unknown=state.phase.active)
    state, news = _count(state, found, this.now)
    state = _known_as(state, this.host, unknown=False)
    found = replace(found, news=news, gone=gone)
    if state.subject.kind is SubjectKind.FILESYSTEM:
        # One that Docker has left may still be judged for another reason: then that counts.
        found = replace(found, gone=gone and not found.condition, removed="nothing of Docker's is there any more")
    if not state.phase.active:
        return _begin(state, found, rule, this.now) if found.bad or news else state
    state = _describe(state, found)
    return _wait(state, found, rule, this) if state.phase is Phase.PENDING else _watch(state, found, rule, this)


def _known_as(state: AlertState, host: str, *, unknown: bool) -> AlertState:
    """Give the state itself where nothing changes: copies cost more than all the rest."""
    return state if (state.host, state.unknown) == (host, unknown) else replace(state, host=host, unknown=unknown)


def _count(state: AlertState, found: _Found, now: datetime) -> tuple[AlertState, list[Occurrence]]:
    """Note the occurrences that were not seen before; give those that are news."""
    known = {seen.key for seen in state.seen}
    fresh = [
        occurrence
        for occurrence in found.occurrences
        if occurrence.key not in known and _later(occurrence.at, state, now)
    ]
    if not fresh:
        return state, []
    # Once an episode is over, something that happened before its last occurrence does not begin another.
    # (A last occurrence that is still to come was stamped before the wall clock was set back: it says nothing.)
    newest = state.seen[-1].at if state.seen and state.seen[-1].at <= now else None
    news = [occurrence for occurrence in fresh if state.phase.active or newest is None or occurrence.at > newest]
    seen = sorted(
        (*state.seen, *(Seen(key=occurrence.key, at=occurrence.at) for occurrence in fresh)), key=lambda one: one.at
    )
    dropped, kept = seen[:-MOST_SEEN], seen[-MOST_SEEN:]
    return replace(state, seen=tuple(kept), seen_until=dropped[-1].at if dropped else state.seen_until), news


def _later(at: datetime, state: AlertState, now: datetime) -> bool:
    """Tell what happened after everything that was counted and forgotten."""
    if state.seen_until is None or state.seen_until <= now:
        return state.seen_until is None or at > state.seen_until
    # The wall clock was set back: what is still to come by it is old, and so is what lies before that.
    return at <= now and all(at > seen.at for seen in state.seen if seen.at <= now)


def _begin(state: AlertState, found: _Found, rule: AlertRule, now: datetime) -> AlertState:
    blank = replace(
        state,
        phase=Phase.PENDING,
        timer=_ZERO,
        since=now,
        fired_at=None,
        resolved_at=None,
        count=0,
        reason="",
        details=(),
        resolution="",
        value=None,
        limit=None,
        death=None,
    )
    begun = _describe(blank, found)
    return _fire(begun, now) if rule.hold <= _ZERO else begun


def _describe(state: AlertState, found: _Found) -> AlertState:
    """Bring what is said of it up to date; good findings do not overwrite why it is bad."""
    if found.bad and (condition := found.condition):
        state = replace(
            state,
            subject=condition.subject,
            severity=_severity(state, condition.severity),
            reason=condition.reason,
            details=condition.details,
            value=condition.value,
            limit=condition.limit,
        )
    if found.news:
        newest = max(found.news, key=lambda occurrence: occurrence.at)
        state = replace(
            state,
            subject=newest.subject,
            severity=_severity(state, newest.severity),
            reason=newest.reason,
            details=newest.details,
            count=state.count + len(found.news),
        )
    if found.death and (found.news or found.bad):
        state = replace(state, death=LastDeath.of(found.death))
    return state


def _severity(state: AlertState, found: Severity) -> Severity:
    return max(state.severity, found, key=lambda severity: severity.rank) if state.phase.told else found


def _wait(state: AlertState, found: _Found, rule: AlertRule, this: _Round) -> AlertState:
    """Move a pending alert: it fires when it was bad for long enough, and ends untold if it gets well before."""
    happened = state.count > 0
    if not happened and not found.bad:
        return _end(state, this.now, found.why_over) if found.good or found.gone else state
    state = replace(state, timer=state.timer + this.elapsed)
    if state.timer < rule.hold:
        return state
    # What has happened stays true, even of a container that is gone by now: only being well again when the
    # time is up makes it not worth telling.
    if happened and found.good:
        return _end(state, this.now, found.why_over)
    return _fire(state, this.now)


def _watch(state: AlertState, found: _Found, rule: AlertRule, this: _Round) -> AlertState:
    """Move an alert that people know of: it is resolved when it has been well for long enough."""
    if found.bad or found.news:
        return replace(state, phase=Phase.FIRING, timer=_ZERO)
    if not (found.good or found.gone):
        return state
    spent = state.timer + this.elapsed if state.phase is Phase.CLEARING else _ZERO
    state = replace(state, phase=Phase.CLEARING, timer=spent)
    return state if spent < rule.clear else _end(state, this.now, found.why_over)


def _fire(state: AlertState, now: datetime) -> AlertState:
    return replace(state, phase=Phase.FIRING, timer=_ZERO, fired_at=now, episode=state.episode + 1)


def _end(state: AlertState, now: datetime, why: str) -> AlertState:
    phase = Phase.RESOLVED if state.phase.told else Phase.INACTIVE
    return replace(state, phase=phase, timer=_ZERO, unknown=False, resolved_at=now, resolution=why)


def _fold(
    before: Mapping[str, AlertState], moved: Mapping[str, AlertState], rules: Mapping[str, AlertRule]
) -> dict[str, AlertState]:
    """
    Silence what another alert speaks for: of it only the occurrences are noted.

    What people know of already is not ended by an engine that is down: it is unknown until the engine is back.
    A speaker that is pending may yet end untold, so it only holds back what would be told for the first time.
    Of the same subject, what is worse than its speaker speaks for itself.
    """
    speaking = {
        (state.alert, state.subject.kind, state.subject.key): state for state in moved.values() if state.phase.active
    }
    of_engine = {alert: state.phase for (alert, kind, _), state in speaking.items() if kind is SubjectKind.ENGINE}
    after = dict(moved)
    for key, state in moved.items():
        if not state.phase.active:
            after[key] = _inhibited(state, "")
            continue
        subject, by = state.subject, ""
        for speaker in rules[state.alert].folded_into:
            own = speaking.get((speaker, subject.kind, subject.key))
            phase = own.phase if own and own.severity.rank >= state.severity.rank else None
            if phase is None and speaker in of_engine:
                by = by or speaker
                if not before[key].phase.told:
                    phase = of_engine[speaker]
            if phase is Phase.PENDING:
                after[key] = state if before[key].phase.told else before[key]
            elif phase is not None:
                after[key], by = _folded(before[key], state, speaker), speaker
                break
        after[key] = _inhibited(after[key], by)
    return after


def _folded(before: AlertState, state: AlertState, speaker: str) -> AlertState:
    noted = replace(before, seen=state.seen, seen_until=state.seen_until)
    if not before.phase.active:
        return noted
    return replace(noted, phase=Phase.INACTIVE, timer=_ZERO, unknown=False, resolution=f"part of {speaker}")


def _inhibited(state: AlertState, by: str) -> AlertState:
    return state if state.inhibited_by == by else replace(state, inhibited_by=by)


def _news(before: AlertState, after: AlertState) -> NoticeKind | None:
    if not before.phase.told:
        return NoticeKind.FIRED if after.phase.told else None
    if after.phase is Phase.RESOLVED:
        return NoticeKind.RESOLVED
    return NoticeKind.ESCALATED if after.severity.rank > before.severity.rank else None
