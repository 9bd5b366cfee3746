//! The aggregator: from the broker into the store, and receipts back.
//!
//! Two threads: the *receiver* holds the connection and understands messages, the *keeper* owns the store.
//! A message is acknowledged to the broker only when the transaction that holds it is durable; while one
//! transaction runs the next batch gathers, so batches grow with the load and nothing waits for a timer. When
//! the store is away or full nothing is acknowledged, the broker holds back, and the same batch is tried
//! again. When messages pile up they are stored as they are, acknowledged, and read when there is time. What cannot be understood or stored is set aside with the reason and blocks nothing.

mod allowance;
mod batch;
mod inbound;
mod keeper;
mod link;
mod receipts;
mod receiver;

pub use inbound::{Inbound, read};
pub(crate) use receiver::client_id;
pub use receiver::{Live, Outgoing, ServeError, Serving, serve};
