"""An experiment's tables in DuckDB, each read when a query names it; nothing is ever written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError
from shoal.query.tables import TABLES, Table, View

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from shoal.query.results import Results

_BATCH = 1000
_OFFLINE: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class QueryError(ShoalError):
    """A query that is no SQL, or names what is not there."""


@dataclass(frozen=True)
class Answer:
    """What a query gave.

    Attributes:
        columns: Names of the columns.
        rows: The rows, read as they are asked for.
    """

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


class Database:
    """The tables of one results folder."""

    def __init__(self, results: Results) -> None:
        """Open a database in memory that can read files of the folder and no others."""
        import duckdb

        self._results = results
        self._known: set[str] = set()
        self._connection = duckdb.connect(":memory:", config=_OFFLINE)
        folder = str(results.root.absolute()).replace("'", "''")
        for setting in (
            f"allowed_directories = ['{folder}']",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._connection.execute(f"SET {setting}")

    def ask(self, sql: str) -> Answer:
        """Run one query.

        Args:
            sql: One SELECT, or what DuckDB takes for one: FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW.

        Raises:
            QueryError: It is something else, does not read as SQL, or names what is not there.
            ShoalError: A file that it needs is damaged.
        """
        import duckdb

        try:
            self._check(sql)
            names = self._connection.get_table_names(sql)
            for name in names & TABLES.keys() if names else TABLES:
                self._add(name)
            cursor = self._connection.execute(sql)
            columns = [str(each[0]) for each in cursor.description or []]
            return Answer(columns, _rows(cursor))
        except duckdb.Error as error:
            raise QueryError(_reason(error)) from None

    def _check(self, sql: str) -> None:
        """Refuse what is not one query: that is what could write into the folder."""
        import duckdb

        statements = self._connection.extract_statements(sql)
        if [each.type for each in statements] != [duckdb.StatementType.SELECT]:
            raise QueryError("SQL: one query is wanted, such as SELECT … FROM predictions")

    def _add(self, name: str) -> None:
        """Make a table, and those that it needs, known to the connection."""
        if name in self._known:
            return
        self._known.add(name)
        table = TABLES[name]
        if isinstance(table, Table):
            self._connection.register(name, _arrow(table, self._results))
        else:
            for other in table.needs:
                self._add(other)
            self._connection.execute(f"CREATE VIEW {name} AS {self._sql(name, table)}")

    def _sql(self, name: str, view: View) -> str:
        if view.files is None:
            return view.sql
        paths = view.files(self._results)
        if not paths:
            raise QueryError(f"{self._results.root}: nothing is there for table {name!r} yet")
        quoted = ", ".join("'{}'".format(path.replace("'", "''")) for path in paths)
        return view.sql.format(files=f"[{quoted}]")


def _arrow(table: Table, results: Results) -> Any:  # noqa: ANN401 - an Arrow table
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in table.columns.items()])
    return pa.Table.from_pylist(list(table.rows(results)), schema=schema)


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := cursor.fetchmany(_BATCH):
        yield from batch


def _reason(error: Exception) -> str:
    """What DuckDB says, in one line; a table that is not there with those that are."""
    said = " ".join(str(error).partition("\nLINE ")[0].split())
    if "Table with name" in said:
        said = f"{said.partition(' Did you mean')[0]} There are {', '.join(TABLES)}."
    return f"SQL: {said}"
