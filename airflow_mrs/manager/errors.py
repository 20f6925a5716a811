"""Everything that can go wrong between a caller and MRS Manager, by what the caller can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from airflow_mrs.manager.model import Command


class MRSError(Exception):
    """
    The base of every error of this package.

    ``permanent`` says that trying again can't help until somebody changes something: a password, a
    certificate, an argument.
    """

    permanent: ClassVar[bool] = False


class InvalidArgument(MRSError, ValueError):
    """A name, an id or a setting that must not reach Manager. Nothing was sent."""

    permanent = True


class LoginRefused(MRSError):
    """
    Manager does not let this account in, and a further attempt would only bring a lockout nearer.

    ``lapses`` says that the reason can go away without a change of the connection (a lockout that ends, CAPTCHAs that
    Manager asks for no longer), so that the login is tried again some ten minutes later. Of what is about the password itself
    each process makes one attempt an hour: somebody may make it the right one in Manager, and that is not what locks an account.
    """

    permanent = True

    def __init__(self, message: str, *, lapses: bool = False) -> None:
        super().__init__(message)
        self.lapses = lapses


class CertificateRefused(MRSError):
    """The certificate of Manager or of its CAS is not trusted. No credential was sent."""

    permanent = True


class ForeignRedirect(MRSError):
    """An answer pointed to a host that is not the configured Manager. Nothing was sent there."""

    permanent = True


class Unreachable(MRSError):
    """No connection came about, so that the request was never sent."""


class TooLate(MRSError):
    """Too much time went by between the note of a request and its sending, so it was not sent."""


class SessionLost(MRSError):
    """Manager asked for a login again right after one. The request was not accepted."""


class AnswerLost(MRSError):
    """The request was sent, but no usable answer came: nobody knows whether Manager accepted it."""


class BadAnswer(AnswerLost):
    """
    An answer that is not Manager's: a status of a gateway, a page, something that is not JSON.

    ``retry_after`` holds the seconds that the answer asked to wait, if it did. ``gateway`` says that the
    status is one by which something in front of Manager tells that Manager is away.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, gateway: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.gateway = gateway


class PasswordUnanswered(AnswerLost):
    """A password was sent, and nobody knows what the CAS made of it. It may count as a wrong one."""


class RequestRefused(MRSError):
    """Manager answered the request with a refusal (HTTP 4xx or ``state: FAILED``) and did not act on it."""


class CommandFailed(MRSError):
    """
    A command ended as FAILED.

    ``command`` is the command as Manager described it at its end, where it is known.
    """

    def __init__(self, message: str, command: Command | None = None) -> None:
        super().__init__(message)
        self.command = command


class WaitTimedOut(MRSError):
    """The time of a wait is over; the command itself goes on in Manager."""


class ContactLost(MRSError):
    """
    Manager gave no usable answer for so long that the wait was given up; the command may go on.

    Or Airflow did not find the connection for so long.
    """


class StateContradicts(MRSError):
    """A service is clearly not in the state that the command should have brought it to."""


class StateUndecided(MRSError):
    """Only the service's state could tell what happened, and it does not tell."""


class InDoubt(StateUndecided):
    """Nobody can tell what happened, and a further try could do it twice: somebody has to look."""

    permanent = True


_KINDS: dict[str, type[MRSError]] = {
    kind.__name__: kind
    for kind in (
        InvalidArgument,
        LoginRefused,
        CertificateRefused,
        ForeignRedirect,
        Unreachable,
        TooLate,
        SessionLost,
        AnswerLost,
        BadAnswer,
        PasswordUnanswered,
        RequestRefused,
        CommandFailed,
        WaitTimedOut,
        ContactLost,
        StateContradicts,
        StateUndecided,
        InDoubt,
    )
}


def restore(kind: str, message: str) -> MRSError:
    """
    Return the error that ``type(error).__name__`` and ``str(error)`` were taken from, in another process.

    :param kind: the name of the error's class.
    :param message: its text.
    :return: an error of that class, or a plain :class:`MRSError` where the name is unknown.
    """
    return _KINDS.get(kind, MRSError)(message)
