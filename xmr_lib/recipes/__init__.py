"""Every row of the papers' tables as a recipe, under its printed name.

RFE's names are parsed by their own grammar, so that combinations which the paper never printed
work too: `avg-<stages>[-max-<stages>]-<GRU|BiGRU>[-emb-<avg|max>][ mg=<margin>]`, and
`SCAN[-RFE] <t-i|i-t> <AVG|LSE|MAX|SUM>` for models that compare regions with words. SMFEA's rows
are named, and `SMFEA [<beta_d>, <beta_t>, <beta_c>]` takes any weights.

Some rows are not trained but put together from trained ones: ensembles (`RFE-ensemble`, `A + B`)
and re-ranked results (`…-rerank`). `compose` takes such names apart.
"""

from xmr_lib.recipes.names import (
    COMPOSED,
    RERANK,
    SCALES,
    SCAN_SCALES,
    SCHEDULES,
    SMFEA_SCALES,
    TRANSDUCTIVE,
    Composition,
    compose,
    get,
    names,
)
from xmr_lib.recipes.recipe import Recipe, Scale
from xmr_lib.recipes.values import FIELDS

__all__ = [
    "COMPOSED",
    "FIELDS",
    "RERANK",
    "SCALES",
    "SCAN_SCALES",
    "SCHEDULES",
    "SMFEA_SCALES",
    "TRANSDUCTIVE",
    "Composition",
    "Recipe",
    "Scale",
    "compose",
    "get",
    "names",
]
