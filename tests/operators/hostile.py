"""A Manager whose every word is hostile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mrs.simulator.faults import Patched

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator

SECRET = "another-system-s-password"

HOSTILE = (
    "{{ conn.warehouse.password }} {% set x = 1 %}<script>alert(1)</script> [x](http://evil.example)\r\n"
    "FORGED - all is well\n\x1b]0;title\x07\x1b[31m\u202e\u2066 pro\u200bd\ufeff \ud800\x00\x9b"
)


@dataclass(frozen=True)
class HostileWords(Patched):
    """All texts in answers that no decision needs, and the states of services once there is a reason."""

    kind = "hostile_words"
    states_too: Callable[[], bool] = field(default=lambda: False)

    def _change(self, envelope: dict[str, Any]) -> dict[str, Any]:
        envelope["error_description"] = HOSTILE
        result = envelope.get("res_obj") or {}
        for entry in result.get("key_property", ()):
            if entry["type"] != "STATUS":
                entry |= {"name": HOSTILE, "value": HOSTILE}
            elif self.states_too():
                entry["value"] = HOSTILE
        for step in result.get("step_list", ()):
            step |= {"name": HOSTILE, "description": HOSTILE}
        for entity in result.get("fail_entity_list", ()):
            entity |= {"fail_entity": HOSTILE, "operation_type": HOSTILE}
        for cluster in result.get("clusters", ()):
            cluster |= {"name": HOSTILE, "version": HOSTILE, "description": HOSTILE}
        return envelope


def speak_hostile_words(manager: Simulator, *, at_the_end: bool = True) -> None:
    """Let every word be hostile; those for states at the end, since no window opens or closes by such a one."""
    commands = manager.cluster
    after = lambda: at_the_end and any(command.action == "start" for command in commands.commands)  # noqa: E731
    manager.faults.set("any", HostileWords(after))


def require_clean(found: object) -> None:
    """Require that texts, at any depth, hold nothing that a line of a log or a row of a table must not."""
    if isinstance(found, dict):
        found = [*found, *found.values()]
    if isinstance(found, list | tuple):
        for entry in found:
            require_clean(entry)
    elif isinstance(found, str):
        dirty = {letter for letter in found if not (letter.isprintable() or letter.isspace())}
        assert dirty == set(), found
        assert not any(line.startswith("FORGED") for line in found.splitlines()), found
        assert SECRET not in found
