//! The store in a PostgreSQL database, for fleets that outgrow one file or want several aggregators.

use super::StoreError;
use super::database::{Database, Dialect, Each, Row, Value};
use crate::config;
use clipmark_service::mqtt;
use clipmark_service::outcome::in_one_line;
use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, Error, Statement};
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Errors after which the same may succeed: connection, resources, operator, serialization, lock.
const PASSING: [&str; 4] = ["08", "40", "53", "57"];

/// A connection to a server. It is made again when it broke.
pub(super) struct Postgres {
    client: Client,
    statements: HashMap<String, Statement>,
    settings: config::Store,
    place: String,
    in_transaction: bool,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("place", &self.place).finish_non_exhaustive()
    }
}

fn connect(settings: &config::Store, address: &str) -> Result<Client, String> {
    let mut config: Config = address.parse().map_err(|error: Error| in_one_line(&error))?;
    config.connect_timeout(CONNECT).application_name("clipmark-fleet");
    if let Some(secret) = &settings.postgres_password_file {
        config.password(secret.read_line().map_err(|error| in_one_line(&error))?);
    }
    let client = if settings.postgres_tls.enabled {
        let tls = mqtt::tls_client(&settings.postgres_tls).map_err(|error| in_one_line(&error))?;
        config.connect(MakeRustlsConnect::new(tls.as_ref().clone()))
    } else {
        config.connect(postgres::NoTls)
    };
    let mut client = client.map_err(|error| in_one_line(&error))?;
    // Receipts are promises, whatever the server's default is.
    client.batch_execute("SET synchronous_commit = on").map_err(|error| in_one_line(&error))?;
    Ok(client)
}

/// The address without anything that is secret.
fn place(address: &str) -> String {
    let hidden = |word: &&str| !word.starts_with("password");
    let words: Vec<&str> = address.split_whitespace().filter(hidden).collect();
    match words.join(" ").split_once('@') {
        Some((_, host)) => format!("postgresql at {host}"),
        None => format!("postgresql at {}", words.join(" ")),
    }
}

impl Postgres {
    pub(super) fn open(settings: &config::Store, address: &str) -> Result<Self, StoreError> {
        let place = place(address);
        let client = connect(settings, address)
            .map_err(|problem| StoreError::Open { place: place.clone(), problem })?;
        let (statements, settings) = (HashMap::new(), settings.clone());
        Ok(Self { client, statements, settings, place, in_transaction: false })
    }

    fn failed(place: &str, error: &Error) -> StoreError {
        let (place, problem) = (place.to_owned(), in_one_line(error));
        let code = error.code().map(|code| code.code());
        let is_passing = match code {
            Some(code) => PASSING.iter().any(|class| code.starts_with(class)) || code == "55P03",
            None => true,
        };
        if is_passing {
            StoreError::Unavailable { place, problem }
        } else {
            StoreError::Refused { place, problem }
        }
    }

    fn reconnect_if_closed(&mut self) -> Result<(), StoreError> {
        if self.client.is_closed() {
            let address = self.settings.postgres.clone().unwrap_or_default();
            self.client = connect(&self.settings, &address)
                .map_err(|problem| StoreError::Unavailable { place: self.place.clone(), problem })?;
            self.statements.clear();
        }
        Ok(())
    }

    /// The prepared form of `sql`. Outside a transaction a broken connection is made again first.
    fn prepared(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if !self.in_transaction {
            self.reconnect_if_closed()?;
        }
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement =
            self.client.prepare(&sql.replace('?', "$")).map_err(|error| Self::failed(&self.place, &error))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn simple(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).map_err(|error| Self::failed(&self.place, &error))
    }
}

type BindResult = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> BindResult {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) if *kind == Type::INT4 => i32::try_from(*value)?.to_sql(kind, out),
            Self::Int(value) => value.to_sql(kind, out),
            Self::Real(value) => value.to_sql(kind, out),
            Self::Text(value) => {
                // PostgreSQL's text cannot hold NUL, which a device tree's strings may end with.
                let text = if value.contains('\0') {
                    Cow::Owned(value.replace('\0', "\u{fffd}"))
                } else {
                    Cow::Borrowed(*value)
                };
                text.as_ref().to_sql(kind, out)
            }
            Self::Blob(value) => value.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

struct PostgresRow<'a>(&'a postgres::Row, &'a str);

impl PostgresRow<'_> {
    fn get<'b, T: postgres::types::FromSql<'b>>(&'b self, column: usize) -> Result<Option<T>, StoreError> {
        self.0.try_get(column).map_err(|error| Postgres::failed(self.1, &error))
    }
}

impl Row for PostgresRow<'_> {
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        if self.0.columns().get(column).is_some_and(|column| *column.type_() == Type::INT4) {
            return Ok(self.get::<i32>(column)?.map(i64::from));
        }
        self.get(column)
    }

    fn real(&self, column: usize) -> Result<Option<f64>, StoreError> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    fn blob(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(column)
    }
}

fn parameters<'a>(values: &'a [Value<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl Database for Postgres {
    fn place(&self) -> &str {
        &self.place
    }

    fn dialect(&self) -> Dialect {
        Dialect {
            key: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            int: "BIGINT",
            real: "DOUBLE PRECISION",
            blob: "BYTEA",
            table: "",
            clustered: "",
            lock: "LOCK TABLE",
            skip_locked: "FOR UPDATE SKIP LOCKED",
            is_store: "SELECT 1 WHERE to_regclass('clipmark_fleet') IS NOT NULL",
        }
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        let changed = self.client.execute(&statement, &parameters(values));
        changed.map_err(|error| Self::failed(&self.place, &error))
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], each: &mut Each<'_>) -> Result<(), StoreError> {
        let statement = self.prepared(sql)?;
        let rows = self.client.query(&statement, &parameters(values));
        for row in rows.map_err(|error| Self::failed(&self.place, &error))? {
            each(&PostgresRow(&row, &self.place))?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.reconnect_if_closed()?;
        self.simple("BEGIN")?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.simple("COMMIT")?;
        self.in_transaction = false;
        Ok(())
    }

    fn roll_back(&mut self) {
        self.in_transaction = false;
        if !self.client.is_closed()
            && let Err(error) = self.simple("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_password_in_an_address_is_not_told() {
        assert_eq!(place("host=db password=s3cret user=me"), "postgresql at host=db user=me");
        assert_eq!(place("postgresql://me:s3cret@db:5432/fleet"), "postgresql at db:5432/fleet");
    }
}
