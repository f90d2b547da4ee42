"""Pages as a browser lays them out: what overlaps, what leaves the page, and whether it is light or dark."""

from __future__ import annotations

import os
import re
import shutil
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]  # of a desk and of a phone
# Pairs of things that overlap though neither is in the other, and things beyond the page's edges. What lies in a box
# that scrolls by itself is the box's affair.
_MEASURE = """([selector, boxes]) => {
  const all = [...document.querySelectorAll(selector)].filter(e => !boxes || !e.parentElement.closest(boxes))
  const box = new Map(all.map(e => [e, e.getBoundingClientRect()]))
  const seen = all.filter(e => box.get(e).width > 1 && box.get(e).height > 1 && e.checkVisibility())
  const name = e => `${e.tagName} ${e.textContent || e.ariaLabel || e.id || e.className}`.trim().slice(0, 60)
  const over = []
  seen.forEach((a, i) => seen.slice(i + 1).forEach(b => {
    const [p, q] = [box.get(a), box.get(b)]
    const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left)
    const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top)
    if (!a.contains(b) && !b.contains(a) && wide > 1 && high > 1) over.push(`${name(a)} / ${name(b)}`)
  }))
  const {clientWidth, scrollWidth} = document.documentElement
  return {over, beyond: seen.filter(e => box.get(e).right > clientWidth + 1 || box.get(e).left < -1).map(name),
          scroll: scrollWidth, wide: clientWidth, seen: seen.length,
          paper: getComputedStyle(document.body).backgroundColor}
}"""


def browser_path() -> str:
    """Of Chromium; skips where there is none."""
    found = os.environ.get("MOI_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no browser: install chromium (apt-get install chromium), or set MOI_BROWSER")
    return found


def check_layout(page: Any, selector: str, width: int, scheme: str, boxes: str = "", least: int = 10) -> None:
    """Fails if any of the things that match overlap or leave the page, which must be as wide and as light as asked;
    `least` of them must be there to be seen. `boxes` scroll by themselves.
    """
    found = page.evaluate(_MEASURE, [selector, boxes])
    assert found["over"] == [], found["over"]
    assert found["beyond"] == [], found["beyond"]
    assert found["scroll"] <= found["wide"] == width, found
    assert found["seen"] >= least, found
    red, green, blue = map(int, re.findall(r"\d+", found["paper"])[:3])
    assert (red + green + blue > 3 * 128) == (scheme == "light"), found
