//! The child process that runs ONE engine, and the parent's hold on it.
//!
//! Terms: the *worker* is a process of this same binary (`clipmarkd worker`) that holds one engine and
//! obeys commands over its pipes; the *handle* is the parent's end. The worker is the fault and memory
//! boundary: a crash, a hang or an out-of-memory kill ends the worker and becomes the point's
//! [`Failure`](clipmark_profile::record::Failure). The worker is synchronous; nothing in its timed loop
//! allocates, logs or locks. It does not decide what to measure and keeps nothing on disk. It is not trusted either: it
//! runs native code on files from elsewhere, and gives up what it could harm others by before it opens any ([`confine`]).

pub mod child;
pub mod clock;
mod death;
pub mod examine;
pub mod frame;
pub mod handle;
pub mod load;
pub mod protocol;
pub mod timed;
