from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.decide import decide
from daemon.errors import ShipkeeperError
from daemon.plans import Plan, from_json, make_plan, plan_lines, summary, to_json
from policies.build_cache import BuildCache
from policies.networks import UnusedNetworks
from policies.policy import Kept, Policy, Removal
from policies.volumes import UnusedVolumes
from tests.policies.build import GIB, MIB, NOW, anonymous, container, facts, image, network, record

KINDS = {"container": container("x").ref, "image": image("x:1").ref}


def removal(name: str, size: int | None = MIB, kind: str = "container", **changes: str) -> Removal:
    policy, reason = ("containers", "exited 1 (error) 9 days ago")
    plain = Removal(
        object=replace(KINDS[kind], id=name * 3, name=name),
        size_bytes=size,
        filesystem="/",
        policy=policy,
        reason=reason,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # only texts change


def kept(name: str, reason: str) -> Kept:
    return Kept(object=container(name).ref, reason=reason)


def plan(*verdicts: Removal | Kept, mode: str = "observe") -> Plan:
    return make_plan(verdicts, mode, NOW)


def test_removals_stand_by_kind_then_largest_first_then_by_name() -> None:
    mixed = [removal("b"), removal("i", kind="image"), removal("a"), removal("u", None), removal("big", GIB)]
    assert [each.object.name for each in plan(*mixed).removals] == ["big", "a", "b", "u", "i"]


def test_the_order_of_the_verdicts_does_not_change_the_plan() -> None:
    verdicts: list[Removal | Kept] = [removal("a"), kept("k", "in use: running"), removal("b", None, kind="image")]
    assert plan(*verdicts) == plan(*reversed(verdicts))


def test_the_hash_binds_removals_mode_and_time_and_its_first_six_digits_name_the_plan() -> None:
    plain = plan(removal("a"))
    others = [
        plan(removal("a", 2 * MIB)),
        plan(removal("a", reason="exited 2 (usage error) 9 days ago")),
        plan(removal("a"), mode="approve"),
        make_plan([removal("a")], "observe", NOW + timedelta(microseconds=1)),
    ]
    assert plain.plan_id == plain.hash[:6]
    assert len({plain.hash, *(other.hash for other in others)}) == 5
    assert plan(removal("a"), kept("k", "in use: running")).hash == plain.hash


def test_every_kind_of_object_has_its_words() -> None:
    world = facts(networks=[network("left")], volumes=[anonymous()], build_records=[record(str(n)) for n in range(30)])
    policies: dict[str, Policy] = {
        "networks": UnusedNetworks(),
        "volumes": UnusedVolumes(i_understand_data_loss=True),
        "build_cache": BuildCache(),
    }
    shown = plan(*decide(policies, world).removals)
    assert from_json(to_json(shown)) == shown
    assert summary(shown) == "would remove a part of the build cache and 1 network and 1 volume, 12.0 GiB"
    assert [line.split("  ")[1] for line in plan_lines(shown) if line.endswith("1 of 1")] == [
        "build cache",
        "volumes",
        "networks",
    ]


def test_a_plan_lives_half_an_hour() -> None:
    assert plan().expires_at == NOW + timedelta(minutes=30)


def test_the_json_has_the_shape_that_other_programs_read() -> None:
    shown = to_json(plan(removal("etl", 5), kept("web", "in use: running")))
    assert list(shown) == ["plan_id", "hash", "mode", "created_at", "expires_at", "removals", "kept", "totals", "notes"]
    assert (shown["created_at"], shown["expires_at"]) == ("2026-11-23T16:02:00+00:00", "2026-11-23T16:32:00+00:00")
    assert shown["removals"] == [
        {
            "kind": "container",
            "id": "etletletl",
            "name": "etl",
            "size_bytes": 5,
            "filesystem": "/",
            "policy": "containers",
            "reason": "exited 1 (error) 9 days ago",
        }
    ]
    assert shown["kept"] == [
        {"kind": "container", "id": container("web").id, "name": "web", "reason": "in use: running"}
    ]
    assert shown["totals"] == {"removals": 1, "size_bytes": 5}


@pytest.mark.parametrize(("sizes", "total"), [([], 0), ([None], None), ([None, 3, 4], 7)])
def test_a_total_of_sizes_that_nobody_knows_is_not_zero(sizes: list[int | None], total: int | None) -> None:
    removals = [removal(f"c{n}", size) for n, size in enumerate(sizes)]
    assert to_json(plan(*removals))["totals"]["size_bytes"] == total


names = st.text(max_size=20)
removals = st.builds(
    removal, names, st.none() | st.integers(0, 10**15), st.sampled_from(sorted(KINDS)), reason=names, filesystem=names
)


@given(st.lists(removals | st.builds(kept, names, names)))
def test_a_plan_survives_the_way_to_another_program(verdicts: list[Removal | Kept]) -> None:
    frozen = plan(*verdicts)
    assert from_json(json.loads(json.dumps(to_json(frozen)))) == frozen


@given(st.lists(removals | st.builds(kept, names, names)))
def test_every_removal_is_one_printable_line(verdicts: list[Removal | Kept]) -> None:
    frozen = plan(*verdicts)
    lines = plan_lines(frozen, explain=True)
    assert all(line.isprintable() for line in lines)
    table = [line for line in lines if line.startswith("    ")]
    assert len(table) == len(verdicts)


def test_an_answer_that_is_no_plan_is_said_to_be_none() -> None:
    with pytest.raises(ShipkeeperError, match="not a plan"):
        from_json({"error": "no such verb"})


def test_a_plan_that_was_changed_on_the_way_is_refused() -> None:
    changed = to_json(plan(removal("a")))
    changed["removals"][0]["id"] = "another"
    with pytest.raises(ShipkeeperError, match="does not match its hash"):
        from_json(changed)


def test_the_summary_counts_kinds_and_promises_no_more_than_is_known() -> None:
    assert summary(plan()) == "nothing to remove"
    assert summary(plan(removal("a"))) == "would remove 1 container, 1.0 MiB"
    assert summary(plan(removal("a"), removal("b", None))) == "would remove 2 containers, 1.0 MiB (1 not measured)"
    assert summary(plan(removal("a", None))) == "would remove 1 container, size unknown"
    assert summary(plan(removal("a"), removal("i", GIB, kind="image"))) == (
        "would remove 1 container and 1 image, at least 1.0 GiB"
    )


def test_the_terminal_shows_the_plan_as_a_page() -> None:
    frozen = plan(
        removal("etl-run-88", 12 * 1024),
        removal("a", None),
        removal("3f2a9c01b77d", 2 * GIB, kind="image", reason="no tag, unused for 2 days"),
        kept("web", "in use: running"),
        kept("db", "in use: running"),
        kept("ci", "too recent: exited 0 (clean exit) 2 h ago, kept for 3 days"),
    )
    heading, *page = plan_lines(frozen)
    assert heading == (
        f"Plan {frozen.plan_id} · observe · 2026-11-23 16:02 UTC · expires 16:32"
        " · at least 2.0 GiB (1 not measured) on /"
    )
    assert page == [
        "",
        "  containers   12.0 KiB (1 not measured)   2 of 5",
        "    etl-run-88       12.0 KiB   exited 1 (error) 9 days ago",
        "    a            size unknown   exited 1 (error) 9 days ago",
        "",
        "  images       at least 2.0 GiB   1 of 1",
        "    3f2a9c01b77d   2.0 GiB   no tag, unused for 2 days",
        "",
        "  kept         in use 2 · too recent 1        --explain shows each",
        "",
        "  Nothing is removed in observe mode.",
    ]


def test_what_holds_up_a_part_of_a_plan_stands_below_it() -> None:
    noted = make_plan([removal("a")], "enforce", NOW, ["policy containers is halted: it would remove 6 of 10"])
    assert plan_lines(noted)[-3:] == [
        "  policy containers is halted: it would remove 6 of 10",
        "",
        f"  Shipkeeper removes this by itself; at once: shipkeeper apply {noted.plan_id}",
    ]
    assert from_json(to_json(noted)) == noted


def test_explain_shows_each_thing_that_stays_and_why() -> None:
    lines = plan_lines(
        plan(kept("web", "in use: running"), kept("db", "protected: label shipkeeper.protect")), explain=True
    )
    assert lines[0].endswith("· nothing to remove")
    assert lines[4:7] == [
        "  kept         in use 1 · protected 1",
        "    web   container   in use: running",
        "    db    container   protected: label shipkeeper.protect",
    ]


def test_a_name_that_could_play_tricks_on_the_terminal_is_shown_escaped() -> None:
    assert any(r"evil\x1b[2J" in line for line in plan_lines(plan(removal("evil\x1b[2J"))))


def test_a_host_without_anything_is_a_plan_too() -> None:
    assert plan_lines(plan(mode="approve"))[1:] == ["", "  kept         nothing"]
