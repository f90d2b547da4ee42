"""The playground in a real browser, with clicks and keys: embedded model, no network beyond this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import SamplingParams, embedded_model, load_engine
from page_layout import SIZES, browser_path, check_layout
from playground_page import EVIL, EVIL_SEED, HELD_SEED, Served, install_held_engine, served

if find_spec("gradio") is None:
    pytest.skip("needs gradio: pip install 'mixture-of-inputs[playground]'", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.slow

PROMPT = "18 7 7 > 67 :"
TOKENS = "document.querySelectorAll('#%s .moi-tokens span').length"
DONE = "#share:not([disabled])"
THINGS = "h1, h2, p, label, legend, textarea, input, button, summary, .moi-tokens"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, outside_package: Path) -> Iterator[Served]:
    browser_path()
    folder = tmp_path_factory.mktemp("playground")
    held = install_held_engine(tmp_path_factory.mktemp("held"))
    with served(folder, "--engine", "held", packages=(held, outside_package)) as running:
        yield running


@pytest.fixture
def visit(chromium: Any, server: Served) -> Iterator[Callable[..., Any]]:
    """visit(url, ...) -> a page of its own; whatever it asks of other machines, or raises, fails the test."""
    contexts, wrong = list[Any](), list[str]()

    def look(request: Any) -> None:
        if not request.url.startswith((server.url, "data:", "blob:", "file:")):
            wrong.append(request.url)

    def open_page(url: str = server.url, **options: Any) -> Any:
        contexts.append(chromium.new_context(**options))
        contexts[-1].set_default_timeout(60_000)
        page = contexts[-1].new_page()
        page.on("request", look)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        page.goto(url)
        if url == server.url:
            page.wait_for_selector("#generate")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def generate(page: Any, **numbers: Any) -> None:
    """Fill in fields by the ids of their components, click, and wait for the end."""
    for name, value in numbers.items():
        page.fill(f"#{name} input, #{name} textarea", str(value))
    page.evaluate("document.querySelectorAll('.moi-column').forEach(each => each.dataset.old = '')")
    page.click("#generate")
    page.wait_for_function("document.querySelectorAll('.moi-column:not([data-old]) details').length == 2")


def text_of(page: Any, column: str) -> str:
    return str(page.text_content(f"#{column} .moi-tokens"))


def titles(page: Any) -> list[str]:
    return list(page.eval_on_selector_all(".moi-tokens span", "all => all.map(e => e.title)"))


def test_both_columns_fill_and_plain_is_the_engines_own(visit: Any) -> None:
    page = visit()
    generate(page, seed=5, prompt=PROMPT)
    sampling = SamplingParams(max_new_tokens=170, seed=5)
    plain, mixed = (
        load_engine("torch", embedded_model()).generate([PROMPT], sampling, MoIConfig(name))[0]
        for name in ("token", "moi")
    )
    assert text_of(page, "plain") == plain.text
    assert text_of(page, "mixed") == mixed.text
    assert page.evaluate(TOKENS % "plain") == len(plain.token_ids)
    told = page.inner_text("#plain .moi-totals")
    assert f"{len(plain.token_ids)} tokens" in told
    assert f"mean entropy {plain.mean_entropy:.3f} · mixed 0% · ended: eos" in told
    assert titles(page)[0] == (
        f"entropy {plain.entropies[0]:.3f}, intervention 0.000, not mixed, token {plain.token_ids[0]}"
    )


def test_the_switch_changes_the_colours(visit: Any) -> None:
    page = visit()
    generate(page, seed=1)
    colour = "getComputedStyle(document.querySelector('#%s .moi-tokens span')).backgroundColor"
    by_entropy = [page.evaluate(colour % column) for column in ("plain", "mixed")]
    assert by_entropy[0] == by_entropy[1] != "rgba(0, 0, 0, 0)"
    assert "entropy of the distribution" in page.inner_text("#legend")
    page.check("#colour input[value=intervention]")
    plain, mixed = (page.evaluate(colour % column) for column in ("plain", "mixed"))
    assert re.search(r"[,/] ?0\)$", plain), "no token of plain decoding has an intervention"
    assert mixed not in (plain, by_entropy[1])
    assert page.inner_text("#legend").endswith("share of the next input that is not the token")
    page.check("#colour input[value=entropy]")
    assert page.evaluate(colour % "mixed") == by_entropy[1]


def test_a_policy_shows_its_own_parameters_and_is_run_with_them(visit: Any) -> None:
    page = visit()
    shown = "[...document.querySelectorAll('[id^=policy-]')].filter(e => e.offsetHeight).map(e => e.id)"
    assert page.evaluate(shown) == ["policy-moi"]
    page.check("#policy input[value=gumbel]")
    page.wait_for_selector("#gumbel-tau input")
    assert page.evaluate(shown) == ["policy-gumbel"]
    page.check("#policy input[value=outside]")  # of another package
    slider = page.wait_for_selector("#outside-share input[type=range]")
    assert [slider.get_attribute(key) for key in ("min", "max")] == ["0", "1"]
    assert slider.input_value() == "0.5"
    page.fill("#outside-share input[type=number]", "0.125")
    page.keyboard.press("Tab")
    generate(page, seed=2)
    assert page.inner_text("#mixed h2") == "outside (share 0.125, tail 0.25)"
    assert any(", mixed, " in title for title in titles(page))


def test_stop_ends_a_run_in_the_middle(visit: Any, server: Served) -> None:
    page = visit()
    page.fill("#seed input", str(HELD_SEED))
    page.click("#generate")
    try:
        page.wait_for_function(f"{TOKENS % 'plain'} > 0")
        page.click("#stop")
        page.wait_for_selector("text=Stopping after the token")
    finally:
        server.go.touch()
    page.wait_for_function("document.querySelectorAll('.moi-column details').length == 2")
    assert page.inner_text("#mixed .moi-totals").endswith("ended: stopped by you")
    assert 0 < page.evaluate(TOKENS % "plain") < 10
    generate(page, seed=3)
    assert page.inner_text("#plain .moi-totals").endswith("ended: eos")


def test_the_shared_file_shows_the_same_without_script_or_network(visit: Any, tmp_path: Path) -> None:
    page = visit()
    generate(page, seed=4, prompt=f"{PROMPT} ")
    with page.expect_download() as download:
        page.click("#share")
    assert download.value.suggested_filename == "moi-moi-seed-4.html"
    file = tmp_path / "shared.html"
    download.value.save_as(file)
    alone = visit(file.as_uri(), java_script_enabled=False, offline=True, viewport={"width": 390, "height": 800})
    for column, text in enumerate(text_of(page, name) for name in ("plain", "mixed")):
        assert alone.locator(".moi-tokens").nth(column).text_content() == text
    assert alone.locator(".moi-tokens span").count() == len(titles(page))
    assert alone.locator(".moi-tokens span").first.get_attribute("title") == titles(page)[0]
    alone.check("input[value=intervention]")
    assert alone.locator(".by-intervention").is_visible()
    assert not alone.locator(".by-entropy").is_visible()
    alone.screenshot(path=tmp_path / "shared.png", full_page=True)


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_nothing_overflows_or_overlaps(visit: Any, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.check("#policy input[value=soft]")
    generate(page, seed=6)
    page.click("#mixed summary")
    check_layout(page, THINGS, width, scheme, least=30)


def test_keys_alone_reach_and_operate_it(visit: Any) -> None:
    page = visit()
    focus = (
        "[document.activeElement.closest('[id]:not([id^=range]):not([id^=component]):not([id^=html-])')?.id, "
        "document.activeElement.value]"
    )
    reached = list[list[str]]()

    def tab_to(wanted: str, value: str | None = None) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(focus))
            if reached[-1][0] == wanted and value in (None, reached[-1][1]):
                return
        raise AssertionError(f"Tab does not reach {wanted}: {reached}")

    tab_to("prompt")
    tab_to("policy", "direct")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('#policy input[value=direct]').checked")
    for each in ("every-min_entropy", "every-max_entropy", "temperature", "top_p", "max_new_tokens"):
        tab_to(each)
    tab_to("seed")
    page.keyboard.press("Control+a")
    page.keyboard.type("7")
    tab_to("generate")
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.inner_text("#mixed h2") == "direct"
    tab_to("stop")
    page.keyboard.press("Space")
    tab_to("share")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "moi-direct-seed-7.html"
    tab_to("colour", "intervention")
    page.keyboard.press("Space")
    page.wait_for_selector(".by-intervention", state="visible")
    tab_to("plain")
    page.keyboard.press("Space")
    assert page.locator("#plain details").get_attribute("open") is not None


def test_texts_of_user_and_model_are_text(visit: Any) -> None:
    page = visit()
    generate(page, seed=EVIL_SEED)
    assert text_of(page, "plain").startswith(EVIL)
    page.fill("#prompt textarea", EVIL)
    page.click("#generate")
    page.wait_for_function("document.querySelector('#share[disabled]') == null")
    assert page.title() == "Mixture of Inputs"
    assert page.evaluate("document.querySelectorAll('#plain script, #mixed script, #message script').length") == 0


def test_what_cannot_be_is_a_message_and_the_page_lives_on(visit: Any) -> None:
    page = visit()
    page.fill("#prompt textarea", "7 " * 5000)
    page.click("#generate")
    page.wait_for_selector("text=/prompt 0 has \\d+ tokens and max_new_tokens is 170/")
    page.fill("#prompt textarea", "  ")
    page.click("#generate")
    page.wait_for_selector("text=the prompt is empty")
    generate(page, prompt=PROMPT, seed=8)
    assert page.text_content("#message").strip() == ""
    assert page.inner_text("#plain .moi-totals").endswith("ended: eos")


def test_it_works_out_of_the_box(chromium: Any, tmp_path: Path) -> None:
    """No flag but the port; and Ctrl-C ends it while a page is open."""
    with served(tmp_path) as running:
        page = chromium.new_page()
        page.goto(running.url)
        page.wait_for_selector("#generate")
        page.click("#generate")
        page.wait_for_function("document.querySelectorAll('.moi-column details').length == 2", timeout=60_000)
        assert "the embedded Countdown solver (torch engine)" in page.inner_text("#head")
    page.close()
