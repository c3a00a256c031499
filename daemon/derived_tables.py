"""The tables of the configuration that follow from the code: one for each policy, one for each alert."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, GetPydanticSchema, create_model, model_validator

from daemon.values import Duration, Globs, Rules, Schedule, Section, Size
from policies import selection
from policies.bounds import PLAIN, Bounds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Self

    from policies.catalogue import AlertRule
    from policies.policy import Policy


class PolicySettings(Section):
    """`[policies.<name>]`: what every policy has, around the knobs that are its own."""

    policy: ClassVar[type[Policy]]
    enabled: bool = True

    def build(self) -> Policy:
        """Give the policy with these knobs; ValueError in its own words when they do not fit together."""
        return self.policy(**{name: getattr(self, name) for name in _defaults(self.policy)})

    @model_validator(mode="after")
    def _fit(self) -> Self:
        self.build()
        return self


class BoundedSettings(PolicySettings):
    """`[policies.<name>]` of a policy that removes: what bounds it, around the knobs that are its own."""

    mode: Literal["", "observe", "approve", "enforce"] = ""
    max_removals: Annotated[int, Field(ge=0)] = PLAIN.max_removals
    max_bytes: Size = PLAIN.max_bytes
    include: Rules = ()
    exclude: Rules = ()

    def bounds(self) -> Bounds:
        """Give what bounds the policy."""
        return Bounds(
            mode=self.mode,
            max_removals=self.max_removals,
            max_bytes=self.max_bytes,
            include=tuple(map(selection.parse, self.include)),
            exclude=tuple(map(selection.parse, self.exclude)),
        )


class CleanupSettings(BoundedSettings):
    """The same of a policy that removes whatever is old: when, and how many are too many."""

    schedule: Schedule = PLAIN.schedule
    abort_over_percent: Annotated[float, Field(gt=0, le=100)] = PLAIN.abort_over_percent

    def bounds(self) -> Bounds:
        """Give what bounds the policy."""
        return replace(super().bounds(), schedule=self.schedule, abort_over_percent=self.abort_over_percent)


class ReliefSettings(BoundedSettings):
    """The same of the policy that removes what a full disk needs: its target bounds it."""

    max_bytes: Size = 200 << 30

    def bounds(self) -> Bounds:
        """Give what bounds the policy."""
        return replace(super().bounds(), in_order=True)


class PolicyTables(Section):
    """`[policies]`: a table for each policy."""

    def by_name(self) -> Mapping[str, PolicySettings]:
        """Give each policy's settings by the name of its table, switched off or not."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class AlertSettings(Section):
    """`[alerts.rules.<alert>]`: whether it is told at all, how long it must be bad before, how long well to be over."""

    enabled: bool = True
    hold: Duration = Field(alias="for")
    clear: Duration


class AlertTables(Section):
    """`[alerts.rules]`: a table for each alert of the catalogue."""

    def by_name(self) -> Mapping[str, AlertSettings]:
        """Give each alert's settings by the alert's name, switched off or not."""
        return {str(field.alias): getattr(self, name) for name, field in type(self).model_fields.items()}


def policy_tables(
    policies: Mapping[str, type[Policy]], bases: Mapping[str, type[PolicySettings]], off: Collection[str]
) -> type[PolicyTables]:
    """
    Make the model of `[policies]`: the fields of each policy become keys, their defaults the defaults.

    What has bounds as well has one of `bases`; those `off` are switched off unless somebody switches them on.
    """
    tables: dict[str, Any] = {}
    for name, policy in policies.items():
        knobs: dict[str, Any] = {knob: _key(knob, default) for knob, default in _defaults(policy).items()}
        knobs["policy"] = (ClassVar[type], policy)
        if name in off:
            knobs["enabled"] = (bool, False)
        table = create_model(f"{policy.__name__}Settings", __base__=bases.get(name, PolicySettings), **knobs)
        tables[name] = (table, table())
    return create_model("AllPolicyTables", __base__=PolicyTables, **tables)


def alert_tables(rules: Iterable[AlertRule]) -> type[AlertTables]:
    """Make the model of `[alerts.rules]`: the catalogue's delays of each alert are its defaults."""
    tables: dict[str, Any] = {}
    for rule in rules:
        delays = {"for": rule.hold, "clear": rule.clear}
        # One model for all of them: forty more would have to be built at every start.
        table = Annotated[AlertSettings, BeforeValidator(partial(_laid_over, delays))]
        default = AlertSettings.model_validate(delays)
        tables[rule.name.replace("-", "_")] = (table, Field(default=default, alias=rule.name))
    return create_model("AllAlertTables", __base__=AlertTables, **tables)


def read_as(model: type[Section]) -> GetPydanticSchema:
    """Let a field that is declared with a base class be read as this model, made at run time."""
    return GetPydanticSchema(lambda _source, handler: handler(model))


def _laid_over(defaults: Mapping[str, object], table: object) -> object:
    """Give a table as it was written, with the defaults of what does not stand in it."""
    return {**defaults, **table} if isinstance(table, dict) else table


def _defaults(policy: type[Policy]) -> dict[str, object]:
    """Give the knobs of a policy; every one has a default, since without a file everything runs on defaults."""
    return {field.name: field.default for field in fields(cast("Any", policy)) if field.metadata.get("knob", True)}


def _key(name: str, default: object) -> tuple[Any, Any]:
    """Give type and default of a knob's key; the names say what the bare numbers are."""
    if isinstance(default, timedelta):
        return Duration, default
    if name.endswith("_bytes"):
        return Size, default
    if name.endswith("_percent"):
        return float, default
    if isinstance(default, tuple):
        return Globs, default
    return type(default), default
