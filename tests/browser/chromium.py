"""A headless Chromium, and a page of it that waits on conditions and leaves evidence."""

from __future__ import annotations

import base64
import importlib.util
import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1",
)  # fmt: skip
EVIDENCE = Path(__file__).parents[2] / "build" / "browser"  # ignored by git
POLL = 0.2  # seconds


def missing(*packages: str) -> str | None:
    """Why there is no browser to test with, and what to do; None where there is one.

    Args:
        *packages: That the tests need besides selenium.
    """
    wanted = []
    if not all(importlib.util.find_spec(name) for name in ("selenium", *packages)):
        wanted.append('pip install -e ".[notebooks,tests]"')
    if not (_browser() and shutil.which("chromedriver")):
        wanted.append("apt-get install chromium chromium-driver")
    return f"no browser to test with: {' and '.join(wanted)}" if wanted else None


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def chromium(folder: Path, width: int = 1300, height: int = 1000) -> Iterator[Page]:
    """A new Chromium that knows nothing of earlier ones, and is gone afterwards.

    Args:
        folder: An empty folder for its profile.
        width: Of its window.
        height: Likewise.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _browser()
    for option in (*OPTIONS, f"--window-size={width},{height}", f"--user-data-dir={folder}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # the path is given, so that selenium does not look for a driver on the network
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(60)
    try:
        yield Page(driver)
    finally:
        driver.quit()


class Page:
    """What a browser shows now.

    Args:
        driver: Of selenium.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._console: list[str] = []

    def open(self, url: str) -> None:
        """Goes to another address, and waits for all of the page.

        On a busy machine the driver may come back while a long page is still being read.
        """
        self.driver.get(url)
        whole = "return document.readyState === 'complete'"
        self.wait(lambda: self.script(whole), f"{url} is loaded")

    @contextmanager
    def tab(self) -> Iterator[None]:
        """What is opened inside is opened in a tab of its own, which is closed afterwards."""
        first = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        try:
            yield
        finally:
            self.driver.close()
            self.driver.switch_to.window(first)

    def all(self, selector: str, inside: Any = None) -> list[Any]:
        """The elements of a CSS selector, in their order."""
        return (inside or self.driver).find_elements("css selector", selector)

    def script(self, source: str, *arguments: Any) -> Any:
        """What a JavaScript function body returns; promises are waited for."""
        return self.driver.execute_script(source, *arguments)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """The first true value of a condition.

        Args:
            condition: Asked again and again; elements that the page has just replaced, or that
                something covers, count as not yet.
            what: Is waited for, in words, for the message.
            seconds: How long.

        Raises:
            AssertionError: It stayed false; says where a picture of the page lies.
        """
        from selenium.common.exceptions import WebDriverException

        end, last = time.monotonic() + seconds, ""
        while True:
            try:
                value = condition()
            except WebDriverException as error:
                value, last = None, f" (last: {type(error).__name__}: {error.msg})"
            if value:
                return value
            if time.monotonic() > end:
                seen = self.evidence(what)
                raise AssertionError(f"after {seconds:g} s not yet: {what}{last}\n{seen}")
            time.sleep(POLL)

    def console(self) -> list[str]:
        """All that the page has written into its console so far."""
        log = self.driver.get_log("browser")
        self._console += [f"{entry['level']} {entry['message']}" for entry in log]
        return self._console

    def evidence(self, name: str) -> str:
        """Leaves a screenshot and the console in `build/browser/`, and says where."""
        EVIDENCE.mkdir(parents=True, exist_ok=True)
        safe = "".join(letter if letter.isalnum() else "-" for letter in name)[:80]
        picture, log = EVIDENCE / f"{safe}.png", EVIDENCE / f"{safe}.log"
        self.driver.save_screenshot(str(picture))
        log.write_text("\n".join(self.console()), encoding="utf-8")
        return f"the page: {picture}\nits console: {log}"

    def screenshot(self, element: Any, path: Path) -> None:
        """Saves what is seen of an element, in at most 256 colours."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(element.screenshot_as_png)) as taken:
            framed = ImageOps.expand(taken.convert("RGB"), 10, "white")
            framed.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def picture_of(page: Page, image: Any) -> bytes:
    """The bytes of the picture that an `<img>` shows, wherever they come from."""
    data = page.script(
        """const bytes = new Uint8Array(await (await fetch(arguments[0].src)).arrayBuffer());
        return btoa(Array.from(bytes, each => String.fromCharCode(each)).join(''))""",
        image,
    )
    return base64.b64decode(data)
