"""What a recipe is: every choice of a model and of its training, with the papers' defaults."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from xmr_lib.choices import Scale
from xmr_lib.cross_attention import Direction, Pooling, ScoreNorm
from xmr_lib.encoders.text import WordPooling
from xmr_lib.encoders.tree import Cell, Structure
from xmr_lib.losses import Negatives


@dataclass(frozen=True)
class Recipe:
    """What is trained and how; `get` builds it from a name and a scale.

    Attributes:
        name: As printed in the paper's tables.
        scale: "toy" and "laptop" shrink sizes and epochs; "paper" is the paper's own setting.
        avg_stages: Stages C1…C4 taken by average pooling.
        max_stages: Stages taken by max pooling.
        standardise: Features are standardised by the training set before they are joined.
        bidirectional: biGRU with summed final states, else a GRU's last state.
        word_pooling: How word embeddings join the GRU's context; None leaves them out.
        norm: "parts" as RFE eq. 6 prints it, "after" as the text beside it says.
        project_text: A fully connected layer follows the text features (VSE++ has none).
        word_dim: Size of a word embedding.
        rnn_dim: Size of a GRU state.
        joint_dim: Size of the joint space.
        attention: None compares one vector an image with one a caption; "t-i" lets words look at
            regions, "i-t" regions at words (SCAN; see `xmr_lib.cross_attention`).
        pooling: How SCAN's cosines become one score: "AVG", "LSE", "MAX" or "SUM".
        smooth: SCAN's λ1, inverse temperature of its attention.
        lse: SCAN's λ2, sharpness of "LSE".
        attention_norm: What happens to SCAN's products before the softmax.
        rich_words: SCAN-RFE joins word embeddings to the GRU's states: "project" maps both to the
            joint space by a layer, "regions" maps the regions to the size of both instead.
        self_attention: SMFEA and CVSE: regions, and words, become one vector by attention (SMFEA
            eqs. 1-4).
        attention_scale: "sqrt" divides that attention's products by the root of their size, as the
            work does that eq. 2 follows; "printed" does not.
        attend_raw: Attention looks at the regions as they came, before they are mapped.
        structure: SMFEA's seven places as a "tree", or as a "chain" or "linear" (SMFEA Table 7);
            None leaves the structured encoders out.
        cell: The tree's cell: "printed" as SMFEA eq. 10 stands, "child_sum" after Tai et al. 2015.
        node_dim: Size of a node's hidden state.
        node_input: "unit" scales what enters the tree to entries of size 1; "printed" takes it as
            it is.
        node_bias: "frequency" lets the node classifiers begin with the categories' frequencies,
            "printed" with PyTorch's own start.
        residual_text: The sentence's structured embedding also adds the sentence's own vector, as
            SMFEA's text says and eq. 14 does not.
        null: Empty or unknown places of a referral tree: "ignore" gives them no cross-entropy,
            "class" makes them a category of its own.
        n_fragments: Fragments in the dictionary, the most frequent ones.
        n_relations: Relations in the dictionary.
        tagger: Backend that tags words, see `xmr_lib.language.tagging`.
        parser: Backend that parses sentences, see `xmr_lib.language.parsing`.
        betas: Weights of instance, structured embedding and concepts (SMFEA eqs. 15 and 16; the
            paper's order is d, t, c).
        fusion: "unit" gives each part length one before it is weighted, so that a beta is a
            proportion; "printed" adds them as they are.
        ce_weight: Weight of the nodes' cross-entropy in SMFEA eq. 20.
        kl_weight: Weight of the divergence between the two trees in SMFEA eq. 20.
        node_reduction: Both are the "mean" over a batch's pairs, or their "sum".
        rank_weights: Weights of the triplet losses of the fused vectors, of the instances alone
            and of the concepts alone; CVSE trains all three.
        n_concepts: Consensus concepts: the most frequent nouns, adjectives and verbs, 7:2:1.
        concept_hidden: Size of the first layer of the graph over the concepts.
        concept_ratio: Share of a sentence's own concepts in its attention over them.
        concept_kl_weight: Weight of the divergence between both sides' attention over concepts.
        word_vectors: GloVe file with a vector for each concept; "" derives vectors from the
            training captions.
        concept_files: Folder of CVSE's own concept files; "" builds concepts from the training
            captions.
        transductive_labels: A test sentence's concepts are completed by those of similar test
            sentences, as CVSE does: it peeks at other test items.
        similarity: "cosine", or "order" for VSE++'s order embeddings.
        margin: `mg` of RFE eqs. 7 and 8.
        negatives: "hardest" in the batch, or "all".
        warmup_epochs: First epochs trained on all negatives, which keeps a run off the plateau.
        mask_same_image: An image's other captions in the batch are no negatives (the peers take
            them for negatives: False).
        epochs: Passes over the training captions.
        batch_size: Pairs in a batch.
        lr: Adam's learning rate at the start.
        lr_drop_every: The rate is multiplied by `lr_drop_factor` each time so many epochs end.
        lr_drop_factor: See `lr_drop_every`.
        grad_clip: Largest norm of the gradient of all parameters.
        vocabulary_threshold: Words rarer than this in the training captions become `<unk>`.
        finetune_epochs: Epochs of a second stage that trains the CNN too.
        finetune_lr: Learning rate of the second stage.
    """

    name: str
    scale: Scale = "paper"
    avg_stages: tuple[int, ...] = (4,)
    max_stages: tuple[int, ...] = ()
    standardise: bool = False
    bidirectional: bool = False
    word_pooling: WordPooling | None = None
    norm: Literal["parts", "after"] = "parts"
    project_text: bool = True
    word_dim: int = 300
    rnn_dim: int = 1024
    joint_dim: int = 1024
    attention: Direction | None = None
    pooling: Pooling = "AVG"
    smooth: float = 9.0
    lse: float = 6.0
    attention_norm: ScoreNorm = "clipped_l2norm"
    rich_words: Literal["project", "regions"] | None = None
    self_attention: bool = False
    attention_scale: Literal["sqrt", "printed"] = "sqrt"
    attend_raw: bool = False
    structure: Structure | None = None
    cell: Cell = "printed"
    node_dim: int = 128
    node_input: Literal["unit", "printed"] = "unit"
    node_bias: Literal["frequency", "printed"] = "frequency"
    residual_text: bool = False
    null: Literal["ignore", "class"] = "ignore"
    n_fragments: int = 1440
    n_relations: int = 247
    tagger: str = "hanta"
    parser: str = "chunk"
    betas: tuple[float, float, float] = (1.0, 0.0, 0.0)
    fusion: Literal["unit", "printed"] = "unit"
    ce_weight: float = 0.0
    kl_weight: float = 0.0
    node_reduction: Literal["mean", "sum"] = "mean"
    rank_weights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    n_concepts: int = 300
    concept_hidden: int = 512
    concept_ratio: float = 0.35
    concept_kl_weight: float = 0.0
    word_vectors: str = ""
    concept_files: str = ""
    transductive_labels: bool = False
    similarity: Literal["cosine", "order"] = "cosine"
    margin: float = 0.2
    negatives: Negatives = "hardest"
    warmup_epochs: int = 0
    mask_same_image: bool = True
    epochs: int = 36
    batch_size: int = 128
    lr: float = 2e-4
    lr_drop_every: int = 15
    lr_drop_factor: float = 0.1
    grad_clip: float = 2.0
    vocabulary_threshold: int = 4
    finetune_epochs: int = 0
    finetune_lr: float = 2e-5

    def to_json(self) -> dict[str, Any]:
        """Plain values for `run.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """Reads what `to_json` wrote; fields added since then take their defaults."""
        known = {field.name for field in fields(cls)}
        tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**{k: v for k, v in tuples.items() if k in known})

    @property
    def of_regions(self) -> bool:
        """Whether the model looks at regions, and not at features pooled over the image."""
        return self.attention is not None or self.self_attention

    @property
    def uses_concepts(self) -> bool:
        """Whether consensus concepts take part in the embedding or in a loss."""
        return self.betas[2] > 0 or self.rank_weights[2] > 0 or self.concept_kl_weight > 0

    def lr_at(self, epoch: int, start: float | None = None) -> float:
        """Learning rate of an epoch, the first being 0; `start` takes the place of `lr`.

        >>> [Recipe("RFE").lr_at(epoch) for epoch in (0, 14, 15)]
        [0.0002, 0.0002, 2e-05]
        """
        drops = epoch // self.lr_drop_every
        return (self.lr if start is None else start) * self.lr_drop_factor**drops

    @property
    def slug(self) -> str:
        """Folder name: the recipe's name, and a short hash when any value was overridden."""
        from xmr_lib.recipes.names import get  # names are made of recipes, not the reverse

        plain = self.name.replace("++", "pp").replace("=", "")
        slug = re.sub(r"[^a-z0-9.]+", "-", plain.lower()).strip("-")
        if self == get(self.name, self.scale):
            return slug
        changed = json.dumps(self.to_json(), sort_keys=True).encode()
        return f"{slug}-{hashlib.sha256(changed).hexdigest()[:8]}"
