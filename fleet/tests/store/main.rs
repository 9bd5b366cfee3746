//! One suite over every database that the store can be in.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers fail a test and say what is skipped")]

#[path = "../common/postgres.rs"]
mod postgres_server;
#[path = "../common/records.rs"]
mod records;
mod suite;

use clipmark_fleet::config;

#[test]
fn the_suite_holds_on_sqlite() {
    for (name, case) in suite::CASES {
        eprintln!("{name}");
        let dir = tempfile::tempdir().unwrap();
        case(&config::Store { path: dir.path().join("fleet.db"), ..config::Store::default() });
    }
}

#[test]
fn the_suite_holds_on_postgresql() {
    let Some(server) = postgres_server::Server::start() else { return };
    for (name, case) in suite::CASES {
        eprintln!("{name}");
        case(&server.database(name));
    }
}
