"""Tells an engine that is up from one that is stopped, crashed, hung, denied or unsupported."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from collectors.engine_errors import EngineError, EngineForbidden, EngineProtocolError, EngineUnavailable
from collectors.facts import Engine, EngineState
from daemon.engine_judge import EngineJudge, Outage

if TYPE_CHECKING:
    from collectors.engine_api import EngineApi
    from daemon.clock import Clock
    from daemon.crew import Crew
    from daemon.unit_state import UnitState

log = logging.getLogger(__name__)

Connect: TypeAlias = Callable[[], "EngineApi"]
INTERVAL: Final = timedelta(seconds=5)
EAGER: Final = timedelta(seconds=1)
"""Between pings while it is undecided whether the engine is down."""
RENEWED_EVERY: Final = timedelta(minutes=5)
"""What the engine says of itself is asked anew: a host joins a swarm without a restart."""
_AWAY: Final = frozenset({EngineState.STOPPED, EngineState.CRASHED})
_TIMED: Final = timedelta(minutes=5)
_FEWEST_TIMED: Final = 20
_CLOSING: Final = timedelta(seconds=7)


class EngineWatch:
    """
    The thread "engine": pings, and keeps `engine` and `features`.

    `connect` makes its client, whose timeout is what tells a hung engine. `wake` is called whenever the
    engine's state, or the reason for it, becomes another one.
    """

    def __init__(
        self, connect: Connect, unit_state: UnitState, clock: Clock, wake: Callable[[], None], crew: Crew
    ) -> None:
        self._connect = connect
        self._unit_state = unit_state
        self._clock = clock
        self._wake = wake
        self._judge = EngineJudge(clock.now())
        self._api: EngineApi | None = None
        self._asked = clock.monotonic()
        """When the engine was last asked what it says of itself."""
        self._reached = False
        self._outages = 0
        self._answers: deque[tuple[float, float]] = deque(maxlen=400)
        self._features: Mapping[str, str] = MappingProxyType({})
        self._up = threading.Event()
        self._nudge = threading.Event()
        self._lost = threading.Event()
        self._worker = crew.worker("engine", self._run)

    @property
    def engine(self) -> Engine:
        """The engine as last judged; read it from any thread."""
        return self._judge.engine

    @property
    def features(self) -> Mapping[str, str]:
        """What a proxy forbids us, each with the reason; read it from any thread."""
        return self._features

    @property
    def outages(self) -> int:
        """How often an engine that had answered was seen gone, stopped or crashed, however briefly."""
        return self._outages

    @property
    def answers_within(self) -> timedelta | None:
        """What nineteen of twenty pings of the last five minutes took at most; `None` while there are too few."""
        now = self._clock.monotonic()
        took = sorted(took for at, took in tuple(self._answers) if now - at <= _TIMED.total_seconds())
        return timedelta(seconds=took[len(took) * 19 // 20]) if len(took) >= _FEWEST_TIMED else None

    def wait_up(self, timeout: timedelta) -> bool:
        """Wait until the engine is up; tell whether it is."""
        return self._up.wait(timeout.total_seconds())

    def report_lost(self) -> None:
        """Say from any thread that a connection broke: the engine is looked at now, not in five seconds."""
        self._lost.set()
        self._nudge.set()

    def while_up(self, connect: Connect) -> Connect:
        """
        Give the same for other threads, by which they open no connection while the engine is not known to be up.

        A connection to a socket on which systemd listens would start an engine that somebody stopped.
        """

        def connect_while_up() -> EngineApi:
            engine = self._judge.engine
            if self._lost.is_set() or engine.state is not EngineState.UP:
                raise EngineUnavailable(engine.state, engine.why or "the engine is being looked at", engine.cure)
            return connect()

        return connect_while_up

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end; never waits."""
        self._worker.stop()
        self._nudge.set()

    def close(self) -> None:
        """End the thread: it may take as long as a ping."""
        self.stop()
        self._worker.join(_CLOSING)
        if not self._worker.alive:
            self._drop()

    def look(self) -> None:
        """Look at the engine once; the thread does this again and again."""
        before = self._judge.engine
        if self._lost.is_set():
            self._lost.clear()
            self._drop()  # what answers next may be another engine: greet it anew
        said = self._unit_state.outage() if self._api is None else None
        outage = said if said and said.hands_off else self._contact()
        if outage is not None:
            if outage.state in _AWAY and self._reached:
                self._outages += 1
                self._reached = False
            self._drop()
            self._judge.failed(said or outage, self._clock.now(), self._clock.monotonic())
        self._publish(before)

    def _run(self) -> None:
        while not self._worker.stopping.is_set():
            self._worker.beat()
            self.look()
            if self._judge.undecided:
                # No nudge shortens this: three failures are to be spread over time.
                self._worker.stopping.wait(EAGER.total_seconds())
            else:
                self._nudge.wait(INTERVAL.total_seconds())
            self._nudge.clear()

    def _contact(self) -> Outage | None:
        """Ping, or greet an engine not yet spoken to; give what went wrong."""
        try:
            if self._api is None:
                self._api = self._connect()
                self._greet(self._api)
            else:
                self._timed_ping(self._api)
                self._judge.answered()
                self._renew(self._api)
        except EngineUnavailable as error:
            return Outage(error.state, error.why, error.cure)
        except EngineProtocolError as error:
            return Outage(EngineState.UNSUPPORTED, str(error), "check that [docker] host is a Docker Engine")
        except EngineError as error:
            return Outage(EngineState.HUNG, str(error), "see the engine's log")
        return None

    def _timed_ping(self, api: EngineApi) -> None:
        begun = self._clock.monotonic()
        try:
            api.ping()
        finally:
            now = self._clock.monotonic()
            self._answers.append((now, now - begun))

    def _renew(self, api: EngineApi) -> None:
        """Ask anew what the engine says of itself; one that is slow to tell is no engine that is away."""
        if self._clock.monotonic() - self._asked < RENEWED_EVERY.total_seconds():
            return
        self._worker.beat()
        self._asked = self._clock.monotonic()
        try:
            self._judge.greeted(api.engine(self._clock.now()))
        except EngineError as error:
            log.debug("the engine does not say anew what it is: %s", error)

    def _greet(self, api: EngineApi) -> None:
        now = self._clock.now()
        features = api.forbidden_features()
        self._worker.beat()
        try:
            engine = api.engine(now)
        except EngineForbidden:  # among the features already: we go on without what only /info tells
            engine = Engine(state=EngineState.UP, since=now, version=api.version, podman=api.podman, described=False)
        for feature, why in features.items():
            if feature not in self._features:
                log.warning("%s switched off: %s", feature, why)
        self._features = MappingProxyType(features)
        self._judge.greeted(engine)
        self._asked = self._clock.monotonic()
        self._reached = True

    def _publish(self, before: Engine) -> None:
        engine = self._judge.engine
        if engine.state is EngineState.UP:
            self._up.set()
        else:
            self._up.clear()
        if (engine.state, engine.why) == (before.state, before.why):
            return
        if engine.state is EngineState.UP:
            log.info("Docker is up: %s, API %s", engine.version, engine.api_version)
        else:
            log.warning("%s; cure: %s", engine.why, engine.cure)
        self._wake()

    def _drop(self) -> None:
        if self._api is not None:
            self._api.close()
            self._api = None
