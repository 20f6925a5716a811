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
_LONGEST_PAGE = 128 * 1024

Field = tuple[str, str]
Attributes = dict[str, str | None]


@dataclass(slots=True)
class Option:
    """
    An option of a select.

    :param value: what is sent for it; its text where None.
    :param selected: whether the page selects it.
    :param disabled: whether it is never sent.
    :param text: its text, in pieces.
    """

    value: str | None
    selected: bool
    disabled: bool
    text: list[str] = field(default_factory=list)

    @property
    def sent(self) -> str:
        """What is sent for it."""
        return " ".join("".join(self.text).split()) if self.value is None else self.value


@dataclass(slots=True)
class Select:
    """
    A list to choose from.

    :param name: its name.
    :param multiple: whether it takes any number of options.
    :param options: what it offers.
    """

    name: str
    multiple: bool
    options: list[Option] = field(default_factory=list)

    @property
    def chosen(self) -> list[Field]:
        """What is sent for it. One that takes a single option starts from the first, where the page selects none."""
        selected = [option for option in self.options if option.selected]
        if not self.multiple:
            selected = selected[-1:] or [option for option in self.options if not option.disabled][:1]
        return [(self.name, option.sent) for option in selected if not option.disabled]


@dataclass(slots=True)
class Form:
    """
    A form of a page.

    :param action: where it goes, as it is written in the page; empty for the page itself.
    :param base: what the page wants its addresses to start from; empty for its own address.
    :param preset: the fields whose values stand in the page, every hidden input among them.
    :param selects: the lists to choose from.
    :param texts: the names of its text areas, and what they start from in pieces.
    :param typed: the fields to type into, with the values they start from.
    :param passwords: the password fields, each with whether nobody sees it.
    :param button: the first submit button that has a name.
    :param asks_captcha: whether it shows a field for a CAPTCHA.
    """

    action: str = ""
    base: str = ""
    preset: list[Field] = field(default_factory=list)
    selects: list[Select] = field(default_factory=list)
    texts: list[tuple[str, list[str]]] = field(default_factory=list)
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
        password_field = self.password
        fields = [
            *self.preset,
            *(chosen for select in self.selects for chosen in select.chosen),
            *((name, "".join(text).removeprefix("\n")) for name, text in self.texts),
            *(typed for typed in self.typed if typed[0] != username_field),
            *((name, "") for _, name in self.passwords if name != password_field),
            (username_field, username),
            (password_field or "password", password),
            *([self.button] if self.button else ()),
        ]
        present = {name for name, _ in fields}
        documented = (("_eventId", "submit"), ("submit", "Login"))
        return fields + [(name, value) for name, value in documented if name not in present]


def find_login_form(page: str) -> Form | None:
    """
    Find the login form of a page.

    :param page: HTML of any quality. Only its first 128 Ki characters count, which take a tenth of a second at worst.
    :return: the first form that asks for a password, one with the ticket of a CAS before others; or None.
    """
    parser = _FormParser()
    with suppress(AssertionError):  # how html.parser gives up on a malformed declaration
        # No close(): it would look at the tag that a page leaves open at its end from every "<" in it anew.
        parser.feed(page[:_LONGEST_PAGE])
    asking = [form for form in parser.forms if form.passwords]
    form = min(asking, key=lambda form: not form.is_cas, default=None)
    if form is not None:
        form.base = parser.base or ""
    return form


class _FormParser(HTMLParser):
    """Collects forms. Comments and scripts are no markup to it, as they are none to a browser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.forms: list[Form] = []
        self._by_id: dict[str, Form] = {}
        self._awaited: dict[str, Form] = {}  # named by a control that stands before it
        self._open: Form | None = None
        self._invisible: list[str] = []
        self._invisible_tags: Counter[str] = Counter()
        self._select: Select | None = None
        self._text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes: Attributes = dict(reversed(attrs))  # of a repeated attribute the first counts
        self._follow_visibility(tag, attributes)
        match tag:
            case "base" if self.base is None:
                self.base = attributes.get("href")
            case "form" if self._open is None:
                self._open_form(attributes)
            case "option":
                self._add_option(attributes)
            case "input" | "button" | "select" | "textarea":
                self._add_control(tag, attributes)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = None
        if tag in {"form", "select", "option", "textarea"}:
            self._text = None
        while self._invisible_tags[tag]:
            closed = self._invisible.pop()
            self._invisible_tags[closed] -= 1
            if closed == tag:
                break

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def _follow_visibility(self, tag: str, attributes: Attributes) -> None:
        """Keep the open elements from the outermost invisible one inwards."""
        if tag not in _VOID and (self._invisible or _hides(attributes)):
            self._invisible.append(tag)
            self._invisible_tags[tag] += 1

    def _open_form(self, attributes: Attributes) -> None:
        form_id = attributes.get("id") or ""
        self._open = self._awaited.pop(form_id, None) or Form()
        self._open.action = (attributes.get("action") or "").strip()
        self.forms.append(self._open)
        self._by_id.setdefault(form_id, self._open)

    def _owner(self, attributes: Attributes) -> Form | None:
        form_id = attributes.get("form")
        if not form_id:
            return self._open if form_id is None else None
        return self._by_id.get(form_id) or self._awaited.setdefault(form_id, Form())

    def _add_option(self, attributes: Attributes) -> None:
        if self._select is not None:
            value = attributes["value"] or "" if "value" in attributes else None
            option = Option(value, "selected" in attributes, "disabled" in attributes)
            self._select.options.append(option)
            self._text = option.text

    def _add_control(self, tag: str, attributes: Attributes) -> None:
        self._select = self._text = None
        form, name = self._owner(attributes), attributes.get("name")
        if form is None or not name or "disabled" in attributes:
            return
        match tag:
            case "select":
                self._select = Select(name, multiple="multiple" in attributes)
                form.selects.append(self._select)
            case "textarea":
                self._text = []
                form.texts.append((name, self._text))
            case _:
                self._add_input(form, name, tag, attributes)

    def _add_input(self, form: Form, name: str, tag: str, attributes: Attributes) -> None:
        kind = (attributes.get("type") or ("submit" if tag == "button" else "text")).strip().lower()
        if kind in _NEVER_SENT:
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
