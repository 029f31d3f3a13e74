"""What all explorers need: ipywidgets or a message, controls in turns, a picture as a stand-in."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from xmr_lib.errors import MissingDependencyError


def ipywidgets_or_error(instead: str) -> Any:
    """The package ipywidgets.

    Args:
        instead: What draws the same picture without it, for the message.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import ipywidgets
    except ImportError:
        raise MissingDependencyError(
            "The explorer needs ipywidgets: `pip install ipywidgets`, then restart the notebook. "
            f"Without it, {instead} draws the same picture."
        ) from None
    return ipywidgets


class Turns:
    """Controls that set each other must not answer each other: one answer at a time.

    >>> turns, heard = Turns(), []
    >>> second = turns(lambda: heard.append("second"))
    >>> first = turns(lambda: (heard.append("first"), second(None)))
    >>> first(None)
    >>> heard
    ['first']
    """

    def __init__(self) -> None:
        self._busy = False

    def __call__(self, changed: Callable[[], Any]) -> Callable[[Any], None]:
        """What a control is to call when its value changes, for `observe`."""

        def answer(_: Any) -> None:
            if self._busy:
                return
            self._busy = True
            try:
                changed()
            finally:
                self._busy = False

        return answer


def mime_bundle(box: Any, png: bytes, name: str, **options: Any) -> dict[str, Any]:
    """A widget, and the picture of the moment for readers that show no widgets.

    Args:
        box: The widget.
        png: The picture.
        name: In words, for readers that show neither.
        **options: Of `_repr_mimebundle_`.
    """
    shown = box._repr_mimebundle_(**options)
    bundle = dict(shown[0] if isinstance(shown, tuple) else shown)
    return {**bundle, "text/plain": name, "image/png": base64.b64encode(png).decode()}
