"""A space of the user's own: its choices are declared in the spec, its network is a class in the trial image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from archsearch.api.algorithm import SettingName, SettingValue
from archsearch.api.base import Model, ModuleName, Rule

# Short, because an architecture travels in a container's last message.
ChoiceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*(/[A-Za-z0-9_]+)*$", max_length=24)]
Option = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8}|[A-Za-z][A-Za-z0-9_]*)$", max_length=20)]
Settings = Annotated[dict[SettingName, SettingValue], Field(max_length=32)]


class CustomCondition(Model):
    """That an earlier choice has a value."""

    choice: ChoiceName
    """The earlier choice."""
    option: Option
    """One of its options."""


class CustomChoice(Model):
    """One decision of an architecture."""

    name: ChoiceName
    """As the network asks for it, such as `stage/1/kernel`."""
    options: Annotated[tuple[Option, ...], Field(min_length=1, max_length=12)]
    """What can be chosen. Where all are whole numbers the network asks for a number, otherwise for an operation."""
    when: Annotated[tuple[CustomCondition, ...], Field(max_length=4)] = ()
    """To be made only where one of these holds; always, where there is none."""

    rules = (
        Rule(expression="self.options.all(o, self.options.exists_one(p, p == o))",
             message="options must be different from each other", field_path=".options"),
    )  # fmt: skip
    checks = (
        lambda self: None if len(set(self.options)) == len(self.options) else
        f"options must be different from each other, but got {', '.join(self.options)}",
    )  # fmt: skip


class CustomSpace(Model):
    """A space of the user's own. The network is a class in the trial image, which is derived from the one given here;
    a preflight checks that it asks for exactly these choices."""

    module: ModuleName
    """The class, `package.module:Name`: a `torch.nn.Module` that is made with a chooser and the settings
    (`archsearch.networks.custom`)."""
    choices: Annotated[tuple[CustomChoice, ...], Field(min_length=1, max_length=32)]
    """What is searched, each choice after those that it depends on."""
    mixable: bool = False
    """Whether the network can run all options at once, weighted, as a differentiable search does. One that asks for
    operations only can."""
    search: Settings = Field(default={})
    """What the class is made with while searching, and for the supernet."""
    final: Settings = Field(default={})
    """What it is made with to be profiled, retrained and exported."""

    rules = (
        Rule(expression="self.choices.all(c, self.choices.exists_one(d, d.name == c.name))",
             message="choices must have different names", field_path=".choices"),
        # That it comes before, and has the option, is checked in Python only: CEL has no position of an item within a
        # list of objects, and looking through all options of all choices costs more than an API server allows.
        Rule(expression="self.choices.all(c, c.when.all(w, self.choices.exists(d, d.name == w.choice && "
             "d.name != c.name)))",
             message="choices must depend on options of choices before them only", field_path=".choices"),
    )  # fmt: skip
    checks = (lambda self: _same_names(self.choices), lambda self: _wrong_conditions(self.choices))


def _same_names(choices: tuple[CustomChoice, ...]) -> str | None:
    names = [choice.name for choice in choices]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"choices must have different names, but got {', '.join(twice)} twice" if twice else None


def _wrong_conditions(choices: tuple[CustomChoice, ...]) -> str | None:
    before: dict[str, tuple[str, ...]] = {}
    wrong = []
    for choice in choices:
        wrong += [
            f"{condition.choice} = {condition.option} for {choice.name}"
            for condition in choice.when
            if condition.option not in before.get(condition.choice, ())
        ]
        before[choice.name] = choice.options
    return f"choices must depend on options of choices before them only, but got {', '.join(wrong)}" if wrong else None
