"""The report page in a real browser, at desktop and phone width, light and dark: no console error, no
overflow; sorting, filtering, the metric switch and another baseline work; readable without scripts."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from results import report
from results.analysis import Analysis
from results.conftest import Json, failed, simulated, with_passes

selenium = pytest.importorskip(
    "selenium", reason="python3-selenium is not installed; scripts/setup installs it"
)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
)
SPEEDS = {"system": 1.0, "mimalloc": 0.7, "jemalloc": 0.9, "slow": 2.5, "null": 0.1}
ROWS = ["churn/threads:2", "larson/threads:2", "prodcons", "trace:a-real-program-with-a-long-name"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium or chromedriver is not installed; scripts/setup installs them")
    options: Any = Options()
    options.binary_location = chromium
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(service=Service(driver), options=options)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = simulated(SPEEDS, ROWS, 7, bounds=("null",))
    data["benchmarks"].append(failed(ROWS[0], "slow", 8, "killed by SIGSEGV\n" + "x" * 300))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.html(Analysis(with_passes(data))), encoding="utf-8")
    return path


def open_page(browser: Any, page: Path, width: int, dark: bool = False) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    for _ in range(200):
        if browser.execute_script("return document.documentElement.dataset.plot === 'ready'"):
            browser.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
            return
        time.sleep(0.05)
    raise AssertionError("the plot did not appear")


def column(browser: Any, metric: str, index: int) -> list[float]:
    """The ratios that a column of the heat map shows, from top to bottom."""
    cells = browser.find_elements(By.CSS_SELECTOR, f"table.heat[data-metric={metric}] tbody tr")
    return [float(line.find_elements(By.CSS_SELECTOR, "td b")[index - 1].text) for line in cells]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_no_error_and_no_overflow(browser: Any, page: Path, width: int, dark: bool) -> None:
    open_page(browser, page, width, dark)
    browser.execute_script("document.querySelectorAll('details').forEach((element) => (element.open = true))")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert (
        browser.execute_script("return document.querySelectorAll('#plot .scatterlayer .point').length") >= 4
    )
    assert browser.get_log("browser") == []
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 23, 27)") == dark


def test_sorting(browser: Any, page: Path) -> None:
    open_page(browser, page, 1280)
    heading = browser.find_elements(By.CSS_SELECTOR, "table.heat[data-metric=time] thead th button")[2]
    heading.click()
    rising = column(browser, "time", 2)
    assert rising == sorted(rising)
    heading.click()
    falling = column(browser, "time", 2)
    assert falling == sorted(falling, reverse=True)


def test_filter(browser: Any, page: Path) -> None:
    open_page(browser, page, 1280)
    browser.find_element(By.ID, "filter").send_keys("prod")
    lines = browser.find_elements(By.CSS_SELECTOR, "table.heat[data-metric=time] tbody tr")
    assert [line.get_attribute("data-row") for line in lines if line.is_displayed()] == ["prodcons"]


def test_metric_switch(browser: Any, page: Path) -> None:
    open_page(browser, page, 1280)
    shown = "return [...document.querySelectorAll('.heat-block:not([hidden])')].map((b) => b.dataset.metric)"
    assert browser.execute_script(shown) == ["time"]
    browser.find_element(By.CSS_SELECTOR, ".switch button[data-metric=memory]").click()
    assert browser.execute_script(shown) == ["memory"]


def test_another_baseline(browser: Any, page: Path) -> None:
    open_page(browser, page, 1280)
    assert set(column(browser, "time", 1)) == {1.0}
    choice: Any = Select(browser.find_element(By.ID, "baseline"))
    choice.select_by_value("mimalloc")
    assert all(1.3 < value < 1.6 for value in column(browser, "time", 1))
    names = [element.text for element in browser.find_elements(By.CSS_SELECTOR, ".base-name")]
    assert set(names) == {"mimalloc"}
    axis = browser.execute_script("return document.querySelector('#plot .xtitle').textContent")
    assert "mimalloc" in axis
    assert browser.get_log("browser") == []


def test_readable_without_scripts(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        text = browser.find_element(By.TAG_NAME, "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for words in ("leads", "0.7", "Memory", "mimalloc", "Distance to the bounds"):
        assert words in text


def test_every_plot_and_strip_has_a_text(browser: Any, page: Path) -> None:
    open_page(browser, page, 1280)
    assert (
        browser.execute_script("return document.querySelectorAll('[role=img]:not([aria-label])').length") == 0
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_curves_are_drawn(browser: Any, page: Path, width: int) -> None:
    open_page(browser, page, width)
    lines = "return document.querySelectorAll('#%s-plot .scatterlayer .trace').length"
    for plot, least in (("latency", 5), ("timeline", 6), ("scaling", 5)):
        assert browser.execute_script(lines % plot) >= least, plot
    call: Any = Select(browser.find_element(By.ID, "latency-call"))
    assert {option.text for option in call.options} == {"malloc", "free"}
    call.select_by_value("free")
    titles = "return document.querySelector('#latency-plot .xtitle').textContent"
    assert "one free" in browser.execute_script(titles)
    assert browser.get_log("browser") == []


def test_printing_shows_every_metric(browser: Any, page: Path, known: Json) -> None:
    open_page(browser, page, 1280)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        blocks = browser.find_elements(By.CSS_SELECTOR, ".heat-block")
        assert [block.is_displayed() for block in blocks] == [True, True, True]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
