"""Settings of embed and cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from shoal.settings.section import Section


class Identity(Section):
    """The encoded tensors themselves, flattened."""

    method: Literal["identity"]


class PCA(Section):
    """Principal components, fitted incrementally."""

    method: Literal["pca"]
    dims: PositiveInt = Field(
        description="components kept; all of them where there are fewer features"
    )


class _SelfSupervised(Section):
    """What SCARF and VICReg share."""

    dims: PositiveInt = Field(description="width of the embedding")
    width: PositiveInt = Field(description="width of hidden layers")
    depth: PositiveInt = Field(description="hidden layers of the encoder")
    projection: PositiveInt = Field(description="width of the projection that the loss sees")
    rows_seen: PositiveInt = Field(description="training budget, repeats counted")
    batch_size: PositiveInt = Field(description="rows a step")
    lr: PositiveFloat = Field(description="learning rate of Adam")
    seed: int = Field(description="seed of weights, order and augmentation")


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


Embed = Annotated[Identity | PCA | SCARF | VICReg, Field(discriminator="method")]


class _Assigner(Section):
    """What every assigner has."""

    min_rows: PositiveInt = Field(
        description="training rows below which a partition is served by the base"
    )
    seed: int = Field(description="seed of the fit")


class _Atoms(_Assigner):
    """Assigners that merge atoms into balanced partitions."""

    partitions: PositiveInt | Literal["auto"] = Field(description="number of partitions")
    max_partitions: PositiveInt = Field(description="for 'auto': the most that are tried")
    lower: NonNegativeFloat = Field(description="fewest rows of a partition, of the mean")
    upper: PositiveFloat = Field(description="most rows of a partition, of the mean")
    fit_rows: PositiveInt = Field(description="training rows, at most, that atoms are fitted on")


class KMeansAtoms(_Atoms):
    """Atoms by k-means."""

    method: Literal["kmeans"]
    atoms: PositiveInt = Field(description="fine cells, many more than partitions")


class HDBSCANAtoms(_Atoms):
    """Atoms by HDBSCAN; a noise row goes to its nearest atom."""

    method: Literal["hdbscan"]
    min_cluster_size: PositiveInt = Field(description="smallest atom that HDBSCAN finds")


class ColumnPartition(_Assigner):
    """An existing column is the partition; values not seen in training go to the base."""

    method: Literal["column"]
    column: str = Field(description="the column")
    max_partitions: PositiveInt = Field(description="most values that are accepted")


Cluster = Annotated[KMeansAtoms | HDBSCANAtoms | ColumnPartition, Field(discriminator="method")]
