"""
Logins of the guard that were rejected, so that it does not lock the account: each of its runs is a process of its own.

What is kept tells whether a connection has changed since. It holds no password, and nothing to find one by: a byte of a salted
digest is the same for every 256th, and different where the password has changed, but for a rare time that costs an hour.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from airflow_mrs.maintenance.state import variables
from airflow_mrs.manager.words import clean

if TYPE_CHECKING:
    from airflow_mrs.manager.settings import Settings

LASTS_SECONDS = 3600.0
_ROUNDS = 200_000


def known(key: str, settings: Settings) -> str | None:
    """
    Tell why the guard is not to log in, if it is not.

    :param key: the Variable.
    :param settings: those of the connection.
    :return: what Manager said to the last login with the same settings, within the last hour; None where there was none. What
        somebody has edited is as good as nothing: it costs an attempt.
    :raises VariablesUnreadable: where Airflow does not tell.
    """
    try:
        kept = json.loads(variables.read(key) or "{}")
    except (ValueError, RecursionError):
        return None
    match kept:
        case {"at": int() | float() as at, "reason": str(reason), **of_which} if (
            0 <= time.time() - at < LASTS_SECONDS and of_which == _mark(settings)
        ):
            return clean(reason)
    return None


def keep(key: str, settings: Settings, reason: str) -> None:
    """
    Keep that a login was rejected.

    :param key: the Variable.
    :param settings: those of the connection.
    :param reason: what Manager said.
    :raises VariablesUnreadable: where Airflow does not confirm it.
    """
    kept = {"at": time.time(), "reason": clean(reason), **_mark(settings)}
    variables.write(key, json.dumps(kept), "A login that the guard does not try again for an hour")


def forget(key: str) -> None:
    """
    Forget what was kept, after a login that was not rejected.

    :param key: the Variable.
    :raises VariablesUnreadable: where Airflow does not confirm it.
    """
    if variables.read(key) is not None:
        variables.delete(key)


def _mark(settings: Settings) -> dict[str, Any]:
    """Return what differs between two connections of which one may be let in and the other not."""
    account = f"{settings.web_origin} {settings.cas_base} {settings.uses_cas} {settings.login}"
    digest = hashlib.pbkdf2_hmac("sha256", (settings.password or "").encode(), account.encode(), _ROUNDS)
    return {"account": account, "password": digest[0]}
