"""A notebook that is open in JupyterLab or Notebook 7, and the explorers in its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from browser.chromium import Page, picture_of
from browser.server import Server

LAB, NOTEBOOK_7 = "doc/tree", "notebooks"
CODE = ".jp-Notebook .jp-CodeCell"
STDERR = ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']"


class Notebook:
    """Opens a notebook and waits until it can be run.

    Args:
        page: Where.
        server: Which serves it.
        path: Of the notebook, below the server's folder.
        kind: `LAB` or `NOTEBOOK_7`.
    """

    def __init__(self, page: Page, server: Server, path: str, kind: str = LAB) -> None:
        self.page, self._ready = page, lambda: server.ready(path)
        page.open(server.address(kind, path))
        page.wait(lambda: page.all(CODE), f"{path} is shown", 120)

    def run_all(self, seconds: float = 240) -> None:
        """Runs all cells through the menu, and waits for the last one.

        Raises:
            AssertionError: A cell failed, or it took too long.
        """
        page = self.page
        idle = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
        page.wait(lambda: self._ready() and page.all(idle), "the kernel is idle", 120)
        self.menu("Run", "Run All Cells")
        page.wait(self._finished, "all cells are run", seconds)

    def menu(self, name: str, entry: str) -> None:
        """Chooses an entry of a menu of the menu bar with the mouse."""
        page = self.page
        for selector, text in (
            (".lm-MenuBar-itemLabel", name),
            (".lm-Menu-itemLabel", entry),
        ):

            def clicked(selector: str = selector, text: str = text) -> bool:
                for found in page.all(selector):
                    if found.text == text:
                        found.click()
                        return True
                return False

            page.wait(clicked, f"the menu's {text!r}")

    def _finished(self) -> bool:
        """Whether every code cell has its number; a traceback ends the test at once."""
        for written in self.page.all(STDERR):
            if "Traceback (most recent call last)" in written.text:
                seen = self.page.evidence("a cell fails")
                raise AssertionError(f"a cell fails: {written.text[-1500:]}\n{seen}")
        numbers = [prompt.text for prompt in self.page.all(f"{CODE} .jp-InputPrompt")]
        return all(any(letter.isdigit() for letter in number) for number in numbers)

    def cell(self, number: int) -> Any:
        """A code cell by its number, scrolled to where it can be seen."""
        cell = self.page.all(CODE)[number]
        self.page.script("arguments[0].scrollIntoView({block: 'start'})", cell)
        return cell

    def explorer(self, number: int) -> Explorer:
        """The explorer in the output of a code cell, once its picture is shown."""
        explorer = Explorer(self.page, self.cell(number))
        self.page.wait(explorer.picture, f"cell {number} shows an explorer with a picture")
        return explorer


class Explorer:
    """Controls and a picture; a control is found by the class that the library gives it.

    Args:
        page: That shows it.
        cell: Whose output it is.
    """

    def __init__(self, page: Page, cell: Any) -> None:
        self.page, self._cell = page, cell

    @property
    def box(self) -> Any:
        """All of it, without the cell's source."""
        return self.page.all(".xmr-explorer", self._cell)[0]

    def picture(self) -> bytes:
        """The bytes of its picture; none as long as there is no picture."""
        images = self.page.all("img.xmr-picture", self._cell)
        drawn = "const i = arguments[0]; return i.complete && i.naturalWidth > 0"
        if not images or not self.page.script(drawn, images[0]):
            return b""
        return picture_of(self.page, images[0])

    @contextmanager
    def becomes(self, picture: Any) -> Iterator[None]:
        """What is done inside must turn the picture into another one, to the last byte.

        Args:
            picture: What it becomes, as the library draws it.
        """
        expected, before = picture._repr_png_(), self.picture()
        assert expected != before, "this picture is shown already: it would show nothing"
        yield
        self.page.wait(lambda: self.picture() == expected, "the picture that the library draws")

    def control(self, name: str) -> Any:
        """The control of a name, scrolled to where it can be seen."""
        found = self.page.all(f".xmr-{name}", self._cell)
        assert len(found) == 1, f"{len(found)} controls {name}\n{self.page.evidence(name)}"
        self.page.script("arguments[0].scrollIntoView({block: 'nearest'})", found[0])
        return found[0]

    def message(self) -> str:
        """What is said above the picture."""
        return self.control("message").text

    def says(self, text: str) -> None:
        """Waits until that is a line of the message."""
        self.page.wait(lambda: text in self.message().splitlines(), f"the message {text!r}")

    def _field(self, name: str) -> Any:
        return self.page.all("input, textarea, select", self.control(name))[0]

    def type(self, name: str, text: str) -> None:
        """Writes into a field, instead of what stands there, and presses Enter."""
        from selenium.webdriver.common.keys import Keys

        field = self._field(name)
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)

    def value(self, name: str) -> str:
        """What stands in a field, or is chosen in a list."""
        field = self._field(name)
        chosen = "const s = arguments[0]; return s.tagName === 'SELECT' ? "
        return self.page.script(f"{chosen} s.selectedOptions[0]?.text ?? '' : s.value", field)

    def options(self, name: str) -> list[str]:
        """What a list offers."""
        return [option.text for option in self.page.all("option", self.control(name))]

    def choose(self, name: str, *options: str) -> None:
        """Chooses from a list: one option, or several of a list that takes several."""
        from selenium.webdriver.support.select import Select

        select = Select(self._field(name))
        if select.is_multiple:
            select.deselect_all()
        for option in options:
            select.select_by_visible_text(option)

    def press(self, name: str, text: str | None = None) -> None:
        """Clicks a button, or the one with that text in a row of buttons."""
        control = self.control(name)
        buttons = [control] if control.tag_name == "button" else self.page.all("button", control)
        (button,) = [each for each in buttons if text is None or each.text == text]
        button.click()

    def buttons(self, name: str) -> list[str]:
        """The texts of a row of buttons."""
        return [button.text for button in self.page.all("button", self.control(name))]

    def pressed(self, name: str) -> list[str]:
        """Those of a row of buttons that are down."""
        return [button.text for button in self.page.all("button.mod-active", self.control(name))]

    def slide(self, name: str, steps: int) -> None:
        """Moves a slider by some steps, to the right or (below zero) to the left."""
        from selenium.webdriver.common.keys import Keys

        handle = self.page.all(".noUi-handle", self.control(name))[0]
        handle.click()
        handle.send_keys((Keys.ARROW_RIGHT if steps > 0 else Keys.ARROW_LEFT) * abs(steps))
