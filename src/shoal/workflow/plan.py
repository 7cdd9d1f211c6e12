"""The plan of one experiment: its ids, its shards, and which files a job takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import SourceError
from shoal.files import read_json, write_json
from shoal.grid import points
from shoal.hashing import canonical_json, settings_id
from shoal.settings.compose import as_list, compose
from shoal.workflow.code import code_digest
from shoal.workflow.shards import name_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shoal.settings import Section, Settings
    from shoal.settings.data import ArraySource

_NONE = "none"


class Plan:
    """Ids, paths and inputs of an experiment's files.

    Attributes:
        settings: The experiment's settings.
        root: Its results folder.
        folder: Its generation's folder.
        logs: Folder of its jobs' logs.
        ids: Identity of each stage's settings and of everything upstream.
        grid: Grid points by id.
        shards: Source files by shard name.
    """

    def __init__(
        self, config: Mapping[str, Any], config_folder: Path, dry_run: Callable[[], bool]
    ) -> None:
        """Compose settings and look at the source files.

        Args:
            config: Snakemake's ``config``: ``experiment`` and ``overrides``.
            config_folder: The folder of Hydra config groups.
            dry_run: Whether only a plan is asked for; Snakemake knows once it builds the DAG.

        Raises:
            SettingsError: The settings do not compose.
            SourceError: There are no source files.
        """
        overrides = as_list(config.get("overrides", []))
        self.settings = compose(config_folder, config.get("experiment", "demo"), overrides)
        self._dry_run = dry_run
        self.root = Path("results") / self.settings.name
        self.folder = self.root / f"g{self.settings.generation}"
        self.logs = Path("logs") / self.settings.name
        self.grid = points(self.settings.grid, self.settings.model, self.settings.train_specialists)
        self.ids = _ids(self.settings, list(self.grid))
        self.shards = self._shards()

    def text(self, section: str) -> str:
        """One section of the settings as the JSON text that a command takes."""
        return canonical_json(getattr(self.settings, section).as_json())

    def sources_text(self) -> str:
        """The sources, each with its folder, as JSON text."""
        return canonical_json(self.settings.sources.in_folder().as_json())

    def code(self, module: str) -> str:
        """Digest of the code behind a stage's command."""
        return code_digest(module)

    def model_code(self, module: str) -> str:
        """Digest of the code behind a command that uses the model, the user's file included."""
        from shoal.targets import target_file

        file = target_file(self.settings.model.target)
        return code_digest(module, *([file] if file else []))

    def unfitted(self, stage: str, *files: str) -> str:
        """Pattern of the stage's ids whose fitted ``files`` are not all there yet.

        A generation's fits are frozen: once its files exist no rule makes them again, so
        neither new data nor new code refits them.
        """
        folder = self.folder / stage / self.ids[stage]
        fitted = all((folder / name).exists() for name in files)
        return _NONE if fitted else self.ids[stage]

    def frozen(self, stage: str, name: str) -> Path:
        """A fitted file of the generation."""
        return self.folder / stage / self.ids[stage] / name

    def rows(self, stage: str) -> list[Path]:
        """The rows of every shard after a stage."""
        return [self.shard_rows(stage, shard) for shard in self.shards]

    def shard_rows(self, stage: str, shard: str) -> Path:
        """The rows of one shard after a stage."""
        suffix = "parquet" if stage in ("split", "transform") else "zarr.zip"
        return self.folder / stage / self.ids[stage] / "rows" / f"{shard}.{suffix}"

    def source(self, shard: str) -> Path:
        """The source file of a shard."""
        return self.shards[shard][0]

    def arrays(self, shard: str) -> str:
        """Array names of an NPZ source as JSON text; ``null`` for other sources."""
        arrays = self.shards[shard][1]
        return canonical_json(arrays.arrays if arrays else None)

    def point(self, identity: str) -> str:
        """A grid point as JSON text."""
        return canonical_json(self.grid[identity])

    def grid_text(self) -> str:
        """Every grid point by id, as JSON text."""
        return canonical_json(self.grid)

    def summaries(self) -> list[Path]:
        """The summary of every shard's assignment."""
        folder = self.folder / "cluster" / self.ids["cluster"] / "summary"
        return [folder / f"{shard}.json" for shard in self.shards]

    def shard_pattern(self) -> str:
        """Pattern that matches the shards and nothing else."""
        return "|".join(re.escape(shard) for shard in self.shards)

    # After the index ------------------------------------------------------------------------

    def index(self, checkpoint: Any) -> dict[str, Any]:  # noqa: ANN401 - Snakemake's own object
        """Content of the partition index, or placeholders while a dry run has none.

        Asking the checkpoint makes Snakemake wait for it and plan what follows afterwards.
        """
        path = self.frozen("cluster", "index.json")
        if self._dry_run() and not path.exists():
            return _placeholders(self.settings)
        experiment = {"experiment": self.settings.name, "generation": self.folder.name}
        checkpoint.get(**experiment, cluster_id=self.ids["cluster"])
        content: dict[str, Any] = read_json(path)
        return content

    def specialist(self, digest: str, point: str) -> Path:
        """Folder of one specialist."""
        return self.folder / "specialists" / self.ids["specialists"] / digest / point

    def specialists(self, index: Mapping[str, Any], name: str) -> list[Path]:
        """A file of every specialist of every grid point."""
        return [
            self.specialist(entry["digests"]["train"], point) / name
            for entry in index["partitions"]
            if entry["trained"]
            for point in self.grid
        ]

    def points_of(self, digest: str) -> list[Path]:
        """Weights of one partition's specialists, one a grid point."""
        return [self.specialist(digest, point) / "model.safetensors" for point in self.grid]

    def choices(self, index: Mapping[str, Any]) -> list[Path]:
        """The choice of grid point of every trained partition."""
        folder = self.folder / "choices" / self.ids["choices"]
        return [
            folder / entry["digests"]["train"] / f"{entry['digests']['validation']}.json"
            for entry in index["partitions"]
            if entry["trained"]
        ]

    def router(self, index: Mapping[str, Any], name: str) -> Path:
        """A file of the router for the index's training and validation rows."""
        return self.frozen("router", index["root"]["fit"]) / name

    def pool(self, index: Mapping[str, Any], name: str) -> Path:
        """A file of the pool for the index's training and validation rows."""
        return self.frozen("pool", index["root"]["fit"]) / name

    def evaluation(self, index: Mapping[str, Any], name: str) -> Path:
        """A file of the evaluation for the index's rows of all folds."""
        return self.frozen("evaluate", index["root"]["all"]) / name

    def pool_ledgers(self, checkpoint: Any) -> list[Path]:  # noqa: ANN401 - Snakemake's object
        """Ledgers of all that the pool's making costs, routing included."""
        index = self.index(checkpoint)
        return [
            self.frozen("embed", "ledger.json"),
            self.frozen("cluster", "ledger.json"),
            self.frozen("base", "ledger.json"),
            *self.specialists(index, "ledger.json"),
            *self.choices(index),
            self.router(index, "ledger.json"),
        ]

    def targets(self, checkpoint: Any) -> list[Path]:  # noqa: ANN401 - Snakemake's object
        """Everything after the index that a complete run has made."""
        index = self.index(checkpoint)
        return [
            *self.specialists(index, "model.safetensors"),
            *self.choices(index),
            self.router(index, "router.safetensors"),
            self.pool(index, "manifest.json"),
            self.evaluation(index, "metrics.json"),
            self.root / "metrics.json",
            self.root / "pool" / "manifest.json",
        ]

    @property
    def settings_file(self) -> Path:
        """Where the resolved settings are written, next to the results."""
        return self.root / "settings.json"

    def write_settings(self) -> None:
        """Write the resolved settings, if they are not there already."""
        path = self.settings_file
        content = self.settings.as_json()
        if not path.exists() or read_json(path) != content:
            write_json(path, content)

    def _shards(self) -> dict[str, tuple[Path, ArraySource | None]]:
        from shoal.demo import DEMO_FOLDER, DEMO_SHARDS
        from shoal.sources.readers import expand

        try:
            sources = expand(self.settings.sources.in_folder().files)
        except SourceError:
            if self.settings.sources.folder != DEMO_FOLDER or any(Path(DEMO_FOLDER).glob("*")):
                raise
            return {name: (Path(DEMO_FOLDER, f"{name}.parquet"), None) for name in DEMO_SHARDS}
        return name_shards(sources, self.root / ".source-hashes.json")

    @property
    def demo_is_missing(self) -> bool:
        """Whether the demo's source files have yet to be made."""
        return not any(path.exists() for path, _ in self.shards.values())


def _ids(settings: Settings, grid: list[str]) -> dict[str, str]:
    """Identity of each stage's settings, chained: equal up to a stage means equal files."""

    def section(*sections: Section) -> list[Any]:
        return [part.as_json() for part in sections]

    columns = settings.sources.as_json()
    del columns["folder"], columns["files"], columns["batch_rows"]
    ids = {"split": settings_id(columns, *section(settings.split))}
    ids["transform"] = settings_id(ids["split"], *section(settings.transform))
    ids["encode"] = settings_id(ids["transform"], *section(settings.encode, settings.compute))
    ids["embed"] = settings_id(ids["encode"], *section(settings.embed))
    ids["cluster"] = settings_id(ids["embed"], *section(settings.cluster))
    ids["base"] = settings_id(ids["encode"], *section(settings.model, settings.train_specialists))
    ids["specialists"] = settings_id(ids["cluster"], ids["base"])
    ids["choices"] = settings_id(ids["specialists"], sorted(grid))
    ids["router"] = settings_id(ids["choices"], *section(settings.train_router))
    ids["pool"] = ids["router"]
    ids["baselines"] = settings_id(ids["router"], settings.evaluate.seed)
    ids["evaluate"] = settings_id(ids["baselines"], *section(settings.evaluate))
    return ids


def _placeholders(settings: Settings) -> dict[str, Any]:
    """An index with as many partitions as the settings allow, for planning without data."""
    cluster = settings.cluster
    asked = getattr(cluster, "partitions", "auto")
    count = cluster.max_partitions if asked == "auto" else int(asked)
    partitions = [
        {
            "partition": number,
            "trained": True,
            "digests": {"train": f"partition-{number}", "validation": f"partition-{number}"},
        }
        for number in range(count)
    ]
    return {"partitions": partitions, "root": {"fit": "planned", "all": "planned"}}
