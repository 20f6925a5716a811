"""The login form of a page, filled in as a browser would."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser

_CAPTCHA = re.compile(r"captcha|(verif(y|ication)|validat(e|ion)|check)[_-]?code", re.IGNORECASE)
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_TYPED_IN = {"text", "email", "tel", "number", "search"}
_NEVER_SENT = {"button", "reset", "file", "image"}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_LONGEST_PAGE = 500_000

Field = tuple[str, str]
Attributes = dict[str, str | None]


@dataclass(slots=True)
class Form:
    """
    A form of a page.

    :param action: where it goes, as it is written in the page; empty for the page itself.
    :param preset: the fields whose values stand in the page, every hidden input among them.
    :param typed: the fields to type into, with the values they start from.
    :param passwords: the password fields, each with whether nobody sees it.
    :param button: the first submit button that has a name.
    :param asks_captcha: whether it shows a field for a CAPTCHA.
    """

    action: str = ""
    preset: list[Field] = field(default_factory=list)
    typed: list[Field] = field(default_factory=list)
    passwords: list[tuple[bool, str]] = field(default_factory=list)
    button: Field | None = None
    asks_captcha: bool = False

    @property
    def password(self) -> str | None:
        """The name of the password field to fill in, a visible one if there is one; None in a form without."""
        return min(self.passwords, key=lambda entry: entry[0])[1] if self.passwords else None

    @property
    def is_cas(self) -> bool:
        """Whether it carries the ticket by which a CAS knows its own form."""
        return any(name in {"lt", "execution"} for name, _ in self.preset)

    def filled(self, username: str, password: str) -> list[Field]:
        """
        Return the fields that a browser would send.

        :param username: goes into the field of that name, or the first one to type into.
        :param password: goes into the password field.
        :return: names and values. A field that the vendor documents and the form lacks (``_eventId``,
            ``submit``) is added.
        """
        names = [name for name, _ in self.typed]
        username_field = "username" if "username" in names or not names else names[0]
        fields = [
            *self.preset,
            *(typed for typed in self.typed if typed[0] != username_field),
            *((name, "") for _, name in self.passwords if name != self.password),
            (username_field, username),
            (self.password or "password", password),
            *([self.button] if self.button else ()),
        ]
        present = {name for name, _ in fields}
        documented = (("_eventId", "submit"), ("submit", "Login"))
        return fields + [(name, value) for name, value in documented if name not in present]


def find_login_form(page: str) -> Form | None:
    """
    Find the login form of a page.

    :param page: HTML of any quality. Only its first half million characters count.
    :return: the first form that asks for a password, one with the ticket of a CAS before others; or None.
    """
    parser = _FormParser()
    with suppress(AssertionError):  # how html.parser gives up on a malformed declaration
        # No close(): it would look at the tag that a page leaves open at its end from every "<" in it anew.
        parser.feed(page[:_LONGEST_PAGE])
    asking = [form for form in parser.forms if form.passwords]
    return min(asking, key=lambda form: not form.is_cas, default=None)


class _FormParser(HTMLParser):
    """Collects forms. Comments and scripts are no markup to it, as they are none to a browser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self._by_id: dict[str, Form] = {}
        self._open: Form | None = None
        self._invisible: list[str] = []
        self._invisible_tags: Counter[str] = Counter()
        self._select: tuple[Form, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes: Attributes = dict(reversed(attrs))  # of a repeated attribute the first counts
        self._follow_visibility(tag, attributes)
        match tag:
            case "form" if self._open is None:
                self._open = Form(action=(attributes.get("action") or "").strip())
                self.forms.append(self._open)
                if form_id := attributes.get("id"):
                    self._by_id.setdefault(form_id, self._open)
            case "input" | "button":
                self._add_control(tag, attributes)
            case "select" if (form := self._owner(attributes)) and (name := attributes.get("name")):
                self._select = (form, name)
            case "option" if self._select and "selected" in attributes:
                form, name = self._select
                form.preset.append((name, attributes.get("value") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = None
        while self._invisible_tags[tag]:
            closed = self._invisible.pop()
            self._invisible_tags[closed] -= 1
            if closed == tag:
                break

    def _follow_visibility(self, tag: str, attributes: Attributes) -> None:
        """Keep the open elements from the outermost invisible one inwards."""
        if tag not in _VOID and (self._invisible or _hides(attributes)):
            self._invisible.append(tag)
            self._invisible_tags[tag] += 1

    def _owner(self, attributes: Attributes) -> Form | None:
        form_id = attributes.get("form")
        return self._open if form_id is None else self._by_id.get(form_id)

    def _add_control(self, tag: str, attributes: Attributes) -> None:
        form, name = self._owner(attributes), attributes.get("name")
        kind = (attributes.get("type") or ("submit" if tag == "button" else "text")).strip().lower()
        if form is None or not name or "disabled" in attributes or kind in _NEVER_SENT:
            return
        value = attributes.get("value") or ""
        visible = not self._invisible and not _hides(attributes)
        match kind:
            case "password":
                form.passwords.append((not visible, name))
            case "submit":
                form.button = form.button or (name, value)
            case "checkbox" | "radio":
                if "checked" in attributes:
                    form.preset.append((name, attributes.get("value") or "on"))
            case _ if kind not in _TYPED_IN:
                form.preset.append((name, value))
            case _:
                form.asks_captcha |= visible and _looks_like_captcha(attributes)
                form.typed.append((name, value))


def _hides(attributes: Attributes) -> bool:
    return "hidden" in attributes or bool(_INVISIBLE.search(attributes.get("style") or ""))


def _looks_like_captcha(attributes: Attributes) -> bool:
    return any(_CAPTCHA.search(attributes.get(key) or "") for key in ("name", "id", "placeholder"))
