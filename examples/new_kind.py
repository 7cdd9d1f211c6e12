"""Says what a kind of data that came later has cost, and what it has gained.

python -m examples.new_kind EXPERIMENT FILE: asks the pools of the last two releases about the test
rows of today, those of the file that came and the others.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import shoal
from shoal.explore.query.database import Database
from shoal.explore.query.results import Results

TRUST = ["examples.next_byte"]
COST = """
SELECT sum(flops) FILTER (WHERE job <> 'ask'), sum(flops) FILTER (WHERE job = 'ask'), sum(seconds)
FROM training_runs, (SELECT max(published) AS published FROM releases WHERE NOT current)
WHERE job NOT LIKE 'evaluate%' GROUP BY ended > published ORDER BY ended > published
"""


def main(experiment: str, file: str) -> None:
    """Print losses before and after, and the cost of what ran since the release before."""
    results = Path("results", experiment)
    database = Database(Results(results))

    def ask(sql: str) -> pd.DataFrame:
        answer = database.ask(sql)
        return pd.DataFrame(list(answer.rows), columns=answer.columns)

    pools = ask("SELECT pool FROM releases ORDER BY number")["pool"]
    if len(pools) == 1:
        sys.exit(f"{experiment} has one release; nothing has changed yet")
    rows = ask("SELECT document, text FROM rows WHERE fold = 'test'")
    is_new = rows["document"].isin(pd.read_parquet(file, columns=["document"])["document"])
    before, after = (
        shoal.load(results / pool, trust=TRUST).predict(rows)["loss"].to_numpy()
        for pool in pools[-2:]
    )
    table = Table("test rows", "rows", "loss before", "loss after")
    for name, these in ((f"of {Path(file).name}", is_new), ("all others", ~is_new)):
        means = (f"{np.mean(losses[these]):.3f}" for losses in (before, after))
        table.add_row(name, f"{these.sum():,}", *means)
    cost = Table("cost, without baselines", "training", "answers for the gate", "these jobs")
    for name, (training, answers, seconds) in zip(
        ("of all before", "of the change"), ask(COST).to_numpy(), strict=True
    ):
        flops = (f"{each / 1e9:.1f} GFLOP" for each in (training, answers))
        cost.add_row(name, *flops, f"{seconds:.0f} s")
    console = Console(width=80)
    console.print(table, cost)


if __name__ == "__main__":
    main(*sys.argv[1:])
