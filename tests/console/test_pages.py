"""Each page in both languages, light and dark: it says what it should, to eyes and to axe; and a whole game in which
nothing that the browser received named anybody."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.contract.processes import PATIENCE, ROOT, Gateway, until

from .conftest import AXE, PICTURES, Opening

SAYS = {
    "well": ("All is well", "一切正常"),
    "now": ("The last ones", "最近的请求"),
    "use": ("What is left of limits", "限额余量"),
    "setup": ("Claude Code", "Claude Code"),
    "play": ("Playground", "试验台"),
    "game": ("The blind game", "盲猜游戏"),
}
MARKUP = '<img src=x onerror="document.title=1">' + "m" * 400


def text(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.TAG_NAME, "body").text


def press(driver: webdriver.Chrome, place: str) -> None:
    """Click what a CSS selector finds, as soon as that can be: a page may be drawn anew at any moment."""

    def pressed() -> bool:
        try:
            driver.find_element(By.CSS_SELECTOR, place).click()
        except (NoSuchElementException, StaleElementReferenceException, ElementNotInteractableException):
            return False
        return True

    until(pressed, f"{place} can be clicked")


def violations(driver: webdriver.Chrome) -> list[str]:
    """What axe finds wrong, rule and place."""
    driver.execute_script(AXE.read_text())
    found = driver.execute_async_script("axe.run(document).then(arguments[arguments.length - 1])")["violations"]
    return [f"{v['id']}: {node['target']} {node.get('failureSummary', '')}" for v in found for node in v["nodes"]]


def complaints(driver: webdriver.Chrome) -> list[str]:
    """Errors that the page made."""
    return [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"]


def chat(gateway: Gateway, model: str = "asked-left", prompt: str = "hi", **more: Any) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
    httpx.post(f"{gateway.url}/chat/completions", json=body, trust_env=False, timeout=PATIENCE)


def played(driver: webdriver.Chrome, question: str) -> None:
    press(driver, "#duel")
    until(lambda: driver.find_elements(By.ID, "question"), "the duel begins")
    box = driver.find_element(By.ID, "question")
    box.clear()
    box.send_keys(question)
    press(driver, "#ask")
    until(lambda: driver.find_elements(By.ID, "reveal"), "both have answered")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("language", "place"), [("en", 0), ("zh-CN", 1)])
def test_every_page_says_what_it_is_and_hinders_nobody(
    gateway: Gateway, opened: Opening, language: str, place: int, dark: bool
) -> None:
    chat(gateway)
    driver = opened("well", language, dark=dark)
    for page, words in SAYS.items():
        driver.get(f"{gateway.admin}/console/#/{page}")
        until(lambda w=words: w[place] in text(driver), f"{page} says {words[place]}")
        if page == "play":
            press(driver, "#send")
            until(lambda: driver.find_elements(By.CSS_SELECTOR, "#out .four"), "the four columns")
        if page == "game":
            played(driver, ("Who are you?", "你是谁？")[place])
        if page == "now":
            press(driver, "#rows button")
            until(lambda: driver.find_elements(By.CSS_SELECTOR, "dialog[open] .time"), "one opened")
            assert violations(driver) == [], f"{page}, opened"
            press(driver, "dialog .main")
        assert violations(driver) == [], page
        assert driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
        driver.execute_script("window.scrollTo(0, 0)")
        driver.save_screenshot(str(PICTURES / f"{page}-{language[:2]}-{'dark' if dark else 'light'}.png"))
    assert complaints(driver) == []


def test_a_phone_shows_it_without_scrolling_sideways(gateway: Gateway, opened: Opening) -> None:
    chat(gateway, MARKUP)
    driver = opened("well", "zh-CN", "500,900")
    for page, words in SAYS.items():
        driver.get(f"{gateway.admin}/console/#/{page}")
        until(lambda w=words: w[1] in text(driver), page)
        wide = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], page


def test_language_and_colours_can_be_changed_and_stay(gateway: Gateway, opened: Opening) -> None:
    driver = opened("well")
    until(lambda: "All is well" in text(driver), "English")
    press(driver, "#language")
    until(lambda: "一切正常" in text(driver), "Chinese")
    driver.refresh()
    until(lambda: "一切正常" in text(driver), "still Chinese")


def test_the_keyboard_is_enough(opened: Opening) -> None:
    driver = opened("well")
    until(lambda: "All is well" in text(driver), "the page")
    seen = []
    for _ in range(8):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        seen.append(driver.switch_to.active_element.text)
    assert seen[0] == "Skip to content"
    assert {"Now", "Set up", "Blind game"} <= set(seen)


def test_markup_in_names_is_text_and_why_a_request_failed_is_said(gateway: Gateway, opened: Opening) -> None:
    chat(gateway, MARKUP)
    chat(gateway, "asked-left-unlucky", "[[sim:status=429]]")
    driver = opened("now")
    until(lambda: "<img src=x" in text(driver), "the name as text")
    assert driver.find_elements(By.TAG_NAME, "img") == []
    driver.find_element(By.ID, "text").send_keys("unlucky")
    until(lambda: len(driver.find_elements(By.CSS_SELECTOR, "#rows tr")) == 1, "one row is left")
    press(driver, "#rows button")
    dialog = until(lambda: driver.find_elements(By.CSS_SELECTOR, "dialog[open]"), "it opens")[0]
    assert "Too many requests" in dialog.text
    assert "First byte: 429" in dialog.text
    assert "PLANTED" not in driver.page_source


def test_what_the_vendor_was_sent_is_shown_with_its_key_masked(opened: Opening) -> None:
    driver = opened("play")
    press(driver, "#send")
    until(lambda: driver.find_elements(By.CSS_SELECTOR, "#out .four"), "the columns")
    columns = [c.text for c in driver.find_elements(By.CSS_SELECTOR, "#out .four pre")]
    assert len(columns) == 4
    sent, to_vendor, said, got = columns
    assert '"model": "asked-left"' in sent
    assert "multimodal-generation" in to_vendor
    assert '"model": "qwen3.8-flash"' in to_vendor
    assert "authorization: Bearer sk-…ft-1" in to_vendor
    assert '"output"' in said
    assert "[DONE]" in got
    assert "PLANTED" not in driver.page_source
    assert "x-ai-console" not in driver.page_source


def test_what_was_used_is_drawn_told_and_had_as_a_sheet(gateway: Gateway, opened: Opening) -> None:
    for model in ("asked-left", "asked-right", "asked-right"):
        chat(gateway, model)
    driver = opened("use")

    def same() -> list[Any]:
        """The page's rows are the store's, as soon as all is counted."""
        rows: list[Any] = httpx.get(
            f"{gateway.admin}/usage?by=client,model,provider", trust_env=False, timeout=PATIENCE
        ).json()["rows"]
        driver.refresh()
        until(lambda: table(driver, "#sums"), "the sums")
        shown = table(driver, "#sums")
        counted = {(row["model"], *(f"{row[name]:,}" for name in ("requests", "input", "output"))) for row in rows}
        return rows if counted <= {(c[0], c[2], c[4], c[6]) for c in shown} and len(rows) > 1 else []

    rows = until(same, "the page's sums are the store's")
    assert len(driver.find_elements(By.CSS_SELECTOR, "section svg rect, section svg path")) > 5
    assert driver.find_elements(By.CSS_SELECTOR, "section details table")
    sheet = httpx.get(str(driver.find_element(By.ID, "csv").get_attribute("href")), trust_env=False, timeout=PATIENCE)
    assert {",".join(line.split(",")[1:3]) for line in sheet.text.splitlines()[1:]} == {
        f"{row['model']},{row['provider']}" for row in rows
    }
    press(driver, "#period option[value=hour]")
    press(driver, "input[value=client]")
    until(lambda: all(len(cells) == 10 for cells in table(driver, "#sums")), "rows by model and provider only")


def table(driver: webdriver.Chrome, place: str) -> list[list[str]]:
    """The cells of each row at a place but for its first, at one moment: the page may be drawn anew at any."""
    rows = "[...document.querySelectorAll(arguments[0] + ' tr')]"
    script = f"return {rows}.map((row) => [...row.cells].slice(1).map((cell) => cell.innerText))"
    found: list[list[str]] = driver.execute_script(script, place)
    return found


def received(driver: webdriver.Chrome) -> str:
    """Everything that the browser got over the network: heads and bodies, and what the page is now."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    kept = [json.dumps(m["params"]) for m in messages if m["method"].startswith("Network.response")]
    for message in messages:
        if message["method"] == "Network.responseReceived":
            request = {"requestId": message["params"]["requestId"]}
            try:
                kept.append(driver.execute_cdp_cmd("Network.getResponseBody", request)["body"])
            except WebDriverException as error:  # a stream that was left early has none
                kept.append(str(error.msg))
    return "".join([*kept, driver.page_source])


@pytest.mark.parametrize("kind", ["duel", "dialogue"])
def test_a_whole_game_names_nobody_before_the_reveal(opened: Opening, kind: str) -> None:
    driver = opened("game", "zh-CN")
    until(lambda: driver.find_elements(By.ID, kind), "the lobby")
    if kind == "duel":
        played(driver, "你是谁？你叫什么？")
        assert "我是███" in text(driver)
    else:
        press(driver, f"#{kind}")
        until(lambda: driver.find_elements(By.ID, "reveal"), "they have talked")
        assert len(driver.find_elements(By.CSS_SELECTOR, "#rounds > div")) == 12
    press(driver, "#left")
    everything = received(driver)
    assert "begins" in everything or "face" in everything  # the bodies are among it
    for name in ("planted", "asked-", "way-left", "way-right", "qwen3", "kimi", "dashscope", "moonshot", "千问"):
        assert name not in everything.lower(), name
    for place, guess in enumerate(("通义千问", "kimi")):
        driver.find_element(By.ID, f"guess{place}").send_keys(guess)
    press(driver, "#reveal")
    until(lambda: driver.find_elements(By.ID, "revealed"), "the reveal")
    assert "planted-left" in text(driver)
    assert "kimi-k3.1-pro" in text(driver)
    driver.save_screenshot(str(PICTURES / f"revealed-{kind}.png"))


def test_all_files_together_are_small() -> None:
    files = list((ROOT / "extproc/console/static").iterdir())
    assert sum(path.stat().st_size for path in files) <= 150_000
    assert {path.suffix for path in files} <= {".html", ".css", ".js", ".svg"}
    for path in files:
        assert "http://" not in Path(path).read_text().replace("http://www.w3.org/2000/svg", "").replace(
            "http://HOST:PORT", ""
        ), path.name
