"""The look, as far as a machine can judge: contrast of the tokens, nothing inline, names that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from pytest_django import Settings

from grants.lifecycle import standing
from grants.web.words import states, things

STATIC = settings.BASE / "portal" / "static"
TEMPLATES = sorted((settings.BASE / "templates").rglob("*.html"))
TOKENS = (STATIC / "tokens.css").read_text()

GROUNDS = ("canvas", "surface", "sunk", "over", "hover")
TEXTS = (
    "ink", "ink-quiet", "accent", "accent-strong", "pending", "granted", "scheduled", "ending", "ended",
    "denied", "lapsed", "drift",
)  # fmt: skip
ON = (("on-accent", "accent"), ("on-accent", "accent-strong"), ("on-alarm", "alarm"))


def colours(scheme: int) -> dict[str, str]:
    """Every colour of tokens.css, light (0) or dark (1)."""
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", TOKENS))
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", TOKENS):
        found[name] = (light, dark)[scheme]
    return found


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mixed(colour: str, ground: str, share: float) -> str:
    """color-mix(in srgb, colour share, ground)."""
    pairs = ((int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_every_ground(scheme: int) -> None:
    tokens = colours(scheme)
    pairs = {f"{text} on {ground}": contrast(tokens[text], tokens[ground]) for text in TEXTS for ground in GROUNDS}
    pairs |= {f"{text} on {ground}": contrast(tokens[text], tokens[ground]) for text, ground in ON}
    # A badge and a notice are text in the tone on ten per cent of it.
    for text in TEXTS[4:]:
        soft = mixed(tokens[text], tokens["surface"], 0.10)
        pairs[f"{text} on its tint"] = contrast(tokens[text], soft)
        pairs[f"ink on the tint of {text}"] = contrast(tokens["ink"], soft)
    assert {pair: round(ratio, 2) for pair, ratio in pairs.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_edges_of_controls_can_be_seen(scheme: int) -> None:
    tokens = colours(scheme)
    assert min(contrast(tokens["line"], tokens[ground]) for ground in ("canvas", "surface", "over")) >= 3


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_nothing_is_inline(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=|<style\b|\son[a-z]+\s*=|javascript:|hx-on|hx-vals\s*=\s*['\"]js:", text)
    assert all("src=" in tag for tag in re.findall(r"<script\b[^>]*>", text))
    assert "|safe" not in text
    assert "autoescape off" not in text
    # A formatter that splits a tag over lines makes it vanish.
    assert not re.search(r"\{%[^%]*\n[^%]*%\}|\{\{[^}]*\n[^}]*\}\}", text)


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    named = {mark.icon for mark in states.STATES.values()} | {kind.icon for kind in things.KINDS.values()}
    named |= {f"level-{level}" for level in things.LEVELS if " " not in level}
    for path in TEMPLATES:
        named |= set(re.findall(r'\{% icon "([\w-]+)"', path.read_text()))
        named |= set(re.findall(r'mark="([\w-]+)" number', path.read_text()))
    assert named - drawn == set()


def test_every_class_that_is_used_is_styled() -> None:
    css = "\n".join(path.read_text() for path in STATIC.rglob("*.css"))
    styled = set(re.findall(r"\.([a-z][\w-]*)", css))
    used: set[str] = set()
    for path in TEMPLATES:
        for value in re.findall(r'class="([^"]*)"', re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " ", path.read_text())):
            used |= {name for name in value.split() if not name.endswith("-")}
    assert used - styled == set()


# Classes whose second half is a value: where the values stand.
BY_VALUE = {
    "icon-": ("templates/**/*.html", r'\{% icon (?:"[\w-]+"|[\w.|]+) "(\w+)"'),
    "avatar-": ("templates/**/*.html", r'\{% (?:avatar|person) [\w.]+ "(\w+)"'),
    "event-": ("grants/web/words/timeline.py", r'rail="(\w+)"'),
    "axis-": ("grants/web/home/lanes.py", r'0: "(\w+)", len\(moments\) - 1: "(\w+)"'),
}
OF_HTMX = {"htmx-request"}  # htmx sets it


def test_every_class_that_is_styled_is_used() -> None:
    """In a class of a template, or in a literal of the tags that write one, whether whole or with a value at its end."""
    css = "\n".join(path.read_text() for path in STATIC.rglob("*.css"))
    css = re.sub(r'/\*.*?\*/|url\([^)]*\)|"[^"]*"', "", css, flags=re.DOTALL)
    used = set(OF_HTMX)
    for path in TEMPLATES:
        for value in re.findall(r'class="([^"]*)"', re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " ", path.read_text())):
            used |= set(value.split())
    tags = (settings.BASE / "grants/web/templatetags/stint.py").read_text()
    for value in re.findall(r'class="([^"]*)"|" ([a-z-]+)"|_marked\("(\w+)"', tags):
        used |= {name.split("{")[0] for name in " ".join(value).split()}
    used |= set(re.findall(r'className = "([^"]+)"', (STATIC / "stint.js").read_text())[0].split())
    for start, (files, pattern) in BY_VALUE.items():
        for path in settings.BASE.glob(files):
            used |= {f"{start}{value}" for found in re.findall(pattern, path.read_text()) for value in _each(found)}
    assert set(re.findall(r"\.([a-z][\w-]*)", css)) - used == set()


def _each(found: str | tuple[str, ...]) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else found


def test_the_stylesheet_stays_small() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in STATIC.rglob("*.css")}
    assert max(lines.values()) <= 150, lines
    assert sum(lines.values()) <= 1250, lines


def test_files_are_served_under_the_name_of_their_content(tmp_path: Path, settings: Settings) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}
    call_command("collectstatic", interactive=False, verbosity=0)
    entry = (tmp_path / staticfiles_storage.stored_name("stint.css")).read_text()
    imported = re.findall(r'@import url\("([^"]+)"\)', entry)
    assert len(imported) > 20
    assert all(re.search(r"\.[0-9a-f]{12}\.css$", name) and (tmp_path / name).is_file() for name in imported)
    field = (tmp_path / "components" / Path(staticfiles_storage.stored_name("components/field.css")).name).read_text()
    assert re.search(r'url\("\.\./icon-pick\.[0-9a-f]{12}\.svg"\)', field)
    assert re.fullmatch(r"/static/icons\.[0-9a-f]{12}\.svg", staticfiles_storage.url("icons.svg"))


def test_the_script_reads_time_as_the_server_does() -> None:
    script = (STATIC / "stint.js").read_text()
    assert f"Math.min({int(standing.ENDING.total_seconds() * 1000)}, (to - from) / 4)" in script
    assert "innerHTML" not in script
    assert "eval" not in script
