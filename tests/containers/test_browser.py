"""A person with a browser: a chat page in NextChat's place, which was told its vendor as NextChat is."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.contract.processes import ROOT, until

from .conftest import Stack

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=900,600"
)
SCREENSHOT = ROOT / "build/chat.png"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(stack: Stack, browser: webdriver.Chrome) -> webdriver.Chrome:
    """A new chat."""
    browser.get(stack.page)
    return browser


def said(page: webdriver.Chrome) -> str:
    """The last answer, as far as it has come."""
    answers: list[WebElement] = page.find_elements(By.CSS_SELECTOR, "[data-testid=bot]")
    return answers[-1].text if answers else ""


def stop_button(page: webdriver.Chrome) -> list[WebElement]:
    """It is there while an answer comes."""
    return page.find_elements(By.CSS_SELECTOR, "[data-testid=stop-button]")


def ask(page: webdriver.Chrome, text: str) -> None:
    def box() -> list[WebElement]:
        return [] if stop_button(page) else page.find_elements(By.CSS_SELECTOR, "textarea:enabled")

    until(box, "there is a box to write into")[0].send_keys(text, Keys.ENTER)


def test_an_answer_in_chinese_grows_as_it_comes(page: webdriver.Chrome) -> None:
    ask(page, "用一句话介绍你自己。[[sim:interval=0.2]]")
    seen = [""]

    def whole() -> bool:
        if (text := said(page)) != seen[-1]:
            seen.append(text)
        return text.endswith("你说：用一句话介绍你自己。")

    until(whole, "the whole answer")
    assert len(seen) > 4
    assert all(later.startswith(earlier.rstrip(".")) for earlier, later in pairwise(seen)), seen
    assert "通义千问" in seen[-1]


def test_a_conversation_has_more_than_one_turn(page: webdriver.Chrome) -> None:
    for text in ("用一句话介绍你自己。", "再说一遍！"):
        ask(page, text)
        until(lambda t=text: said(page).endswith(f"你说：{t}"), "the answer")
    SCREENSHOT.parent.mkdir(exist_ok=True)
    page.save_screenshot(str(SCREENSHOT))
    assert Path(SCREENSHOT).stat().st_size > 5_000


def test_a_vendor_s_refusal_is_shown_as_an_error(page: webdriver.Chrome) -> None:
    ask(page, "[[sim:inspect]]")

    def shown() -> str:
        return " ".join(e.text for e in page.find_elements(By.CSS_SELECTOR, "[data-testid=toast-body].error"))

    until(lambda: "Input data may contain inappropriate content." in shown(), "the vendor's words")
    assert said(page) == ""


def test_the_page_says_what_it_is(page: webdriver.Chrome) -> None:
    until(lambda: "stands in for NextChat" in page.find_element(By.TAG_NAME, "body").text, "the page says so")


def test_an_answer_that_ends_early_is_not_shown_as_whole(page: webdriver.Chrome) -> None:
    ask(page, "讲故事 [[sim:tokens=40]] [[sim:error_frame]]")

    def shown() -> str:
        return " ".join(e.text for e in page.find_elements(By.CSS_SELECTOR, "[data-testid=toast-body].error"))

    until(lambda: "the connection broke" in shown(), "the cut")


def test_stop_stops(page: webdriver.Chrome) -> None:
    # That a client's end reaches the vendor is tested with an SDK: this page does not hang up, it only stops reading.
    ask(page, "停下来 [[sim:tokens=100,interval=0.1]]")
    until(lambda: len(said(page)) > 10, "the answer has begun")
    stop_button(page)[0].click()
    until(lambda: not stop_button(page), "it stopped")
    text = said(page)
    time.sleep(1)
    assert said(page) == text
    ask(page, "还在吗？")
    until(lambda: said(page).endswith("你说：还在吗？"), "the chat goes on")
