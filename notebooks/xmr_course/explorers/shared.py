"""What all explorers share: controls in turns, errors as messages, a picture as a stand-in.

Only ipywidgets' own controls are used, and pictures are PNG files in an `ipywidgets.Image`: no
other front-end extension is needed in JupyterLab, Notebook 7, VS Code or Colab (where ipywidgets is
7.7 until somebody installs a newer one; both do). A reader that shows no widgets (a saved notebook,
GitHub) sees the picture of the moment; where ipywidgets is not installed, an explorer is a `Still`.

Controls carry names as CSS classes, for tests in a browser and for a teacher's own styles:

=================== ============================================================================
explorer            classes
=================== ============================================================================
all                 `xmr-explorer` (whole), `xmr-message`, `xmr-picture`
retrieval           `xmr-retrieval-explorer`, `xmr-model`, `xmr-direction`, `xmr-sentence`,
                    `xmr-number`, `xmr-file`, `xmr-k`, `xmr-next-failure`, `xmr-random`
attention           `xmr-attention-explorer`, `xmr-image`, `xmr-caption`, `xmr-sentence`,
                    `xmr-word`, `xmr-region`
tree                `xmr-tree-explorer`, `xmr-kind`, `xmr-item`, `xmr-next`,
                    `xmr-tree-image`, `xmr-tree-referral`, `xmr-tree-caption`
re-ranking          `xmr-rerank-explorer`, `xmr-k1`, `xmr-k2`, `xmr-lambda`, `xmr-queries`,
                    `xmr-number`
ablation            `xmr-ablation-explorer`, `xmr-table`, `xmr-measured`, `xmr-metric`, `xmr-rows`
margin              `xmr-margin-playground`, `xmr-margin`, `xmr-point`, `xmr-angle`,
                    `xmr-negatives`, `xmr-step`, `xmr-collapse`, `xmr-reset`
=================== ============================================================================
"""

from __future__ import annotations

import base64
import html
from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import RLock
from typing import Any

from xmr_lib.errors import XMRError
from xmr_lib.figures import Picture

NOTE = "No controls without ipywidgets: `pip install ipywidgets`, then restart the notebook."
_VIEW = "application/vnd.jupyter.widget-view+json"
_ONE_THREAD = RLock()  # of all explorers: matplotlib's settings, too, are everybody's


def find_ipywidgets() -> Any | None:
    """The package ipywidgets, or None where it is not installed."""
    try:
        import ipywidgets
    except ImportError:
        return None
    return ipywidgets


class Shown(ABC):
    """An object that displays itself in a notebook, at least as a picture."""

    title: str
    alt: str = ""  # the picture in words, for readers who cannot see it

    @abstractmethod
    def picture(self) -> Picture:
        """What is chosen now, as a figure."""

    def _bundle(self, png: bytes, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A notebook's output: the picture, its words, and its alternative text."""
        data = {"text/plain": self.title, "image/png": _encoded(png), **more}
        return data, {"image/png": {"alt": self.alt or self.title}}


class Still(Shown):
    """An explorer's first picture, where ipywidgets is not installed; says how to get it.

    Args:
        draw: Draws the picture.
        title: What it shows, in words.
    """

    def __init__(self, draw: Callable[[], Picture], title: str) -> None:
        self._draw, self.title = draw, f"{title}. {NOTE}"
        print(NOTE)  # a notebook shows the picture and none of the words below it

    def picture(self) -> Picture:
        """The picture."""
        return self._draw()

    def __repr__(self) -> str:
        return self.title

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle(self.picture()._repr_png_())


class Explorer(Shown):
    """Controls with a picture beside them, or below them where the page is narrow.

    Attributes:
        title: What it shows, in words, for readers that show neither widgets nor pictures.
        box: Everything, as one widget.
        message: Where errors and remarks appear.
        picture_box: The picture of the moment.
        controls: Each with what is done when it is changed or pressed, by its CSS class.
    """

    box: Any
    message: Any
    picture_box: Any
    controls: dict[str, tuple[Any, Callable[[], Any]]]

    def _build(self, name: str, title: str, controls: dict) -> None:
        """Puts the controls beside a message and the picture.

        Args:
            name: Class of the whole, such as "tree-explorer".
            title: See the attribute.
            controls: See the attribute, from top to bottom; buttons in a row share a line.
        """
        widgets = find_ipywidgets()
        self.title, self.controls = title, controls
        lines: list[Any] = []
        for key, (control, _) in controls.items():
            tagged(control, f"xmr-{key}")
            if isinstance(control, widgets.Button | widgets.ToggleButton):
                control.layout.width = "auto"
                if not isinstance(lines[-1], widgets.HBox):
                    lines.append(widgets.HBox(layout=widgets.Layout(flex_flow="row wrap")))
                lines[-1].children += (control,)
            else:
                control.layout.width = "22em"
                control.style.description_width = "5em"
                lines.append(control)
        self.message = tagged(widgets.HTML(), "xmr-message")
        self.picture_box = tagged(widgets.Image(format="png"), "xmr-picture")
        self.picture_box.layout.max_width = "100%"
        self.picture_box.layout.max_height = "580px"  # a laptop's page without scrolling
        self.picture_box.layout.align_self = "flex-start"  # else it is blown up to the full width
        self.picture_box.layout.object_fit = "contain"
        still = {"overflow": "visible"}  # boxes that may scroll show their bars at all times
        left = widgets.VBox(lines, layout=widgets.Layout(flex="0 0 23em", **still))
        right = widgets.VBox(
            [self.message, self.picture_box],
            layout=widgets.Layout(flex="1 1 30em", min_width="0", **still),
        )
        whole = widgets.Layout(flex_flow="row wrap", align_items="flex-start", **still)
        self.box = tagged(widgets.HBox([left, right], layout=whole), "xmr-explorer", f"xmr-{name}")

    def _listen(self) -> None:
        """From now on the controls answer."""
        turns, widgets = Turns(self._tell), find_ipywidgets()
        for control, answer in self.controls.values():
            if isinstance(control, widgets.Button):
                control.on_click(turns(answer))
            else:
                control.observe(turns(answer), names="value")

    def draw(self) -> None:
        """Shows what is chosen now."""
        picture = self.picture()
        self.alt = f"{self.title}: {picture.get_suptitle()}"
        self.picture_box.value = picture._repr_png_()

    def say(self, *lines: str) -> None:
        """Puts lines of plain text above the picture."""
        text = "<br>".join(html.escape(line) for line in lines)
        # ipywidgets gives each line the height of a control, which tears several lines apart.
        self.message.value = f'<div style="line-height: 1.4">{text}</div>' if lines[1:] else text

    def _tell(self, error: XMRError) -> None:
        self.say(str(error))

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and the picture of the moment for readers that show no widgets."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        return self._bundle(self.picture_box.value, **{_VIEW: view})


def tagged(control: Any, *names: str) -> Any:
    """The control, with CSS classes."""
    for name in names:
        control.add_class(name)
    return control


def _encoded(png: bytes) -> str:
    return base64.b64encode(png).decode()


class Turns:
    """One answer at a time: a control that is set by an answer does not cause another one.

    What a user changes meanwhile is answered afterwards, because JupyterLab may let several threads
    of a kernel hear the controls.

    Args:
        tell: Takes an error that a user can act on; None lets it pass.

    >>> turns, heard = Turns(), []
    >>> second = turns(lambda: heard.append("second"))
    >>> first = turns(lambda: (heard.append("first"), second(None)))
    >>> first(None)
    >>> heard
    ['first']
    """

    def __init__(self, tell: Callable[[XMRError], None] | None = None) -> None:
        self._busy, self._tell = False, tell

    def __call__(self, changed: Callable[[], Any]) -> Callable[[Any], None]:
        """What a control is to call when its value changes, for `observe` and `on_click`."""

        def answer(_: Any) -> None:
            with _ONE_THREAD:
                if self._busy:  # set by an answer, in its own thread
                    return
                self._busy = True
                try:
                    changed()
                except XMRError as error:
                    if self._tell is None:
                        raise
                    self._tell(error)
                finally:
                    self._busy = False

        return answer
