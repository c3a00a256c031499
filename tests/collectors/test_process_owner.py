"""Which container a process is in, by the forms of cgroup paths that engines make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.process_owner import ProcessOwners, named_containers, owner
from tests.fakes.gpus import in_container, write_process, write_processes

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = "a1" * 32, "b2" * 32
V1 = "12:pids:/docker/{0}\n11:memory:/docker/{0}\n10:cpu,cpuacct:/docker/{0}\n1:name=systemd:/docker/{0}\n0::/\n"
ids = st.text("0123456789abcdef", min_size=64, max_size=64)
parents = st.sampled_from(
    ["", "/docker", "/system.slice", "/user.slice/user-1000.slice", "/..", "/../..", "/a-b.slice"]
)
scopes = st.sampled_from(["/{}", "/docker-{}.scope", "/libpod-{}.scope", "/cri-containerd-{}.scope"])
below = st.sampled_from(["", "/init.scope", "/system.slice/cron.service"])


@pytest.mark.parametrize(
    "text",
    [
        "0::/docker/{0}\n",
        "0::/system.slice/docker-{0}.scope\n",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{0}.scope\n",
        "0::/batch/{0}\n",
        "0::/system.slice/docker-{0}.scope/init.scope\n",
        "0::/../docker-{0}.scope\n",
        "0::/../../system.slice/docker-{0}.scope\n",
        "0::/docker/{0} (deleted)\n",
        "0::/machine.slice/libpod-{0}.scope\n",
        "0::/system.slice/cri-containerd-{0}.scope\n",
        "0::/kubepods/burstable/pod-1/{0}\n",
        V1,
    ],
)
def test_every_form_of_a_path_names_its_container(text: str) -> None:
    assert named_containers(text.format(ONE)) == (ONE,)


def test_of_a_container_in_a_container_the_outer_one_comes_first() -> None:
    assert named_containers(f"0::/docker/{ONE}/docker/{TWO}\n") == (ONE, TWO)
    assert owner((ONE, TWO), {ONE, TWO}) == ONE
    assert owner((ONE, TWO), {TWO}) == TWO


def test_the_memory_controllers_line_is_believed_before_any_other() -> None:
    moved = f"3:cpu:/docker/{TWO}\n2:memory:/docker/{ONE}\n0::/\n"
    assert named_containers(moved) == (ONE,)


@pytest.mark.parametrize(
    "text",
    [
        "0::/\n",
        "0::/system.slice/ssh.service\n",
        f"0::/system.slice/var-lib-docker-containers-{ONE}-shm.mount\n",
        f"0::/docker/{ONE[:63]}\n",
        f"0::/docker/{ONE}0\n",
        f"0::/docker/{ONE.upper()}\n",
        "",
        "nonsense",
    ],
)
def test_a_process_of_the_host_is_in_none(text: str) -> None:
    assert named_containers(text) == ()


@given(text=st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(len(id_) == 64 for id_ in named_containers(text))


@given(path=st.lists(st.tuples(parents, scopes, ids), min_size=1, max_size=3), rest=below)
def test_ids_are_found_in_their_order_wherever_they_stand(path: list[tuple[str, str, str]], rest: str) -> None:
    text = "".join(parent + scope.format(id_) for parent, scope, id_ in path)
    wanted = tuple(dict.fromkeys(id_ for _, _, id_ in path))
    assert named_containers(f"0::{text}{rest}\n") == wanted
    assert named_containers(f"4:memory:{text}{rest}\n3:cpu,cpuacct:/\n0::/\n") == wanted


@given(named=st.lists(ids, max_size=4), known=st.sets(ids, max_size=4))
def test_only_a_container_that_the_engine_knows_owns_a_process(named: list[str], known: set[str]) -> None:
    found = owner(tuple(named), known)
    assert found == "" if not known & set(named) else found in known


def test_processes_are_read_and_those_that_are_gone_are_left_out(tmp_path: Path) -> None:
    write_processes(tmp_path, {10: in_container([ONE]), 11: "0::/user.slice\n"})
    assert ProcessOwners(tmp_path).read([10, 11, 12]) == {10: (ONE,), 11: ()}


def test_a_pid_that_comes_again_is_another_process(tmp_path: Path) -> None:
    write_processes(tmp_path, {10: in_container([ONE])})
    owners = ProcessOwners(tmp_path)
    assert owners.read([10]) == {10: (ONE,)}
    write_process(tmp_path, 10, in_container([TWO]), started=1001)
    assert owners.read([10]) == {10: (TWO,)}


def test_a_process_is_read_once_but_one_of_the_host_each_time(tmp_path: Path) -> None:
    write_processes(tmp_path, {10: in_container([ONE]), 11: "0::/\n"})
    owners = ProcessOwners(tmp_path)
    owners.read([10, 11])
    write_process(tmp_path, 10, "0::/\n")
    write_process(tmp_path, 11, in_container([TWO]))
    assert owners.read([10, 11]) == {10: (ONE,), 11: (TWO,)}


@pytest.mark.parametrize(("namespace", "ours"), [("pid:[4026531836]", True), ("pid:[4026532999]", False)])
def test_pids_are_matched_only_in_the_machines_own_namespace(tmp_path: Path, namespace: str, *, ours: bool) -> None:
    write_processes(tmp_path, {}, namespace=namespace)
    assert ProcessOwners(tmp_path).attributable() is ours


def test_where_the_processes_of_others_are_hidden_none_is_taken_for_gone(tmp_path: Path) -> None:
    write_processes(tmp_path, {})
    (tmp_path / "1" / "cgroup").unlink()
    assert not ProcessOwners(tmp_path).attributable()


def test_without_a_proc_nothing_is_matched(tmp_path: Path) -> None:
    assert not ProcessOwners(tmp_path / "none").attributable()
