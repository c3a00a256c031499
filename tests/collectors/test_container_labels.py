from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collectors.cadvisor import Machine
from collectors.container_labels import MOST_CHARACTERS, Blocks, owner_labels
from collectors.containers import ContainerCollector, View
from collectors.families import Family, render
from tests.fakes.cgroup_tree import V1, V2, CgroupTree, a_container

if TYPE_CHECKING:
    import pytest

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # JSON from the engine holds no lone surrogates
NAMES = st.text(min_size=1, max_size=20)


def parsed(block: str) -> dict[str, str]:
    """Give the labels of a block as Prometheus' own parser reads them."""
    page = render([Family("one", "gauge", "One.", [(block, 1)])]).decode()
    [family] = text_string_to_metric_families(page)
    [sample] = family.samples
    return dict(sample.labels)


def test_only_allowed_labels_are_shown_under_names_that_prometheus_takes() -> None:
    labels = {"com.example/team": "store", "secret": "hunter2"}
    assert owner_labels(labels, ["com.example/team", "absent"], "label_") == {"label_com_example_team": "store"}


def test_of_two_labels_with_one_name_the_first_in_the_list_counts() -> None:
    labels = {"a.b": "dot", "a-b": "dash", "a_b": ""}
    assert owner_labels(labels, ["a_b", "a-b", "a.b"], "label_") == {"label_a_b": "dash"}
    assert owner_labels(labels, ["a.b", "a-b"], "label_") == {"label_a_b": "dot"}


def test_a_value_of_two_kilobytes_is_cut() -> None:
    shown = owner_labels({"a": "x" * 2048}, ["a"], "")["a"]
    assert len(shown) == MOST_CHARACTERS
    assert shown.endswith("x…")
    assert owner_labels({"a": "x" * MOST_CHARACTERS}, ["a"], "")["a"] == "x" * MOST_CHARACTERS
    named = Blocks(a_container(labels={"com.docker.compose.project": "x" * 2048}), ())
    assert [len(parsed(block)["compose_project"]) for block in (named.info, named.lasting)] == [MOST_CHARACTERS] * 2


def test_what_shipkeeper_is_to_expect_is_shown_if_it_makes_sense() -> None:
    for told, shown in (("batch", "batch"), ("running", "running"), ("nonsense", "")):
        info = Blocks(a_container(labels={"shipkeeper.expect": told}), ()).info
        assert parsed(info)["expect"] == shown


@given(name=TEXT, image=TEXT, value=TEXT, label=NAMES)
def test_every_text_survives_the_way_through_prometheus_own_parser(
    name: str, image: str, value: str, label: str
) -> None:
    container = a_container(name=name, image=image, labels={label: value, "com.docker.compose.service": value})
    blocks = Blocks(container, (label,))
    assert parsed(blocks.identity)["name"] == name
    assert parsed(blocks.lasting)["compose_service"] == (value if len(value) <= MOST_CHARACTERS else value[:255] + "…")
    cadvisor = parsed(blocks.cadvisor(f"docker/{container.id}"))
    assert (cadvisor["name"], cadvisor["image"]) == (name, image)
    if 0 < len(value) <= MOST_CHARACTERS:
        [shown] = [text for key, text in cadvisor.items() if key.startswith("container_label_")]
        assert shown == value
    assert parsed(blocks.extended(blocks.identity, "device", value))["device"] == value


@given(data=st.data(), version=st.sampled_from(["v1", "v2"]))
def test_any_counter_file_gives_a_valid_document(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, version: str
) -> None:
    tree, web = CgroupTree(tmp_path_factory.mktemp("any")), a_container()
    fixtures = V2 if version == "v2" else V1
    name = data.draw(st.sampled_from(sorted(fixtures)))
    lines = fixtures[name].splitlines()
    number = st.integers(0, 2**64 - 1).map(str)
    garbled = st.lists(st.sampled_from(lines) | TEXT | number, max_size=8).map("\n".join)
    if version == "v2":
        path = tree.add_v2(f"docker/{web.id}") / name
    else:
        controller, file = name.split("/")
        path = tree.add_v1(f"docker/{web.id}") / controller / "docker" / web.id / file
    path.write_text(data.draw(garbled | number))
    tree.add_process(web.pid)
    (tree.proc / str(web.pid) / "net" / "dev").write_text(data.draw(garbled) + " eth0:" + " 7" * 16 + "\n")
    marks = tree.reader.marks(web)
    view = View(containers=(web,), cadvisor=True, marks={web.id: marks} if marks else {}, machine=Machine(cpus=2))
    page = render(ContainerCollector(tree.reader, lambda: view).collect()).decode()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    keys = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(keys) == len(set(keys))
    assert all(sample.value >= 0 or sample.name == "container_health_state" for sample in samples)
