"""Frozen plans: what a cleanup would remove, as a value, as JSON and as lines for a terminal."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from collectors.facts import ObjectRef, SubjectKind
from daemon.errors import ShipkeeperError
from policies import words
from policies.policy import Kept, Removal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from policies.policy import Verdict

LIFE = timedelta(minutes=30)
"""A plan is not carried out when it is older: too much can have changed."""

_NOUNS = {
    SubjectKind.CONTAINER: "container",
    SubjectKind.IMAGE: "image",
    SubjectKind.BUILD_CACHE: "build cache",
    SubjectKind.VOLUME: "volume",
    SubjectKind.NETWORK: "network",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What one cycle would remove; `hash` binds an approval to exactly these removals.

    Removals are sorted by kind, then largest first, then by name.
    """

    hash: str
    mode: str
    created_at: datetime
    removals: tuple[Removal, ...]
    kept: tuple[Kept, ...]
    notes: tuple[str, ...] = ()
    """What holds up a part of it, in words."""

    @property
    def plan_id(self) -> str:
        """The six characters by which people call it."""
        return self.hash[:6]

    @property
    def expires_at(self) -> datetime:
        """When it must not be carried out any more."""
        return self.created_at + LIFE


def make_plan(verdicts: Iterable[Verdict], mode: str, now: datetime, notes: Sequence[str] = ()) -> Plan:
    """Freeze the removals among these verdicts, with everything that stays."""
    verdicts = tuple(verdicts)
    removals = tuple(sorted((each for each in verdicts if isinstance(each, Removal)), key=_largest_first))
    kept = tuple(sorted((each for each in verdicts if isinstance(each, Kept)), key=_by_reason))
    hash_ = _hash(removals, mode, now)
    return Plan(hash=hash_, mode=mode, created_at=now, removals=removals, kept=kept, notes=tuple(notes))


def to_json(plan: Plan) -> dict[str, Any]:
    """Give the plan in the shape of `plan --json`."""
    return {
        "plan_id": plan.plan_id,
        "hash": plan.hash,
        "mode": plan.mode,
        "created_at": plan.created_at.isoformat(),
        "expires_at": plan.expires_at.isoformat(),
        "removals": [_removal_json(removal) for removal in plan.removals],
        "kept": [_ref_json(kept.object) | {"reason": kept.reason} for kept in plan.kept],
        "totals": {"removals": len(plan.removals), "size_bytes": total_bytes(plan.removals)},
        "notes": list(plan.notes),
    }


def from_json(answer: Mapping[str, Any]) -> Plan:
    """Read a plan back from `to_json`'s shape; ShipkeeperError where it is none."""
    try:
        plan = Plan(
            hash=answer["hash"],
            mode=answer["mode"],
            created_at=datetime.fromisoformat(answer["created_at"]),
            removals=tuple(_removal(each) for each in answer["removals"]),
            kept=tuple(Kept(object=_ref(each), reason=each["reason"]) for each in answer["kept"]),
            notes=tuple(map(str, answer.get("notes", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ShipkeeperError(
            f"the answer is not a plan ({error!r}); is the running daemon of the same version?"
        ) from error
    if plan.hash != _hash(plan.removals, plan.mode, plan.created_at):
        raise ShipkeeperError(f"plan {plan.plan_id} does not match its hash; ask for a new one with: shipkeeper plan")
    return plan


def total_bytes(removals: Iterable[Removal]) -> int | None:
    """Add up the known sizes; None when there are removals and not one size is known."""
    removals = tuple(removals)
    known = [removal.size_bytes for removal in removals if removal.size_bytes is not None]
    return sum(known) if known or not removals else None


def summary(plan: Plan) -> str:
    """Say the plan in one line: `would remove 3 containers and 2 images, at least 1.2 GiB`."""
    if not plan.removals:
        return "nothing to remove"
    kinds = Counter(removal.object.kind for removal in plan.removals)
    what = " and ".join(_counted(kind, number) for kind, number in sorted(kinds.items()))
    return f"would remove {what}, {_gain(plan.removals)}"


def plan_lines(plan: Plan, *, explain: bool = False) -> list[str]:
    """Give the plan as lines of plain text, every removal on one of its own; `explain` adds all that stays."""
    lines = [_heading(plan), ""]
    for kind, noun in _NOUNS.items():
        lines += _kind_lines(plan, kind, noun if kind is SubjectKind.BUILD_CACHE else f"{noun}s")
    lines.append(_kept_line(plan, explain=explain))
    if explain:
        lines += _table([(kept.object.name, f"{_NOUNS[kept.object.kind]:<9}", kept.reason) for kept in plan.kept])
    lines += _footer(plan)
    return lines


def _counted(kind: SubjectKind, number: int) -> str:
    """Say how many of a kind; of the build cache there is one, and never all of it goes."""
    return "a part of the build cache" if kind is SubjectKind.BUILD_CACHE else words.count(number, _NOUNS[kind])


def _footer(plan: Plan) -> list[str]:
    """Say what comes of the plan."""
    return [*(f"  {words.plain(note)}" for note in plan.notes), *_outcome(plan)]


def _outcome(plan: Plan) -> list[str]:
    if plan.mode == "observe":
        return ["", "  Nothing is removed in observe mode."]
    if not plan.removals:
        return []
    approve = f"shipkeeper apply {plan.plan_id}"
    if plan.mode == "approve":
        return ["", f"  Nothing is removed until somebody approves: {approve}"]
    return ["", f"  Shipkeeper removes this by itself; at once: {approve}"]


def _heading(plan: Plan) -> str:
    parts = [f"Plan {plan.plan_id}", plan.mode, words.moment(plan.created_at), f"expires {plan.expires_at:%H:%M}"]
    by_place: defaultdict[str, list[Removal]] = defaultdict(list)
    for removal in plan.removals:
        by_place[removal.filesystem].append(removal)
    for place, removals in sorted(by_place.items()):
        parts.append(f"{_gain(removals)} on {words.plain(place)}" if place else _gain(removals))
    return " · ".join(parts if plan.removals else [*parts, "nothing to remove"])


def _kind_lines(plan: Plan, kind: SubjectKind, title: str) -> Iterator[str]:
    removals = [removal for removal in plan.removals if removal.object.kind is kind]
    looked_at = len(removals) + sum(kept.object.kind is kind for kept in plan.kept)
    if not looked_at:
        return
    gain = f"{_gain(removals)}   " if removals else ""
    yield f"  {title:<11}  {gain}{len(removals)} of {looked_at}"
    yield from _table([(each.object.name, words.size(each.size_bytes), each.reason) for each in removals])
    yield ""


def _kept_line(plan: Plan, *, explain: bool) -> str:
    categories = Counter(kept.category for kept in plan.kept)
    counted = " · ".join(f"{category} {number}" for category, number in sorted(categories.items()))
    hint = "" if explain or not counted else "        --explain shows each"
    return f"  {'kept':<11}  {words.plain(counted) or 'nothing'}{hint}"


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    """Align names and the middle column; a very long name pushes only its own line."""
    shown = [(words.plain(name), middle, words.plain(reason)) for name, middle, reason in rows]
    first = max((min(len(name), 40) for name, _, _ in shown), default=0)
    second = max((len(middle) for _, middle, _ in shown), default=0)
    for name, middle, reason in shown:
        yield f"    {name:<{first}}   {middle:>{second}}   {reason}"


def _gain(removals: Iterable[Removal]) -> str:
    """Say what would be won: of an image at least what no other shares, and not all is measured."""
    removals = tuple(removals)
    unmeasured = sum(removal.size_bytes is None for removal in removals)
    if unmeasured == len(removals) and removals:
        return words.size(None)
    shared = any(removal.object.kind is SubjectKind.IMAGE for removal in removals)
    gain = f"{'at least ' if shared else ''}{words.size(total_bytes(removals))}"
    return f"{gain} ({unmeasured} not measured)" if unmeasured else gain


def _largest_first(removal: Removal) -> tuple[str, int, str, str]:
    return removal.object.kind, -(removal.size_bytes or 0), removal.object.name, removal.object.id


def _by_reason(kept: Kept) -> tuple[str, str, str, str]:
    return kept.object.kind, kept.category, kept.object.name, kept.object.id


def _hash(removals: tuple[Removal, ...], mode: str, created_at: datetime) -> str:
    content = {
        "removals": [_removal_json(removal) for removal in removals],
        "mode": mode,
        "created_at": created_at.astimezone(UTC).isoformat(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _ref_json(ref: ObjectRef) -> dict[str, Any]:
    return {"kind": ref.kind.value, "id": ref.id, "name": ref.name}


def _ref(answer: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef(SubjectKind(answer["kind"]), answer["id"], answer["name"])


def _removal_json(removal: Removal) -> dict[str, Any]:
    return (
        _ref_json(removal.object)
        | {
            "size_bytes": removal.size_bytes,
            "filesystem": removal.filesystem,
            "policy": removal.policy,
            "reason": removal.reason,
        }
        | ({"tags": list(removal.tags)} if removal.tags else {})
    )


def _removal(answer: Mapping[str, Any]) -> Removal:
    return Removal(
        object=_ref(answer),
        size_bytes=answer["size_bytes"],
        filesystem=answer["filesystem"],
        policy=answer["policy"],
        reason=answer["reason"],
        tags=tuple(map(str, answer.get("tags", ()))),
    )
