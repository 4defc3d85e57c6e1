"""Inputs and outputs: found, checked against each other, and planned, before any work begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..errors import ConfigError
from ..version import __version__
from . import names
from .csvrows import csv_layout
from .parquet import parquet_layout
from .plan import VERSION, Input, Plan, Settings, Split
from .reading import DamagedError, open_input
from .splits import cuts

STDOUT = Path("-")


class Request(msgspec.Struct, frozen=True):
    """What is wanted: these files, labelled, there. `output` is a file for one input (or STDOUT), else a directory."""

    files: tuple[Path, ...]
    output: Path
    settings: Settings
    overwrite: bool = False
    resume: bool = False
    jobs: int = 1
    passes: int = 0  # 0: as many as pay

    @property
    def to_directory(self) -> bool:
        return len(self.files) > 1 or self.output.is_dir()


def find_inputs(request: Request) -> list[Input]:
    """The inputs, each with its output.

    Raises:
        InputError: one is not there or not a file.
        ConfigError: two would have the same output, or an output is an input.
    """
    found = [_input(path, _output(path, request), request) for path in request.files]
    outputs: dict[str, str] = {}
    for each in found:
        if each.output in outputs:
            raise ConfigError(f"{outputs[each.output]} and {each.path} would both be written to {each.output}")
        outputs[each.output] = each.path
    taken = {os.path.realpath(each.path): each.path for each in found}
    for each in found:
        if each.output != str(STDOUT) and os.path.realpath(each.output) in taken:
            raise ConfigError(f"{each.output} is an input as well; choose another output")
    return found


def _output(path: Path, request: Request) -> Path:
    return request.output / path.name if request.to_directory else request.output


def _input(path: Path, output: Path, request: Request) -> Input:
    with open_input(path) as file:
        about = os.fstat(file.fileno())
    kind = request.settings.kind or names.kind(path) or names.TEXT
    wanted, named = names.kind_out(kind), names.kind(output)
    if named not in {None, wanted} and not (request.to_directory and request.settings.kind):
        raise ConfigError(f"{path} is {kind}, so {wanted} comes out of it, and not what {output.name} says")
    return Input(
        str(path),
        str(output),
        kind,
        names.compression(path),
        names.compression(output),
        about.st_size,
        about.st_mtime_ns,
    )


def refuse_existing(inputs: Sequence[Input], overwrite: bool) -> None:
    """Raises ConfigError where an output is there already and must not be replaced."""
    for each in inputs:
        output = Path(each.output)
        if output.is_dir():
            raise ConfigError(f"{output} is a directory")
        if output.exists() and not overwrite:
            raise ConfigError(f"{output} is there already; --overwrite replaces it")


def make_plan(inputs: Sequence[Input], settings: Settings, engine: str) -> tuple[Plan, dict[int, str]]:
    """The plan, and by number the inputs that have to be left out, with the reason.

    Raises:
        ConfigError: the columns of a table are not clear.
    """
    planned: list[Input] = []
    splits: list[Split] = []
    left_out: dict[int, str] = {}
    for number, each in enumerate(inputs):
        planned.append(each)
        try:
            planned[-1] = msgspec.structs.replace(each, layout=_layout(each, settings))
            ends = cuts(planned[-1], settings)
        except DamagedError as error:
            left_out[number] = str(error)
            continue
        splits += [Split(number, index, start, end) for index, (start, end) in enumerate(ends)]
    return Plan(VERSION, __version__, engine, settings, tuple(planned), tuple(splits)), left_out


def _layout(each: Input, settings: Settings) -> object:
    if each.is_csv:
        return csv_layout(each, settings)
    return parquet_layout(each, settings) if each.is_parquet else None


def same_work(saved: Plan, inputs: Sequence[Input], settings: Settings, engine: str) -> None:
    """Whether a plan that was begun is what is asked for now.

    Raises:
        ConfigError: it is not, and why.
    """
    again = "begin again without --resume"
    if saved.program != __version__:
        raise ConfigError(f"that work was begun by logclf {saved.program}, this is {__version__}; {again}")
    bare = [msgspec.structs.replace(each, layout=None) for each in saved.inputs]
    if [each.path for each in bare] != [each.path for each in inputs]:
        raise ConfigError(f"that work was begun on other inputs; {again}")
    for before, now in zip(bare, inputs, strict=True):
        if (before.size, before.mtime_ns) != (now.size, now.mtime_ns):
            raise ConfigError(f"{now.path} has changed since that work was begun; {again}")
    if saved.settings != settings or bare != list(inputs):
        changed = [
            name for name in Settings.__struct_fields__ if getattr(saved.settings, name) != getattr(settings, name)
        ]
        raise ConfigError(f"that work was begun with other options ({', '.join(changed) or 'outputs'}); {again}")
    if saved.engine != engine:
        raise ConfigError(f"rules, model, taxonomy or routes have changed since that work was begun; {again}")
