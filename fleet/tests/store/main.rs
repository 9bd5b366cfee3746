//! One suite over every database that the store can be in: each case is a test of its own on each database.
//!
//! A case on PostgreSQL is ignored where no PostgreSQL is installed, unless CLIPMARK_REQUIRE_POSTGRESQL is set: then it
//! fails.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers fail a test and say what is amiss")]

mod bounds;
#[path = "../common/postgres.rs"]
mod postgres_server;
#[path = "../common/records.rs"]
mod records;
mod suite;

use clipmark_fleet::config;
use libtest_mimic::{Arguments, Trial};
use postgres_server::Server;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// What a store does, given where it is to be.
type Case = fn(&config::Store);

fn cases() -> impl Iterator<Item = (&'static str, Case)> {
    suite::CASES.into_iter().chain(bounds::CASES)
}

fn on_sqlite((name, case): (&'static str, Case)) -> Trial {
    Trial::test(format!("sqlite::{name}"), move || {
        let dir = tempfile::tempdir().unwrap();
        case(&config::Store { path: dir.path().join("fleet.db"), ..config::Store::default() });
        Ok(())
    })
}

fn on_postgresql((name, case): (&'static str, Case), server: Arc<OnceLock<Server>>) -> Trial {
    let test = move || {
        case(&server.get_or_init(Server::start).database(name));
        Ok(())
    };
    Trial::test(format!("postgresql::{name}"), test).with_ignored_flag(Server::is_missing())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // One server for all that this process runs; dropped, and so stopped, behind the last of them.
    let server = Arc::new(OnceLock::new());
    let trials = cases().map(on_sqlite).chain(cases().map(|case| on_postgresql(case, Arc::clone(&server))));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(server);
    conclusion.exit_code()
}
