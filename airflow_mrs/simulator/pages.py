"""The HTML pages of CAS and of Manager's web server."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_mrs.simulator.sso import Form

WRONG_PASSWORD = "The credentials you provided cannot be determined to be authentic."  # noqa: S105 - a text, no password
WRONG_CAPTCHA = "The verification code is incorrect."
LOCKED = "The account has been locked. Try again later."

_CAPTCHA = """\
<img src="captcha.htm" alt="verification code" />
<input type="text" name="captcha" id="captcha" size="4" autocomplete="off" />
"""

# A known client reads `lt` by lines and double quotes, so its input stands alone on its line with the attributes in
# this order. The others are written as other versions write them.
_LOGIN = """\
<!DOCTYPE html>
<html>
<head><title>MRS Manager</title></head>
<body>
{message}<form id="fm1" action="/cas/login" method="post">
<input id="username" name="username" type="text" value="" autocomplete="off" />
<input id="password" name="password" type="password" value="" autocomplete="off" />
{captcha}<input type="hidden" name="lt" value="{lt}" />
<input value="{execution}" name="execution" type="hidden" />
<input type="hidden" value="{token}" name="_token">
<input type="hidden" name="_eventId" value="submit" />
<input class="btn-submit" name="submit" value="Login" type="submit" />
</form>
</body>
</html>
"""


def login(form: Form, message: str | None = None, *, captcha: bool = False) -> str:
    """Return the login page."""
    return _LOGIN.format(
        lt=escape(form.lt),
        execution=escape(form.execution),
        token=escape(form.token),
        message=f'<div id="msg" class="errors">{escape(message)}</div>\n' if message else "",
        captcha=_CAPTCHA if captcha else "",
    )


def page(title: str, text: str) -> str:
    """Return a page that says one thing."""
    return (
        f"<!DOCTYPE html>\n<html>\n<head><title>{escape(title)}</title></head>\n"
        f"<body><h2>{escape(title)}</h2><p>{escape(text)}</p></body>\n</html>\n"
    )


def logged_in() -> str:
    """Return what CAS says to a login without a service to go to."""
    return page("Log In Successful", "You have successfully logged into the Central Authentication Service.")


def change_password() -> str:
    """Return what CAS says to the right password if it is the initial one."""
    return (
        "<!DOCTYPE html>\n<html>\n<head><title>MRS Manager</title></head>\n"
        '<body><script>window.location.href = "/cas/modify_password.html";</script></body>\n</html>\n'
    )
