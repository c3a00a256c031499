from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.kernel_ooms import LoggedOom, OomLog, machine_ooms

if TYPE_CHECKING:
    from pathlib import Path

ID = "ab" * 32
NONE = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg="
MEMCG = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg="
TAIL = "file-rss:936kB, shmem-rss:64kB, UID:0 pgtables:38108kB oom_score_adj:0"


def line(text: str, number: int = 7, head: str = "3") -> str:
    return f"{head},{number},2500000,-;{text}\n SUBSYSTEM=mem\n"


def killed(pid: int = 31, name: str = "python", why: str = "Out of memory") -> str:
    return f"{why}: Killed process {pid} ({name}) total-vm:9kB, anon-rss:1000kB, {TAIL}"


def the_oom(containers: tuple[str, ...] | None, name: str = "python") -> LoggedOom:
    return LoggedOom(number=7, at=2.5, process=name, resident_bytes=2_048_000, containers=containers)


@pytest.mark.parametrize(
    ("cgroup", "containers"),
    [
        (f"/docker/{ID}", (ID,)),
        (f"/system.slice/docker-{ID}.scope", (ID,)),
        ("/user.slice/user-1000.slice/session-2.scope", ()),
        ("/", ()),
    ],
)
def test_a_kill_of_the_machine_is_found_with_its_container(cgroup: str, containers: tuple[str, ...]) -> None:
    lines = [line(f"{NONE}{cgroup},task=python,pid=31,uid=0", head="6"), line(killed())]
    assert list(machine_ooms(lines)) == [the_oom(containers)]


@pytest.mark.parametrize("name", ["a) total-vm:1kB", "x,pid=1,uid=0", "", "b (c)", "a;b"])
def test_a_process_may_call_itself_what_it_likes(name: str) -> None:
    lines = [line(f"{NONE}/docker/{ID},task={name},pid=31,uid=0"), line(killed(name=name))]
    assert list(machine_ooms(lines)) == [the_oom((ID,), name)]


def test_a_kill_at_a_cgroups_limit_or_of_some_nodes_is_none_of_the_machines() -> None:
    of_cgroup = [line(f"{MEMCG}/docker/{ID},task=python,pid=31,uid=0"), line(killed(why="Memory cgroup out of memory"))]
    of_nodes = [line(f"{NONE}/,task=python,pid=31,uid=0".replace("_NONE", "_CPUSET")), line(killed())]
    assert list(machine_ooms([*of_cgroup, *of_nodes])) == []


def test_without_its_summary_the_container_is_not_known() -> None:
    other = line(f"{NONE}/docker/{ID},task=python,pid=30,uid=0")
    assert list(machine_ooms([line(killed())])) == list(machine_ooms([other, line(killed())])) == [the_oom(None)]
    lines = [line(f"{NONE}/docker/{ID},task=python,pid=31,uid=0"), line(killed()), line(killed())]
    assert [each.containers for each in machine_ooms(lines)] == [(ID,), None], "a summary is of one kill"


def test_a_kill_by_the_rule_to_kill_who_asks_counts() -> None:
    assert list(machine_ooms([line(killed(why="Out of memory (oom_kill_allocating_task)"))])) == [the_oom(None)]


@pytest.mark.parametrize("head", ["12", "30", "x", "", "-3"])
def test_what_others_wrote_into_the_log_is_not_believed(head: str) -> None:
    assert list(machine_ooms([line(killed(), head=head)])) == []


words = st.sampled_from(["3,7,2500000,-;", NONE, MEMCG, ",task=python,pid=31,uid=0", killed(), "\n", ID, "²", "9" * 30])


@given(st.lists(st.binary() | st.lists(words | st.text(max_size=3)).map(lambda parts: "".join(parts).encode())))
def test_any_bytes_give_nothing_or_a_well_formed_record(raw: list[bytes]) -> None:
    for each in machine_ooms(record.decode(errors="replace") for record in raw):
        assert min(each.number, each.at, each.resident_bytes) >= 0
        assert "\n" not in each.process
        assert all(len(id_) == 64 for id_ in each.containers or ())


class Machine:
    """A kernel's log and its count of kills, in files."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "kmsg"
        self.vmstat = folder / "vmstat"
        self.looker = OomLog(self.log, folder)

    def count(self, kills: int) -> None:
        """Let the kernel count so many."""
        self.vmstat.write_text(f"pgfault 5\noom_kill {kills}\n")


def test_the_log_is_read_at_first_and_when_the_kernel_counts_a_kill(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.count(0)
    machine.log.write_text(line("booting"))
    assert [machine.looker.look() for _ in range(3)] == [(), (), ()]
    machine.log.write_text(line(killed()))
    assert machine.looker.look() == (), "nothing was counted, nobody looks"
    machine.count(1)
    assert machine.looker.look() == (the_oom(None),)


def test_a_kill_that_is_counted_before_it_is_written_is_found_by_the_next_look(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.count(0)
    machine.log.write_text(line("booting"))
    for _ in range(3):
        machine.looker.look()
    machine.count(1)
    assert machine.looker.look() == ()
    machine.log.write_text(line(killed()))
    assert machine.looker.look() == (the_oom(None),)


def test_a_log_that_may_not_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.count(3)
    assert machine.looker.look() is None
