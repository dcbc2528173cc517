"""Say in the words of the command line what is wrong with it."""

from __future__ import annotations

from typing import Any

import typer

_KINDS = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def usage_message(error: typer.TyperException) -> str:
    """One line: what is wrong, and the command that helps."""
    context = getattr(error, "ctx", None)
    path = "abtest" if context is None else str(context.command_path)
    if type(error).__name__ == "NoArgsIsHelpError":
        # The help has been printed already.
        start = "Start with: abtest demo" if path == "abtest" else f"See: {path} --help"
        return f"no command given. {start}"
    text = _of_value(error) or (
        error.format_message() if hasattr(error, "format_message") else str(error)
    )
    return f"{_ended(text)} See: {path} --help"


def _of_value(error: typer.TyperException) -> str | None:
    """``--users is 'abc', expected a whole number.``; None where the reason is another."""
    cause: Any = error.__cause__
    parameter: Any = getattr(error, "param", None)
    if parameter is None or not hasattr(cause, "errors"):
        return None
    first = cause.errors()[0]
    names = [name for name in parameter.opts if name.startswith("--")] or parameter.opts
    kind, given, facts = first["type"], first.get("input"), first.get("ctx", {})
    if kind in _KINDS:
        expected = _KINDS[kind]
    elif kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        expected = f"{words} {facts[name]}"
    elif " is not one of " in first["msg"]:
        expected = first["msg"].partition(" is not one of ")[2].replace("'", "").rstrip(".")
    else:
        return None
    return f"{names[0]} is '{given}', expected {expected}."


def _ended(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
