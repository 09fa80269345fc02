"""The console in a real browser, on a gateway whose vendors are simulated.

Rule: they run wherever Chromium and npm's axe-core can be had; where not they are skipped with the reason, or fail if
CONTAINERS=required, since they run beside the containers' tests (`make containers`).
"""

from collections.abc import Callable, Iterator
from functools import cache
import os
from pathlib import Path
import shutil
import subprocess

import pytest
from selenium import webdriver

from tests.contract import processes
from tests.contract.processes import ROOT, Gateway, environment

HERE = Path(__file__).parent
AXE = HERE / "node_modules/axe-core/axe.min.js"
PICTURES = ROOT / "build/console"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --force-device-scale-factor=1"
)

CONFIG = """\
providers:
- id: planted-left
  type: qwen
  apiTokens: [sk-sim-PLANTED-left-1]
  endpoint: SIMULATOR
  modelMapping: {asked-left: qwen3.8-flash, "*": qwen3.8-flash}
- id: planted-right
  type: moonshot
  apiTokens: [sk-sim-PLANTED-right-2]
  endpoint: SIMULATOR
  modelMapping: {asked-right: kimi-k3.1-pro}
routes:
- {name: way-left, match: {models: ["asked-left*"]}, provider: planted-left}
- {name: way-right, match: {models: [asked-right]}, provider: planted-right}
- {name: rest, provider: planted-left}
"""


@cache
def missing() -> str | None:
    """Why there is no browser test here."""
    if not (shutil.which("chromium") or shutil.which("google-chrome")) or not shutil.which("chromedriver"):
        return "there is no Chromium with its driver"
    if not AXE.exists():
        command = [shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=300, env=environment())
        except (subprocess.SubprocessError, OSError) as error:
            return f"npm could not fetch axe-core: {type(error).__name__}"
    return None


@pytest.fixture(scope="session", autouse=True)
def referees() -> None:
    if reason := missing():
        if os.environ.get("CONTAINERS") == "required":
            pytest.fail(f"CONTAINERS=required, but {reason}")
        pytest.skip(reason)
    PICTURES.mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="session")
def gateway(referees: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("console")
    with processes.simulator(directory / "simulator") as url:
        (directory / "gateway.yaml").write_text(CONFIG.replace("SIMULATOR", url))
        with processes.gateway(directory, "--config", str(directory / "gateway.yaml"), "--workers", "1") as running:
            yield running


Opening = Callable[..., webdriver.Chrome]


@pytest.fixture
def opened(gateway: Gateway, tmp_path: Path) -> Iterator[Opening]:
    """A browser of its own at a page: its language, window, and whether it is dark."""
    drivers: list[webdriver.Chrome] = []

    def made(page: str, language: str = "en", size: str = "1180,900", *, dark: bool = False) -> webdriver.Chrome:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
        for flag in (*FLAGS.split(), f"--window-size={size}", f"--user-data-dir={tmp_path}/{len(drivers)}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        drivers.append(driver)
        driver.execute_cdp_cmd("Network.enable", {"maxTotalBufferSize": 100_000_000})
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        driver.get(f"{gateway.admin}/console/#/{page}")
        return driver

    yield made
    for driver in drivers:
        driver.quit()
