//! What is known of the fleet, durably: records from the devices' spools, what the devices say of
//! themselves, commands, and what could not be understood.
//!
//! Terms: a *record* is one envelope of a device's spool, identified for all time by (device, epoch,
//! sequence); a *profile* is the content of a record, a *variant* a row of its engines, a *point* one
//! measured cell of the grid. *Blobs* are the bytes as they came; retention drops them and keeps the points.
//!
//! One [`Store`] speaks to two databases through [`database::Database`]: SQLite for most, PostgreSQL for
//! several aggregators. The SQL is the same. Times in columns named `received` and `seen` come from the
//! aggregator's clock and order everything; a device's own clock may be wrong by years and only labels.
//! Deliberately not here: MQTT, statistics, and any decision about what is good or bad.

mod bounds;
mod content;
mod coverage;
pub mod database;
mod digests;
mod error;
mod inbox;
mod live;
mod postgres;
mod prune;
mod read;
mod records;
mod rows;
mod schema;
mod sqlite;
mod write;

pub(crate) use bounds::device_of;
pub use bounds::{Excess, Refusals, Refused};
pub use content::Content;
pub use error::StoreError;
pub use prune::{Pruned, Retention};
pub use read::{
    CommandQuery, CommandRow, ConflictRow, Counts, DeviceQuery, DeviceRow, LastProfile, ModelName, ModelRow,
    PointQuery, PointRow, PoisonRow, ProfileId, ProfileQuery, ProfileRow, RefusalRow, SeriesRow, SoakRow,
};
pub use rows::{PointFigures, ProfileRows, SoakFigures, VariantRows};
pub use write::{Committed, Message, Poison, Record};

use crate::config;
use bounds::{InAll, MostBytes};
use database::Database;

/// The keys of the configuration that say where the store is.
const PATH_KEY: &str = "store.path";
const POSTGRES_KEY: &str = "store.postgres";

/// The store. Methods block; each caller opens its own.
#[derive(Debug)]
pub struct Store {
    database: Box<dyn Database>,
    /// Whether contents may wait to be read.
    has_unread: bool,
    /// Bytes that one device, and all together, may store.
    most: MostBytes,
    /// What all devices take together.
    all: InAll,
}

impl Store {
    /// Opens the store that `config` names, and upgrades its tables. None is made: a wrong path must not look
    /// like a fleet without boards.
    ///
    /// # Errors
    /// When there is none, it cannot be opened, or was written by a newer clipmark-fleet.
    pub fn open(config: &config::Store) -> Result<Self, StoreError> {
        let (mut database, key): (Box<dyn Database>, _) = match &config.postgres {
            Some(address) => (Box::new(postgres::Postgres::open(config, address)?), POSTGRES_KEY),
            None => (Box::new(sqlite::Sqlite::open(&config.path)?), PATH_KEY),
        };
        if !schema::is_there(database.as_mut())? {
            return Err(StoreError::Missing { place: database.place().to_owned(), key });
        }
        Self::over(database, config)
    }

    /// Opens the store that `config` names, and makes or upgrades its tables.
    ///
    /// # Errors
    /// When it cannot be made or opened, or was written by a newer clipmark-fleet.
    pub fn create(config: &config::Store) -> Result<Self, StoreError> {
        match &config.postgres {
            Some(address) => Self::over(Box::new(postgres::Postgres::open(config, address)?), config),
            None => Self::over(Box::new(sqlite::Sqlite::create(&config.path)?), config),
        }
    }

    /// Path or address, without what is secret.
    #[must_use]
    pub fn place(&self) -> &str {
        self.database.place()
    }

    fn over(mut database: Box<dyn Database>, config: &config::Store) -> Result<Self, StoreError> {
        database.adopt()?;
        schema::prepare(database.as_mut())?;
        let most = MostBytes {
            of_device: u64::from(config.device_mib) << 20,
            in_all: u64::from(config.total_gib) << 30,
        };
        let mut store = Self { database, has_unread: false, most, all: InAll::default() };
        store.find_unread()?;
        Ok(store)
    }

    /// Does `work` all or not at all.
    fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self.database.as_mut();
        database.begin()?;
        let done = work(database).and_then(|done| database.commit().map(|()| done));
        if done.is_err() {
            database.roll_back();
        }
        done
    }
}
