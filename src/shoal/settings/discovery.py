"""Settings of embed and cluster."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from shoal.settings.section import Section, Seed


class _Embedder(Section):
    """Settings of every embedder."""

    prefix: PositiveInt | None = Field(
        default=None,
        description="what of a row is embedded, and so decides its route: its first bytes, tokens "
        "or letters; of a flat row its first encoded features; of a picture what comes first on "
        "its first axis; null: all of it",
    )


class Identity(_Embedder):
    """The encoded tensors themselves, flattened."""

    method: Literal["identity"]


class _Components(_Embedder):
    """Settings that embedders by principal components share."""

    dims: PositiveInt = Field(
        description="components kept; fewer where the rows differ in fewer directions"
    )


class PCA(_Components):
    """Principal components of the training fold."""

    method: Literal["pca"]


class Counts(_Components):
    """Principal components of how often tokens, and pairs of neighbours, stand in a row of tokens.

    Square roots of counts, standardised. The encoder `tokens` makes such rows.
    """

    method: Literal["counts"]
    buckets: int = Field(
        ge=2,
        le=2048,
        description="counts of tokens, and as many of pairs, whose hashes share them; bytes have "
        "one each from 256 on",
    )
    fit_rows: PositiveInt = Field(description="training rows, at most, that it is fitted on")
    seed: Seed = Field(description="seed of the draw of those rows")


class _SelfSupervised(_Embedder):
    """Settings that SCARF and VICReg share."""

    dims: PositiveInt = Field(description="width of the embedding")
    width: PositiveInt = Field(description="width of hidden layers")
    depth: PositiveInt = Field(description="hidden layers of the encoder")
    projection: PositiveInt = Field(description="width of the projection that the loss sees")
    rows_seen: PositiveInt = Field(description="training budget, repeats counted")
    batch_size: PositiveInt = Field(description="rows per step")
    lr: PositiveFloat = Field(description="learning rate of Adam")
    seed: Seed = Field(description="seed of weights, order and augmentation")


class SCARF(_SelfSupervised):
    """Contrastive learning with random feature corruption (Bahri et al. 2022), for tables."""

    method: Literal["scarf"]
    corruption: float = Field(gt=0, lt=1, description="share of features replaced in a view")
    temperature: PositiveFloat = Field(description="temperature of InfoNCE")


class VICReg(_SelfSupervised):
    """Variance-invariance-covariance regularisation (Bardes et al. 2022), for images."""

    method: Literal["vicreg"]
    invariance: NonNegativeFloat = Field(description="weight of the invariance term")
    variance: NonNegativeFloat = Field(description="weight of the variance term")
    covariance: NonNegativeFloat = Field(description="weight of the covariance term")
    shift: NonNegativeFloat = Field(description="largest shift of a view, share of the image side")
    scale: NonNegativeFloat = Field(description="largest relative change of size of a view")
    noise: NonNegativeFloat = Field(description="standard deviation of a view's pixel noise")


Embed = Annotated[Identity | PCA | Counts | SCARF | VICReg, Field(discriminator="method")]


class _Assigner(Section):
    """Settings of every assigner."""

    trains_probes: ClassVar[bool] = False
    """Whether fitting it trains models, and so needs the base."""

    grows: ClassVar[bool] = True
    """Whether partitions can be added to it."""

    min_rows: PositiveInt = Field(
        description="training rows below which a partition is served by the base"
    )
    seed: Seed = Field(description="seed of the fit")
    route_by: str | None = Field(
        default=None,
        description="the column of kind group whose rows share a route, that of the row with the "
        "smallest key; null: each row has its own",
    )


class Bounded(_Assigner):
    """Assigners whose partitions are atoms merged within bounds."""

    lower: NonNegativeFloat = Field(description="fewest rows of a partition, of the mean")
    upper: PositiveFloat = Field(description="most rows of a partition, of the mean")
    fit_rows: PositiveInt = Field(description="training rows, at most, that it is fitted on")


class _Atoms(Bounded):
    """Assigners that merge atoms by where they lie."""

    partitions: PositiveInt | Literal["auto"] = Field(description="number of partitions")
    max_partitions: PositiveInt = Field(description="for 'auto': the most that are tried")

    @property
    def most_partitions(self) -> int:
        """Partitions that there may be at most."""
        return self.max_partitions if self.partitions == "auto" else self.partitions


class KMeansAtoms(_Atoms):
    """Atoms by k-means."""

    method: Literal["kmeans"]
    atoms: PositiveInt = Field(description="fine cells, many more than partitions")


class HDBSCANAtoms(_Atoms):
    """Atoms by HDBSCAN; a noise row goes to its nearest atom."""

    method: Literal["hdbscan"]
    min_cluster_size: PositiveInt = Field(description="smallest atom that HDBSCAN finds")


class _Probed(Bounded):
    """Assigners by k-means atoms that train probes: copies of the base, on partitions."""

    trains_probes: ClassVar[bool] = True

    atoms: PositiveInt = Field(description="fine cells, many more than partitions")
    share: float = Field(
        gt=0, lt=1, description="rows that all probes may see, of train_specialists.rows_seen"
    )


class LossAtoms(_Probed):
    """Atoms by k-means, merged by the losses of probes: each goes where its rows fare best."""

    method: Literal["loss"]
    partitions: PositiveInt = Field(description="number of partitions")
    rounds: PositiveInt = Field(description="times that probes are trained and atoms moved")
    loss_rows: PositiveInt = Field(
        description="training rows, at most, that a round takes the losses of"
    )

    @property
    def most_partitions(self) -> int:
        """Partitions that there may be at most."""
        return self.partitions


class AutoAtoms(_Probed):
    """The number of k-means partitions with which probes do best on validation rows."""

    method: Literal["auto"]
    partitions: list[PositiveInt] = Field(description="numbers that are tried, beside 1")
    confidence: NonNegativeFloat = Field(
        description="standard errors by which several partitions must be better than 1"
    )

    @property
    def most_partitions(self) -> int:
        """Partitions that there may be at most."""
        return max([1, *self.partitions])


class ColumnPartition(_Assigner):
    """An existing column is the partition; values not seen in training go to the base."""

    grows: ClassVar[bool] = False

    method: Literal["column"]
    column: str = Field(description="the column")
    max_partitions: PositiveInt = Field(description="most values that are accepted")

    @property
    def most_partitions(self) -> int:
        """Partitions that there may be at most."""
        return self.max_partitions


Cluster = Annotated[
    KMeansAtoms | HDBSCANAtoms | LossAtoms | AutoAtoms | ColumnPartition,
    Field(discriminator="method"),
]
