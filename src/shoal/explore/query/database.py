"""An experiment's tables in DuckDB, each read when a query names it; nothing is ever written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError
from shoal.explore.query.tables import TABLES, Table, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb

    from shoal.explore.query.results import Results

_BATCH = 1000
_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class QueryError(ShoalError):
    """A query that is no SQL, or names a table or column that does not exist."""


@dataclass(frozen=True)
class Answer:
    """Result of a query.

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
            sql: One SELECT, or a statement that DuckDB treats as one: FROM, VALUES, DESCRIBE,
                SUMMARIZE, SHOW.

        Raises:
            QueryError: It is something else, does not parse, or names an unknown table or column.
            ShoalError: A file that it needs is damaged.
        """
        import duckdb

        try:
            self._check(sql)
            for name in self._named(sql):
                self._add(name)
            cursor = self._connection.execute(sql)
            columns = [str(each[0]) for each in cursor.description or []]
            return Answer(columns, self._rows(cursor))
        except duckdb.Error as error:
            raise QueryError(self._reason(error)) from None

    def _rows(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
        import duckdb

        try:
            while batch := cursor.fetchmany(_BATCH):
                yield from batch
        except duckdb.Error as error:
            raise QueryError(self._reason(error)) from None

    def _check(self, sql: str) -> None:
        """Refuse anything but one query: other statements could write into the folder."""
        import duckdb

        statements = self._connection.extract_statements(sql)
        if [each.type for each in statements] != [duckdb.StatementType.SELECT]:
            raise QueryError("SQL: one query is wanted, such as SELECT … FROM predictions")

    def _named(self, sql: str) -> Iterable[str]:
        """The tables that a query names; all where it names none, as SHOW TABLES does."""
        import duckdb

        try:
            names = {name.lower() for name in self._connection.get_table_names(sql)}
        except duckdb.Error:  # it already misses columns of tables that are not there yet
            names = set(re.findall(r"\w+", sql.lower()))
        return [name for name in TABLES if name in names] if names else TABLES

    def _add(self, name: str) -> None:
        """Make a table, and those that it needs, known to the connection."""
        if name in self._known:
            return
        self._known.add(name)
        table = TABLES[name]
        if isinstance(table, Table):
            self._fill(name, table)
            return
        paths = None if table.files is None else table.files(self._results)
        if paths != []:
            for other in table.needs:
                self._add(other)
            self._connection.execute(f"CREATE VIEW {name} AS {_sql(table, paths)}")

    def _fill(self, name: str, table: Table) -> None:
        """Read a table's rows into memory."""
        rows = list(table.rows(self._results))
        columns = ", ".join(f'"{column}" {kind}' for column, kind in table.types.items())
        lists = ", ".join(f"unnest(?::{kind}[])" for kind in table.types.values())
        values = [[row.get(column) for row in rows] for column in table.columns]
        self._connection.execute(f"CREATE TABLE {name} ({columns})")
        self._connection.execute(f"INSERT INTO {name} SELECT {lists}", values)

    def _reason(self, error: Exception) -> str:
        """DuckDB's message in one line; for an unknown table, the ones there are."""
        said = " ".join(str(error).partition("\nLINE ")[0].split())
        missing = re.search(r"Table with name (\S+) does not exist", said)
        if missing is None:
            return f"SQL: {said}"
        if missing[1].lower() in TABLES:
            return f"{self._results.root}: nothing is there for table {missing[1]!r} yet"
        return f"SQL: there is no table {missing[1]!r}; there are {', '.join(TABLES)}"


def _sql(view: View, paths: list[str] | None) -> str:
    quoted = ", ".join("'{}'".format(path.replace("'", "''")) for path in paths or [])
    return view.sql.format(files=f"[{quoted}]") if paths else view.sql
