"""
What MRS Manager tells about commands, services and clusters, as frozen, typed values.

Their texts are Manager's, each on one line, without control characters, and of 500 characters at most. They are no
templates and no markup: whoever renders them has to escape them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from airflow_mrs.manager.words import error_in_words, listed

NO_COMMAND = -1
"""The id of an answer behind which no command runs."""


class CommandState(StrEnum):
    """The state of a command. A word that is not known is never an end."""

    NEW = "NEW"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class ServiceState(StrEnum):
    """Where a service stands, folded from the words that Manager has for it."""

    UP = "up"
    DOWN = "down"
    STARTING = "starting"
    STOPPING = "stopping"
    UNKNOWN = "unknown"

    @classmethod
    def from_word(cls, word: str) -> ServiceState:
        """
        Fold a word of Manager's.

        :param word: for instance ``Started`` (2.x) or ``Partially Healthy`` (3.x), in any case.
        :return: the state, ``UNKNOWN`` for a word that decides nothing, ``Failed to stop`` among them.
        """
        return _STATE_OF_WORD.get(_folded(word), cls.UNKNOWN)

    @property
    def settled(self) -> bool:
        """Whether the service is up or down, and not on its way."""
        return self in {ServiceState.UP, ServiceState.DOWN}


def _folded(word: str) -> str:
    return "".join(word.split()).replace("-", "").replace("_", "").casefold()


_STATE_OF_WORD = {
    _folded(word): state
    for state, words in {
        ServiceState.UP: (
            "started",
            "active",
            "normal",
            "good",
            "partially healthy",
            "subhealthy",
            "concerning",
            "faulty",
            "bad",
        ),
        ServiceState.DOWN: ("stopped", "not started"),
        ServiceState.STARTING: ("starting",),
        ServiceState.STOPPING: ("stopping",),
    }.items()
    for word in words
}


_WORDS_THAT_HIDE_MOVEMENT = {"started", "active", "good", "bad", "concerning", "stopped"}


@dataclass(frozen=True, slots=True)
class FailedEntity:
    """
    Something that a command failed on.

    :param name: the entity, for instance a role instance with its host.
    :param operation: ``STOP`` or ``START``.
    """

    name: str
    operation: str

    def __str__(self) -> str:
        return f"{self.name} ({self.operation})" if self.operation else self.name


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a command."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Command:
    """
    An asynchronous command of Manager, as an answer described it.

    :param id: its id; -1 where there is none.
    :param state: its state.
    :param word: the state in Manager's own word.
    :param error_code: 0, or a code of which no list is published.
    :param error_description: the text to the code.
    :param progress: 0 to 100.
    :param steps: what it does, as far as it has come.
    :param failed_entities: what it failed on.
    """

    id: int
    state: CommandState
    word: str
    error_code: int = 0
    error_description: str = ""
    progress: int = 0
    steps: tuple[Step, ...] = ()
    failed_entities: tuple[FailedEntity, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self.state in {CommandState.COMPLETE, CommandState.FAILED}

    @property
    def has_run(self) -> bool:
        """Whether the answer carries any trace of a run. Of an id that it does not know, Manager can't."""
        return bool(self.progress or self.steps or self.failed_entities)

    @property
    def failure(self) -> str:
        """Why it failed, in one line: code, text and the first of the failed entities."""
        text = error_in_words(self.error_code, self.error_description)
        if self.failed_entities:
            text += f"; failed on {listed(self.failed_entities)}"
        return text


@dataclass(frozen=True, slots=True)
class Property:
    """An entry of a service's ``key_property``. Its value is None where it is neither a text nor a number nor a flag."""

    name: str
    value: str | float | None
    type: str


@dataclass(frozen=True, slots=True)
class Service:
    """
    A service of a cluster.

    :param name: its name, case-sensitive.
    :param cluster_id: the cluster it belongs to.
    :param state: where it stands.
    :param word: the state in Manager's own word; empty where none was found.
    :param properties: all that Manager tells of it.
    """

    name: str
    cluster_id: int
    state: ServiceState
    word: str
    properties: tuple[Property, ...] = ()

    @property
    def hides_movement(self) -> bool:
        """Whether it speaks as MRS 2.x does, without words for *starting* and *stopping*: it stays what it was."""
        return _folded(self.word) in _WORDS_THAT_HIDE_MOVEMENT


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    A cluster that Manager administers.

    :param id: its id, 1 as a rule.
    :param name: its name.
    :param version: the version of its software.
    :param description: what somebody wrote about it.
    :param security_mode: True for Kerberos (``Sec``), False for normal mode (``NoSec``), None where not told.
    :param installing_patch: whether a patch is being installed.
    """

    id: int
    name: str
    version: str
    description: str
    security_mode: bool | None
    installing_patch: bool


class ClusterHealth(StrEnum):
    """The health of a whole cluster."""

    GOOD = "GOOD"
    BAD = "BAD"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    One value of a metric.

    :param time: milliseconds since the epoch, as Manager gives it.
    :param value: the value, as Manager gives it.
    :param node: the host it was measured on.
    """

    time: int
    value: float | None
    node: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    Configuration values of one component, to be saved.

    :param component_name: the service, for instance ``HDFS``.
    :param values: configuration items and their new values.
    """

    component_name: str
    values: dict[str, str] = field(default_factory=dict)
