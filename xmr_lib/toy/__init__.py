"""The toy scenes: drawn pictures with captions and ground truth, as an ordinary folder of data."""

from xmr_lib.toy.folder import VERSION, contact_sheet, draw, scenes

__all__ = ["VERSION", "contact_sheet", "draw", "scenes"]
