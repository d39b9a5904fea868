"""What a service that is added at run time may bring: the name of a target and parameters, and no command.

Commands come from rule files alone. A parameter that becomes a program, or a file that a program takes commands from, is
a command too: only a value that a service of the rule files gives as well is accepted for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from remediator.model.action import ActionSpec
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service, Target, TargetRef

_RESERVED = {
    "ansible": {"inventory", "playbook"},
    "compose": {"command", "file"},
    "docker": {"command"},
    "haproxy": {"socket"},
    "nomad": {"address", "ca_cert", "client_cert", "client_key", "token_file"},
    "runit": {"dir"},
    "supervisor": {"config", "server"},
}
"""Parameters of shipped targets that name programs, files with commands in them, or where credentials are sent."""

_COMMAND = (
    r"(?:^|[;&|(`\n]|\$\(|\s-[ce]\s|"
    r"\b(?:command|do|else|env|eval|exec|if|nice|nohup|source|sudo|then|time|xargs)\s)\s*[\"']?"
)
"""Where a shell expects the name of a program, or text to run."""
_RUNS_ITS_ARGUMENTS = re.compile(
    r"(?:.*/)?(?:(?:ba|da|z|k|a|c|tc|fi)?sh|env|sudo|doas|su|runuser|setpriv|chroot|unshare|nsenter|timeout|nice|ionice|chrt"
    r"|taskset|nohup|setsid|stdbuf|time|watch|flock|xargs|parallel|find|script|strace|ssh|make|systemd-run|busybox|tclsh|php"
    r"|python[\d.]*|perl|ruby|node|lua[\d.]*|awk|gawk|mawk|sed|expect|at|batch|source|exec|command|eval|\.)"
)
"""Programs that run what their arguments name, or the files that these name."""
_AFTER_SUCH = re.compile(rf"(?:^|[;&|(`\n]|\$\(|\s)(?:{_RUNS_ITS_ARGUMENTS.pattern})\s[^;&|\n]*")
"""In a shell's text, from such a program to the end of its command."""
_CHANGED_DIRECTORY = re.compile(r"(?:^|[;&|(`\n]|\s)(?:cd|pushd)\s[^;&|\n]*")
_STEERS = re.compile(
    r"(?:LD_|DYLD_|PYTHON|PERL|RUBY|NODE_|LUA_|JAVA_|JDK_|_JAVA|GIT_|SSH_|BASH|ANSIBLE_|KUBE|DOCKER_|COMPOSE_|HELM_|NOMAD_).*"
    r"|PATH|ENV|IFS|SHELL|EDITOR|VISUAL|PAGER|HOME|TMPDIR|.*_COMMAND"
)
"""Variables of the environment that name programs, libraries or configuration to programs."""
_INTERPRETED = frozenset({"-c", "-e", "--eval", "--command", "-Command", "eval"})
"""Arguments after which a program expects text to run."""
_PROGRAM_TEMPLATE = re.compile(_COMMAND + r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_PROGRAM_VARIABLE = re.compile(_COMMAND + r"\$\{?(\w+)")
_HOST = re.compile(r"(?:[^:/]*://)?(?:\{\{.*?\}\}|[^/])*", re.DOTALL)
"""The part of a URL that says where a request goes."""
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_WORD = re.compile(r"\b[A-Za-z_]\w*")


def refused_parts(service: Service, files: Rulebook) -> Iterator[tuple[str, str]]:
    """Each key of the service's target that no service added at run time may have, and why. `files` are the rules of
    the rule files alone."""
    ref = service.target
    if ref is None:
        return
    for name in ref.actions:
        yield name, "it is a command of its own: commands come from rule files alone"
    target = files.targets.get(ref.name)
    for name, value in ref.params.items():
        if target is not None and name in _reserved(target) and value not in _given(name, ref, files.services):
            yield (
                name,
                f"the parameter {name} of target {ref.name} says what is run, and no service of the rule files gives it this value",
            )


def refusal(service: Service, files: Rulebook) -> str:
    """Why a stored service is not used; empty when it is."""
    parts = list(refused_parts(service, files))
    if not parts:
        return ""
    key, reason = parts[0]
    return (
        f"cannot use the service {service.name}, which was added at run time: its target has {key}, and {reason}."
        " Write the service in a rule file, and remove this one"
    )


def _given(name: str, ref: TargetRef, services: Iterable[Service]) -> set[str]:
    """The values that services of the rule files give a parameter of the same target."""
    refs = (service.target for service in services if service.target is not None and service.target.name == ref.name)
    return {other.params[name] for other in refs if name in other.params}


def _reserved(target: Target) -> set[str]:
    """The parameters of a target that become a program, and those they are made of."""
    found = set(_RESERVED.get(target.name, ()))
    for spec in target.actions.values():
        found |= _program_words(spec)
    waiting = list(found)
    while waiting:
        default = target.defaults.get(waiting.pop())
        new = _names(default or "") - found
        found |= new
        waiting += new
    return found & target.defaults.keys()


def _program_words(spec: ActionSpec) -> set[str]:
    words: set[str] = set()
    if spec.run:
        words |= _names(spec.run[0])
        for flag, text in pairwise(spec.run):
            if flag in _INTERPRETED or re.fullmatch(r"-\w*[ce]", flag):
                words |= _names(text)
        if any(_RUNS_ITS_ARGUMENTS.fullmatch(word) for word in spec.run):
            words |= {name for word in spec.run for name in _names(word)}
    for variable, text in spec.env.items():
        if _STEERS.fullmatch(variable):
            words |= _names(text)
    if spec.http is not None:
        words |= _names(_HOST.match(spec.http.url)[0])  # type: ignore[index]
    if spec.shell:
        for pattern in (_AFTER_SUCH, _CHANGED_DIRECTORY):
            for command in pattern.finditer(spec.shell):
                words |= _names(command[0])
        for found in _PROGRAM_TEMPLATE.finditer(spec.shell):
            words |= set(_WORD.findall(found[1]))
        for found in _PROGRAM_VARIABLE.finditer(spec.shell):
            words |= _names(spec.env.get(found[1], ""))
    return words


def _names(template: str) -> set[str]:
    """The words in the expressions of a template."""
    return {word for found in _EXPRESSION.finditer(template) for word in _WORD.findall(found[1] or found[2])}
