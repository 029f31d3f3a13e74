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
tree                `xmr-tree-explorer`, `xmr-kind`, `xmr-item`, `xmr-tree-image`,
                    `xmr-tree-referral`, `xmr-tree-caption`
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
from collections.abc import Callable, Sequence
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
    """What displays itself in a notebook, as a picture at least."""

    @abstractmethod
    def picture(self) -> Picture:
        """What is chosen now, as a figure."""


class Still(Shown):
    """An explorer's first picture, where ipywidgets is not installed; says how to get it.

    Args:
        draw: Draws the picture.
        title: What it shows, in words.
    """

    def __init__(self, draw: Callable[[], Picture], title: str) -> None:
        self._draw, self.title = draw, title
        print(NOTE)  # a notebook shows the picture and none of the words below it

    def picture(self) -> Picture:
        """The picture."""
        return self._draw()

    def __repr__(self) -> str:
        return f"{self.title}. {NOTE}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/plain": repr(self), "image/png": _encoded(self.picture()._repr_png_())}


class Explorer(Shown):
    """Controls with a picture below them.

    Attributes:
        title: What it shows, in words, for readers that show neither widgets nor pictures.
        box: Everything, as one widget.
        message: Where errors and remarks appear.
        picture_box: The picture of the moment.
    """

    title: str
    box: Any
    message: Any
    picture_box: Any

    def _build(self, name: str, title: str, controls: Sequence[Any]) -> None:
        """Puts the controls above a message and the picture.

        Args:
            name: Class of the whole, such as "xmr-tree-explorer".
            title: See the attribute.
            controls: Widgets, from top to bottom.
        """
        widgets = find_ipywidgets()
        self.title = title
        self.message = tagged(widgets.HTML(), "xmr-message")
        self.picture_box = tagged(widgets.Image(format="png"), "xmr-picture")
        self.picture_box.layout.max_width = "100%"
        self.picture_box.layout.align_self = "flex-start"  # else it is blown up to the full width
        self.picture_box.layout.object_fit = "contain"
        self.box = tagged(
            widgets.VBox([*controls, self.message, self.picture_box]), "xmr-explorer", name
        )

    def draw(self) -> None:
        """Shows what is chosen now."""
        self.picture_box.value = self.picture()._repr_png_()

    def say(self, *lines: str) -> None:
        """Puts lines of plain text above the picture."""
        text = "<br>".join(html.escape(line) for line in lines)
        # ipywidgets gives each line the height of a control, which tears several lines apart.
        self.message.value = f'<div style="line-height: 1.4">{text}</div>' if lines[1:] else text

    def _tell(self, error: XMRError) -> None:
        self.say(str(error))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widget, and the picture of the moment for readers that show no widgets."""
        return {
            _VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id},
            "text/plain": self.title,
            "image/png": _encoded(self.picture_box.value),
        }


def tagged(control: Any, *names: str) -> Any:
    """The control, with CSS classes."""
    for name in names:
        control.add_class(name)
    return control


def beside(words: str, buttons: Any) -> Any:
    """A label at the left of toggle buttons, which show a label of their own above them."""
    widgets = find_ipywidgets()
    right = widgets.Layout(width="6em", display="flex", justify_content="flex-end")
    return widgets.HBox([widgets.Label(words, layout=right), buttons])


def _encoded(png: bytes) -> str:
    return base64.b64encode(png).decode()


class Turns:
    """Controls that set each other must not answer each other: one answer at a time.

    What a user changes during an answer is answered after it: JupyterLab may let several threads of
    a kernel hear the controls.

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
