"""Deciding and verifying in a real browser: in place with htmx, as plain forms without a script."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from grants.audit import export
from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from tests.cast import Cast
from tests.web.test_pages_axe import Open, browser, look, scene, server, visit  # noqa: F401 (fixtures)

pytestmark = pytest.mark.parametrize("look", ["light"], indirect=True)


def test_approving_answers_in_place(scene: Cast, visit: Open) -> None:  # noqa: F811
    asked = scene.asks(scene.oscar)
    page = visit(scene.chiara)
    page.goto(f"/requests/{asked.pk}")
    page.evaluate("window.same = true")
    page.get_by_role("button", name="Approve 30 min").locator("visible=true").click()
    expect(page.get_by_role("status").filter(has_text=f"Approved {asked.ref}")).to_be_focused()
    expect(page.get_by_text("30 min left")).to_have_count(0)  # it ticks: 29 min by now
    expect(page.get_by_text("Access began")).to_be_visible()
    assert page.evaluate("window.same") is True
    assert Grant.objects.filter(request=asked).count() == 1


def test_who_comes_second_reads_it_in_place_and_keeps_the_note(scene: Cast, visit: Open) -> None:  # noqa: F811
    asked = scene.asks(scene.oscar)
    page = visit(scene.chiara)
    page.goto(f"/requests/{asked.pk}")
    page.get_by_label("Note").fill("Too long for this.")
    decide.approve(asked, by=scene.tomasz)
    page.get_by_role("button", name="Deny").locator("visible=true").click()
    expect(page.get_by_role("alert")).to_contain_text("approved already by Tomasz")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Not sent")).to_have_value("Too long for this.")


def test_a_note_too_long_stays_typed(scene: Cast, visit: Open) -> None:  # noqa: F811
    asked = scene.asks(scene.oscar)
    page = visit(scene.chiara)
    page.goto(f"/requests/{asked.pk}")
    page.get_by_label("Note").fill("x" * 4100)
    page.get_by_role("button", name="Deny").locator("visible=true").click()
    expect(page.locator("#note-error")).to_contain_text("4096 characters at most; this has 4100")
    expect(page.get_by_label("Note")).to_have_value("x" * 4100)


def test_deciding_works_without_a_script(scene: Cast, visit: Open) -> None:  # noqa: F811
    asked = scene.asks(scene.oscar)
    page = visit(scene.chiara, script=False)
    page.goto(f"/requests/{asked.pk}")
    page.get_by_label("Note").fill("View is enough.")
    page.get_by_role("button", name="Deny").locator("visible=true").click()
    page.wait_for_url(f"**/requests/{asked.pk}")
    expect(page.locator("h1")).to_contain_text("Oscar asked to run etl/prod")
    expect(page.get_by_text("View is enough.")).to_be_visible()


def test_verifying_answers_in_place(scene: Cast, visit: Open, settings) -> None:  # noqa: F811
    if not settings.ENV.audit_key_file.exists():
        export.make_key(settings.ENV.audit_key_file)
    page = visit(scene.olga)
    page.goto("/audit")
    page.evaluate("window.same = true")
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("The record is whole")).to_be_visible()
    assert page.evaluate("window.same") is True
