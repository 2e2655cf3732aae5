//! The SQLite file: how it is opened and how its schema grows. Migrations are numbered files, applied in one
//! transaction with the version they lead to; a file of a newer version is refused by name.

use super::CatalogError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Migrations in order; the n-th leads to version n, kept in `PRAGMA user_version`.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_catalog.sql"),
    include_str!("migrations/0002_versions.sql"),
    include_str!("migrations/0003_feed.sql"),
    include_str!("migrations/0004_jobs.sql"),
    include_str!("migrations/0005_popularity.sql"),
    include_str!("migrations/0006_webhooks.sql"),
    include_str!("migrations/0007_areas.sql"),
];
/// `VITR`: set by the first migration.
const APPLICATION_ID: i64 = 0x5649_5452;
/// How long SQLite waits for a lock of another connection. Only backups and inspection tools can hold one:
/// the process's own writers queue before they get here.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements a connection keeps prepared; the room has fewer than 60.
const STATEMENT_CACHE: usize = 64;
/// The write-ahead log is cut back to this after a checkpoint, so that one burst does not keep the disk.
const WAL_LIMIT_BYTES: i64 = 64 << 20;

/// Opens the file for writing, creating it when it is not there. Reads nothing yet.
pub(super) fn open_writer(path: &Path) -> Result<Connection, CatalogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    prepare(&conn)?;
    Ok(conn)
}

/// Opens one more connection that can only read. It sees what was committed when its transaction began.
pub(super) fn open_reader(path: &Path) -> Result<Connection, CatalogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    prepare(&conn)?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> Result<(), CatalogError> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    // A plan does not depend on what is bound: else statements over tables with partial indexes are planned anew whenever they
    // are bound, a tenth of the writer's time in an import.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Version of the schema in the file: 0 for an empty one. Refuses files that are not a catalog.
pub(super) fn version(conn: &Connection) -> Result<i64, CatalogError> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let supported = supported_version();
    if found > supported {
        return Err(CatalogError::NewerSchema { found, supported });
    }
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let expected = if found == 0 { 0 } else { APPLICATION_ID };
    if application != expected || found < 0 || (found == 0 && tables > 0) {
        return Err(CatalogError::corrupt("the database is not a catalog"));
    }
    Ok(found)
}

/// Which catalog this is.
pub(super) fn catalog_id(conn: &Connection) -> Result<String, CatalogError> {
    Ok(conn.prepare_cached("SELECT catalog_id FROM identity")?.query_row([], |row| row.get(0))?)
}

/// From here on it is another catalog.
pub(super) fn renew_id(conn: &Connection) -> Result<(), CatalogError> {
    conn.execute("UPDATE identity SET catalog_id = ?1", [uuid::Uuid::new_v4().to_string()])?;
    Ok(())
}

/// The newest schema version known here.
pub(super) fn supported_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Turns on the write-ahead log with full sync (a commit is on disk when it returns) and brings the schema from
/// version `from` to the newest, all or nothing.
pub(super) fn migrate(conn: &mut Connection, from: i64) -> Result<(), CatalogError> {
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(CatalogError::invalid(
            "data_dir",
            "a file system that can share memory (SQLite's WAL)",
            format!("journal mode {mode}"),
        ));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT_BYTES, |_| Ok(()))?;
    if from != supported_version() {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
            tx.execute_batch(migration)?;
        }
        tx.pragma_update(None, "user_version", supported_version())?;
        tx.commit()?;
    }
    // Pages as they were before a savepoint, as many as an operation changes: else in a file under /var/tmp, which is two of three
    // writes of an import. Not for migrations, which may sort millions of rows.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}
