//! Statements on one connection, prepared once, with errors in the words of the index.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Params, Row};

use super::IndexError;

/// A connection and the file it is of, borrowed from an index or from a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionRef<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
}

impl ConnectionRef<'_> {
    /// Returns all rows of a query.
    pub(super) fn rows<T>(
        self,
        doing: &'static str,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, IndexError> {
        let run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(parameters, read)?.collect::<rusqlite::Result<Vec<T>>>()
        };
        run().map_err(|source| IndexError::from_sqlite(self.path, doing, source))
    }

    /// Returns the first row of a query, where there is one.
    pub(super) fn row<T>(
        self,
        doing: &'static str,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, IndexError> {
        let run = || self.connection.prepare_cached(sql)?.query_row(parameters, read).optional();
        run().map_err(|source| IndexError::from_sqlite(self.path, doing, source))
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) fn execute(self, doing: &'static str, sql: &str, parameters: impl Params) -> Result<usize, IndexError> {
        let run = || self.connection.prepare_cached(sql)?.execute(parameters);
        run().map_err(|source| IndexError::from_sqlite(self.path, doing, source))
    }
}
