from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.facts import Facts, Protection
from policies.networks import UnusedNetworks
from tests.policies.build import DAY, HOUR, MINUTE, compose, container, exited, facts, kept, network, removed

POLICY = UnusedNetworks()


def test_a_network_that_nothing_has_referred_to_for_a_week_goes() -> None:
    world = facts(networks=[network("shop")])
    assert removed(POLICY, world) == {"shop": "no container refers to it, seen unused for 30 days"}


def test_it_is_never_older_than_we_have_watched_it() -> None:
    world = facts(networks=[network("shop", watched_for=6 * DAY)])
    assert kept(POLICY, world) == {"shop": "too recent: seen unused for 6 days, kept for 7 days"}


@pytest.mark.parametrize("name", ["bridge", "host", "none", "docker_gwbridge", "ingress"])
def test_dockers_own_networks_never_go(name: str) -> None:
    assert kept(POLICY, facts(networks=[network(name)])) == {name: "protected: Docker's own network"}


@pytest.mark.parametrize("change", [{"scope": "swarm"}, {"scope": "global"}, {"scope": ""}, {"ingress": True}])
def test_a_network_that_other_hosts_may_use_never_goes(change: dict[str, object]) -> None:
    assert kept(POLICY, facts(networks=[network("mesh", **change)]))["mesh"].startswith("protected: ")


def test_a_network_that_holds_the_settings_of_others_stays() -> None:
    assert "settings" in kept(POLICY, facts(networks=[network("config", config_only=True)]))["config"]


def test_what_is_connected_by_now_stays() -> None:
    assert kept(POLICY, facts(networks=[network(endpoints=1)])) == {"shop": "in use: 1 endpoint connected"}


@pytest.mark.parametrize("state", ["running", "exited", "created"])
def test_a_network_that_a_stopped_container_is_to_join_stays(state: str) -> None:
    user = {"running": container("web"), "exited": exited("web", ago=300 * DAY)}.get(
        state, container("web", state="created")
    )
    for named in ("shop", network("shop").id):
        world = facts(networks=[network("shop")], containers=[container("web", state=user.state, networks=(named,))])
        assert kept(POLICY, world) == {"shop": "in use: container web"}


def test_the_network_of_a_compose_project_stays_while_the_project_has_any_container() -> None:
    of_project = network("shop_default", labels=compose("shop", "web"))
    stopped = exited("shop-job-1", ago=30 * DAY, labels=compose("shop", "job"))
    assert removed(POLICY, facts(networks=[of_project], containers=[stopped])) == {}
    assert list(removed(POLICY, facts(networks=[of_project]))) == ["shop_default"]


def test_a_label_and_the_configuration_protect_a_network() -> None:
    labelled = network("a", labels={"shipkeeper.protect": "true"})
    world = facts(networks=[labelled, network("b"), network("c")], protection=Protection(networks=("b",)))
    assert list(removed(POLICY, world)) == ["c"]


def test_a_limit_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="unused_for must be longer than zero"):
        UnusedNetworks(unused_for=timedelta(0))


def test_no_network_is_passed_over() -> None:
    world: Facts = facts(networks=[network("a"), network("host"), network("b", watched_for=MINUTE), network("c")])
    answers = [each.object.name for each in UnusedNetworks(unused_for=HOUR).decide(world)]
    assert answers == ["a", "host", "b", "c"]
