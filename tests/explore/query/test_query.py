"""Questions in SQL about a finished experiment, and what they may not do."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from shoal.errors import CorruptError, ShoalError
from shoal.explore.query.database import Database, QueryError
from shoal.explore.query.results import Results
from shoal.explore.query.tables import TABLES
from shoal.formats.fitted_state import load_state, save_state
from tests.workflow.small import nudge_training_rows

DOCUMENT = Path(__file__).parents[3] / "docs" / "query.md"
SHOWN = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
WRONG, WORSE, _, SHARED, UPSTREAM = SHOWN[:5]


def ask(experiment, sql):
    """Rows of an answer as dicts."""
    answer = Database(Results(experiment.folder / "results" / "tiny")).ask(sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def predictions(experiment):
    """The evaluation's table, read by pandas; there is one evaluation."""
    (path,) = experiment.generation.glob("evaluate/*/*/predictions.parquet")
    return pd.read_parquet(path)


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"prequential_partitions", "instances"}))
def test_every_table_has_rows_and_the_columns_it_is_listed_with(finished, name):
    """What the listing says of a table is what a query gets."""
    found = ask(finished, f"SELECT * FROM {name}")

    assert found
    assert list(TABLES[name].columns) == list(found[0])[: len(TABLES[name].columns)]


@pytest.mark.parametrize("sql", SHOWN)
def test_every_query_of_the_documentation_runs(finished, sql):
    """What the page shows can be typed."""
    ask(finished, sql)


def test_rows_that_the_generalist_alone_gets_right_are_found(finished):
    """The query of the documentation finds what pandas finds in the file."""
    table = predictions(finished)
    wrong = table[(table["pool_top1_correct"] == 0) & (table["generalist_correct"] == 1)]

    found = ask(finished, WRONG)

    assert sorted(row["key"] for row in found) == sorted(key.hex() for key in wrong["key"])
    assert {row["shard"] for row in found} <= {path.stem for path in shards(finished)}


def shards(experiment):
    return list(experiment.generation.glob("split/*/rows/*/*.parquet"))


def test_partition_scores_add_up_to_the_score(finished):
    """Errors of the partitions, weighted by their rows, give the accuracy in metrics.json."""
    sql = """SELECT contender, sum(rows * error) / sum(rows) AS error
             FROM partition_scores GROUP BY contender"""

    found = {row["contender"]: row["error"] for row in ask(finished, sql)}

    metrics = finished.metrics()
    scores = {name: 1 - metrics[name]["score"] for name in found}
    assert found == pytest.approx(scores)
    assert set(found) == {row["contender"] for row in ask(finished, "FROM evaluations")}


def test_partitions_that_got_worse_are_those_since_the_data_changed(copied):
    """The release before the change is compared with the current one, partition by partition."""
    before = predictions(copied)
    assert ask(copied, WORSE) == []
    nudge_training_rows(copied, 20)
    copied.run()

    found = {row["partition"]: row["error"] - row["error_before"] for row in ask(copied, WORSE)}

    (now,) = (
        table
        for path in copied.generation.glob("evaluate/*/*/predictions.parquet")
        if not (table := pd.read_parquet(path)).equals(before)
    )
    rise = errors(now) - errors(before)
    assert found == pytest.approx(rise[rise > 0].to_dict())
    releases = ask(copied, "SELECT number, current FROM releases")
    assert releases == [{"number": 1, "current": False}, {"number": 2, "current": True}]


def errors(table):
    return 1 - table.groupby("partition")["pool_top1_correct"].mean()


def test_specialists_that_share_a_layer_are_found_by_its_bits(finished, tmp_path):
    """One with another's first layer shares that layer and no other, whatever else it holds."""
    folder = copy_of(finished, tmp_path)
    one, other = sorted(folder.glob("g1/specialists/*/*/*/*/model.safetensors"))[:2]
    tensors, meta = load_state(one)
    others, others_meta = load_state(other)
    layer = next(iter(tensors)).rpartition(".")[0]
    own = {name: tensors[name] for name in tensors if name.startswith(f"{layer}.")}
    assert ask_in(folder, SHARED) == []
    save_state(other, others | own, others_meta)

    (found,) = ask_in(folder, SHARED)

    places = [str(path.parent.relative_to(folder)) for path in (one, other)]
    assert (found["layer"], sorted(found["models"])) == (layer, places)
    assert meta != others_meta


def copy_of(experiment, tmp_path):
    """The results, elsewhere and under another name."""
    folder = tmp_path / "elsewhere" / "copy"
    shutil.copytree(experiment.folder / "results" / "tiny", folder)
    return folder


def ask_in(folder, sql):
    answer = Database(Results(folder)).ask(sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def test_a_pool_comes_from_its_source_files(finished):
    """Lineage leads from the published pool back to each file, step by step."""
    found = {row["artifact"] for row in ask(finished, UPSTREAM)}

    assert found == {f"data/part-{number}.csv" for number in range(3)}


def test_lineage_says_which_rows_a_specialist_has_seen(finished):
    """From a specialist to its partition's rows, and from these to the index that counts them."""
    sql = """SELECT DISTINCT split_part(model, '/', 4) AS digest, index
             FROM models
             JOIN lineage AS seen ON seen.artifact = model
             JOIN lineage AS counted ON counted.artifact = seen.made_from
             JOIN partitions ON partitions.index = counted.made_from
             WHERE kind = 'specialist' AND trained_on = seen.made_from
               AND partitions.specialist = trained_on"""

    found = ask(finished, sql)

    trained = ask(finished, "SELECT specialist FROM partitions WHERE trained")
    assert {row["digest"] for row in found} == {row["specialist"] for row in trained}


def test_a_copy_elsewhere_gives_the_same_answers(finished, tmp_path):
    """Names of artifacts do not depend on where the folder lies or how it is called."""
    folder = copy_of(finished, tmp_path)

    for name in ("lineage", "choices", "partition_scores"):
        sql = f"SELECT * FROM {name} ORDER BY ALL"
        assert ask_in(folder, sql) == ask(finished, sql)


def test_variants_have_releases_of_their_own(finished, tmp_path):
    """What is published below ``variants`` belongs to the variant of that name, and is current."""
    folder = copy_of(finished, tmp_path)
    home = folder / "variants" / "0123456789"
    home.mkdir(parents=True)
    for name in ("history.jsonl", "published", "plan.json"):
        (folder / name).rename(home / name)

    sql = """SELECT variant, count(*) AS rows FROM predictions
             JOIN releases USING (evaluation) WHERE predictions.current GROUP BY variant"""
    found = ask_in(folder, sql)

    assert found == [{"variant": "0123456789", "rows": finished.metrics()["rows"]["test"]}]


def test_a_release_whose_index_is_gone_is_still_listed(finished, tmp_path):
    """What ``shoal gc`` removed of an old release is null."""
    folder = copy_of(finished, tmp_path)
    for path in folder.glob("g1/cluster/*/indexes"):
        shutil.rmtree(path)

    (found,) = ask_in(folder, "SELECT current, data, evaluation FROM releases")

    assert found == {"current": True, "data": None, "evaluation": None}


def test_errors_of_numbers_are_root_mean_squares(tmp_path):
    """Where the label is a number a partition's error is the RMSE of its rows."""
    folder = tmp_path / "g1" / "evaluate" / "a" / "b"
    folder.mkdir(parents=True)
    content = {"key": [b"x" * 16] * 3, "partition": [0, 0, 1], "label": [1.0, 2.0, 3.0]}
    squared = {"pool_top1": [1.0, 2.0, 3.0], "pool_top1_squared_error": [9.0, 16.0, 4.0]}
    pd.DataFrame(content | squared).to_parquet(folder / "predictions.parquet")

    found = ask_in(tmp_path, "SELECT partition, rows, error FROM partition_scores ORDER BY 1")

    assert found == [
        {"partition": 0, "rows": 2, "error": 12.5**0.5},
        {"partition": 1, "rows": 1, "error": 2.0},
    ]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "FROM nosuch",
            r"SQL: there is no table 'nosuch'; there are releases, preq.*, datasets, .*lineage$",
        ),
        ("SELECT nosuch FROM releases", r'SQL: .*"nosuch" not found.*Candidate bindings: "'),
        ("SELEC 1", 'SQL: .*syntax error at or near "SELEC"$'),
        ("SELECT 1; SELECT 2", "SQL: one query is wanted"),
        ("", "SQL: one query is wanted"),
        ("COPY (SELECT 1) TO '{folder}/x.csv'", "SQL: one query is wanted"),
        ("ATTACH '{folder}/x.db'", "SQL: one query is wanted"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/x.csv'", "SQL: one query is wanted"),
        ("CREATE TABLE x AS SELECT 1", "SQL: one query is wanted"),
        ("FROM read_text('{folder}/../../data/part-0.csv')", "SQL: .*Cannot access file"),
        ("SELECT contender::INTEGER FROM evaluations", "SQL: .*Could not convert"),
    ],
)
def test_what_is_no_query_of_the_results_is_refused_in_one_line(finished, sql, message):
    """The message names what is wrong, and nothing is read elsewhere or written anywhere."""
    folder = finished.folder / "results" / "tiny"
    before = sorted(folder.rglob("*"))

    with pytest.raises(QueryError, match=message) as error:
        ask(finished, sql.format(folder=folder))

    assert "\n" not in str(error.value)
    assert sorted(folder.rglob("*")) == before


def test_a_file_that_is_damaged_is_named(finished, tmp_path):
    """A table of which one file does not read gives no rows at all."""
    folder = copy_of(finished, tmp_path)
    path = next(folder.glob("g1/specialists/*/*/*/*/model.safetensors"))
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(CorruptError, match=f"{path}: its header does not read"):
        ask_in(folder, "FROM tensors")

    assert ask_in(folder, "FROM releases")


def test_a_table_without_files_says_so(tmp_path):
    """Before anything was evaluated there are no predictions to ask."""
    (tmp_path / "g1").mkdir()

    with pytest.raises(ShoalError, match="nothing is there for table 'predictions' yet"):
        ask_in(tmp_path, "FROM predictions")

    assert ask_in(tmp_path, "FROM evaluations") == []


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nosuch", "no such folder; there are empty; run the workflow"),
        ("empty", "holds no results"),
    ],
)
def test_a_folder_without_results_is_refused(tmp_path, folder, message):
    """A name that was mistyped is told with those that are there."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(ShoalError, match=message):
        Results(tmp_path / folder)


def test_answers_are_csv_for_a_pipe_and_json_when_asked(copied):
    """Both hold the same rows; the tables are listed where there is no question."""
    sql = "SELECT number, current, variant FROM releases"

    piped = copied.shoal("query", "tiny", sql)
    as_json = copied.shoal("query", "results/tiny", sql, "--json")
    listed = copied.shoal("query", "tiny")

    assert list(csv.reader(io.StringIO(piped.stdout))) == [
        ["number", "current", "variant"],
        ["1", "true", ""],
    ]
    assert json.loads(as_json.stdout) == [{"number": 1, "current": True, "variant": None}]
    assert [name for name in TABLES if name not in listed.stdout] == []


def test_a_question_alone_is_about_the_demo(copied):
    """``shoal query "SQL"`` takes the experiment that other commands take by default."""
    (copied.folder / "results" / "tiny").rename(copied.folder / "results" / "demo")

    found = copied.shoal("query", "SELECT count(*) AS n FROM releases")

    assert found.stdout == "n\n1\n"


def test_a_wrong_question_is_one_line_and_exit_code_2(copied):
    """The command line says what other mistakes are said like."""
    found = copied.shoal("query", "tiny", "FROM nosuch")

    assert found.returncode == 2
    assert found.stderr.startswith("shoal: error: SQL: ")
    assert found.stderr.count("\n") == 1
