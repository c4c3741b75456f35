"""Template tags for the parts of a page. They are built in, so no {% load %} is needed; format_html escapes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote
from zlib import crc32

from django import template
from django.conf import settings
from django.core.paginator import Page
from django.template import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from accounts.models import Subject
from grants import references
from grants.catalog.models import Resource
from grants.lifecycle import standing
from grants.lifecycle.models import Grant
from grants.policy.wording import duration
from grants.web.choices import Choice
from grants.web.words import states, things, times

register = template.Library()


# Time


@register.simple_tag
def when(at: datetime, now: datetime) -> SafeString:
    """<time>18:23 today</time>, in the person's zone; the title has the whole of it."""
    return _time(at, times.when(at, now, timezone.get_current_timezone()))


@register.simple_tag
def clock(at: datetime) -> SafeString:
    """<time>18:23</time>: where the day is clear from around it."""
    return _time(at, times.clock(at, timezone.get_current_timezone()))


@register.simple_tag
def ago(at: datetime, now: datetime) -> SafeString:
    """<time>12 min ago</time>"""
    return _time(at, times.ago(at, now))


@register.simple_tag
def until(at: datetime, now: datetime) -> SafeString:
    """22 min left, counted down by stint.js."""
    return format_html('<span data-until="{}">{}</span>', at.isoformat(), times.left(at, now))


def _time(at: datetime, text: str) -> SafeString:
    there = timezone.localtime(at)
    whole = f"{there:%A} {there.day} {there:%B %Y, %H:%M:%S} {times.zone_word(timezone.get_current_timezone())}"
    return format_html('<time datetime="{}" title="{}">{}</time>', there.isoformat(timespec="seconds"), whole, text)


@register.simple_tag
def ends_day(at: datetime, now: datetime) -> str:
    """The day alone: today, tomorrow, 24 Nov."""
    return times.day(at, now, timezone.get_current_timezone())


@register.simple_tag
def zone() -> str:
    """The person's zone by its city: Berlin."""
    return times.zone_word(timezone.get_current_timezone())


@register.filter
def in_words(of: timedelta) -> str:
    """A duration: 2 h 15 min."""
    return duration(of)


@register.filter
def left(at: datetime, now: datetime) -> str:
    """What is left, as plain text: 22 min left."""
    return times.left(at, now)


# Parts


@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """An icon of the sprite; size: small or large."""
    return _icon(settings.STORAGES["staticfiles"]["BACKEND"], name, size)


@lru_cache(maxsize=500)  # a page has some hundreds; the address of the sprite depends on the storage
def _icon(_storage: str, name: str, size: str) -> SafeString:
    return format_html(
        '<svg class="icon{}" aria-hidden="true"><use href="{}#{}"></use></svg>',
        f" icon-{size}" if size else "",
        static("icons.svg"),
        name,
    )


@register.simple_tag
def level(word: str) -> SafeString:
    """How much of it: the steps and the word."""
    return _level(settings.STORAGES["staticfiles"]["BACKEND"], word)


@lru_cache(maxsize=50)
def _level(_storage: str, word: str) -> SafeString:
    strong = " level-strong" if word in things.STRONG else ""
    return format_html('<span class="level{}">{}{}</span>', strong, level_steps(word), word)


@register.simple_tag
def level_steps(word: str) -> SafeString:
    """The steps alone, for where the word stands beside them."""
    return format_html(
        '<svg class="level-steps" aria-hidden="true"><use href="{}#level-{}"></use></svg>',
        static("icons.svg"),
        word,
    )


@register.filter
def is_strong(word: str) -> bool:
    """A level that is drawn in orange."""
    return word in things.STRONG


@register.filter
def level_means(word: str, kind: str) -> str:
    return things.level_means(word, kind)


@register.simple_tag
def state(name: str, label: str = "") -> SafeString:
    """A state in a row or table: icon in its tone, word in ink."""
    return _marked("state", name, label)


@register.simple_tag
def badge(name: str, label: str = "") -> SafeString:
    """A state once in a page's head or on a card."""
    return _marked("badge", name, label)


def _marked(part: str, name: str, label: str) -> SafeString:
    mark = states.STATES[name]
    drawn = icon(mark.icon, "small" if part == "state" else "")
    return format_html('<span class="{}" data-state="{}">{}{}</span>', part, mark.tone, drawn, label or mark.word)


@register.simple_tag
def grant_state(grant: Grant, now: datetime, part: str = "state") -> SafeString:
    """A grant's state from its window, with how it ended. part: state or badge."""
    name = standing.state_of(grant.starts_at, grant.over_at, now)
    label = ""
    if name == "ended":
        label = f"Ended, {grant.get_end_reason_display()}" if grant.end_reason else "Ended, on time"
    return _marked(part, name, label)


@register.filter
def state_at(grant: Grant, now: datetime) -> str:
    """scheduled, granted, ending or ended."""
    return standing.state_of(grant.starts_at, grant.over_at, now)


@register.simple_tag
def thing(resource: Resource, *, link: bool = True, at: bool = True) -> SafeString:
    """A resource: icon of its kind, name in mono, connection and environment quiet."""
    kind = things.KINDS[resource.kind]
    name = (
        format_html(
            '<a class="thing-name plain-link" href="{}">{}</a>',
            reverse("resource", args=[resource.pk]),
            resource.name,
        )
        if link
        else format_html('<span class="thing-name">{}</span>', resource.name)
    )
    where = (
        format_html(' <span class="thing-at">{}, {}</span>', resource.connection.slug, resource.connection.environment)
        if at
        else ""
    )
    return format_html(
        '<span class="thing">{}<span class="unseen">{} </span>{}{}</span>',
        icon(kind.icon, "small"),
        kind.word,
        name,
        where,
    )


@register.simple_tag
def tags(tags_: list[str]) -> SafeString:
    """A resource's tags; each links to the catalog filtered by it."""
    if not tags_:
        return SafeString("")
    found = ((quote(word, safe=""), word) for word in tags_)
    return format_html(
        '<span class="tags">{}</span>', format_html_join("", '<a class="tag" href="?tag={}">{}</a>', found)
    )


@register.simple_tag
def boxes(name: str, choices: Iterable[Choice]) -> SafeString:
    """The check boxes of a facet."""
    box = (
        '<label class="check"><input class="check-box" type="checkbox" name="{}" value="{}"{}><span>{}</span>{}</label>'
    )
    counts = (
        "" if one.count is None else format_html('<span class="check-count">{}</span>', one.count) for one in choices
    )
    marks = (mark_safe(" checked") if one.on else "" for one in choices)
    told = ((name, one.value, mark, one.word, count) for one, mark, count in zip(choices, marks, counts, strict=True))
    return format_html_join("\n      ", box, told)


@register.simple_tag
def options(pairs: Iterable[tuple[str, str]], chosen: object) -> SafeString:
    """The options of a select: what each says, and the word for it."""
    marked = ((value, mark_safe(" selected") if value == str(chosen) else "", word) for value, word in pairs)
    return format_html_join("", '<option value="{}"{}>{}</option>', marked)


@register.filter
def ref(pk: int, kind: str) -> str:
    """How a row of this kind is called: P-3."""
    return references.ref(kind, pk)


@register.filter
def kind_word(kind: str) -> str:
    return things.KINDS[kind].word


@register.filter
def kind_icon(kind: str) -> str:
    return things.KINDS[kind].icon


@register.simple_tag
def avatar(who: Subject | str, size: str = "") -> SafeString:
    """Initials on a quiet hue: people round, teams (a slug) and machines square. size: small or large."""
    return _avatar_of(who, size) if isinstance(who, str) else _avatar(who, size)


def _avatar(who: Subject | str, size: str) -> SafeString:
    person = isinstance(who, Subject) and who.kind == Subject.Kind.PERSON
    hue = who.pk % 6 if isinstance(who, Subject) else crc32(who.encode()) % 6
    return format_html(
        '<span class="avatar{}{}" data-hue="{}" aria-hidden="true">{}</span>',
        "" if person else " avatar-square",
        f" avatar-{size}" if size else "",
        hue,
        _initials(str(who)),
    )


@lru_cache(maxsize=1000)
def _avatar_of(team: str, size: str) -> SafeString:
    return _avatar(team, size)


def _initials(name: str) -> str:
    parts = [part for part in name.replace("-", " ").replace("_", " ").split() if part[0].isalnum()]
    if len(parts) > 1:
        return f"{parts[0][0]}{parts[-1][0]}".upper()
    return (parts[0][:2] if parts else "?").upper()


@register.simple_tag
def person(who: Subject | str, size: str = "small") -> SafeString:
    """Avatar and name."""
    return format_html('<span class="person">{}{}</span>', avatar(who, size), str(who))


@register.simple_tag
def names(people: list[Subject] | tuple[Subject, ...], joint: str = "or") -> SafeString:
    """Chiara Lang, Tomasz Wilk or Priya Nair."""
    told = [format_html("<strong>{}</strong>", who) for who in people]
    if not told[1:]:
        return told[0] if told else mark_safe("nobody")
    first = format_html_join(", ", "{}", ((who,) for who in told[:-1]))
    return format_html("{} {} {}", first, joint, told[-1])


@register.simple_tag
def span(starts_at: datetime, over_at: datetime, now: datetime, *, short: bool = False) -> SafeString:
    """Draw a window as a bar: the part that is over and the part that is left."""
    past = percent(now, starts_at, over_at)
    return format_html(
        '<svg class="span{}" data-state="{}" data-from="{}" data-to="{}" aria-hidden="true">'
        '<rect class="span-past" y="3" width="{}%" height="6"></rect>'
        '<rect class="span-left" x="{}%" y="3" width="{}%" height="6"></rect></svg>',
        " span-short" if short else "",
        standing.state_of(starts_at, over_at, now),
        starts_at.isoformat(),
        over_at.isoformat(),
        past,
        past,
        round(100 - past, 2),
    )


@register.simple_tag
def countdown(starts_at: datetime, over_at: datetime, now: datetime) -> SafeString:
    """What is left and, under it, the end on the wall clock."""
    name = standing.state_of(starts_at, over_at, now)
    if name == "scheduled":
        return format_html(
            '<span class="countdown" data-state="scheduled">in {}</span><span class="countdown-end">starts {}</span>',
            duration(starts_at - now),
            when(starts_at, now),
        )
    return format_html(
        '<span class="countdown" data-state="{}" data-since="{}" data-until="{}">{}</span>'
        '<span class="countdown-end">{} {}</span>',
        name,
        starts_at.isoformat(),
        over_at.isoformat(),
        times.left(over_at, now),
        "ended" if name == "ended" else "ends",
        when(over_at, now),
    )


def percent(at: datetime, start: datetime, end: datetime) -> float:
    """Say where `at` lies between start and end, 0 to 100; 100 where they are the same moment."""
    if end <= start:
        return 100.0
    return round(min(100.0, max(0.0, (at - start) / (end - start) * 100)), 2)


# Blocks


EMPTY = {
    "none": '<path class="empty-mark-in" d="M18 18h37" stroke-dasharray="0.5 9"></path>',
    "done": '<path class="empty-mark-in" data-state="granted" d="m27 18 7 7 12-14"></path>',
    "little": '<path class="empty-mark-in" data-state="ending" d="M14 18h14"></path>',
}


@register.simple_block_tag
def empty(content: str, title: str, mark: str = "none") -> SafeString:
    """Why a list is empty and what to do. mark: none, done or little. The body is paragraphs and links."""
    return format_html(
        '<div class="empty"><svg class="empty-mark" viewBox="0 0 72 36" aria-hidden="true">'
        '<path d="M6 6v24M66 6v24"></path>{}</svg>'
        '<h2 class="empty-title">{}</h2>{}</div>',
        mark_safe(EMPTY[mark]),  # noqa: S308 (a constant of this file)
        title,
        content,
    )


@register.inclusion_tag("partials/notice.html")
def notice(state: str, title: str, text: str = "", href: str = "", link: str = "") -> dict[str, Any]:
    """Something that stays on the page and says what to do next. state: a key of states.STATES."""
    return {"mark": states.STATES[state], "title": title, "text": text, "href": href, "link": link}


@register.inclusion_tag("partials/pager.html", takes_context=True)
def pager(context: Context, page: Page[Any]) -> dict[str, Any]:
    """Page numbers; the links keep the filters of the address."""
    shown = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    return {"page": page, "shown": list(shown), "gap": page.paginator.ELLIPSIS, "request": context["request"]}
