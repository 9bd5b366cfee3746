//! TensorRT 8, 10 and 11 without headers, linking or a C++ toolchain.
//!
//! The libraries are opened at run time, in the worker process alone. Four exported C functions start
//! everything; all else are C++ virtual calls through [`slots`], whose numbers hold within a major release.
//! The CUDA driver is bound by hand ([`TensorRt::open`] checks it first). Engines are tied to one TensorRT
//! version and one GPU; this crate neither caches them nor reads configuration.
//!
//! Usage: [`TensorRt::open`], [`TensorRt::parse`], [`Network::build`], [`TensorRt::load`],
//! [`Session::new`], then [`Session::run`] as often as wanted.
#![expect(unsafe_code, reason = "a C++ library is called; each block states why it is sound")]

mod builder;
mod callbacks;
mod child;
pub mod constants;
mod cuda;
mod dims;
mod dl;
mod engine;
mod error;
mod library;
mod object;
mod session;
pub mod slots;
mod tensorrt;
mod version;

pub use builder::{BuildRequest, Built, DeclaredInput, Kernels, Network, ShapeRange};
pub use callbacks::LayerTime;
pub use child::die_with_parent;
pub use constants::TACTIC_SOURCES;
pub use cuda::{DeviceInfo, Wait};
pub use dl::{FOLDER_VARIABLE, Search};
pub use engine::{Element, Engine, IoTensor};
pub use error::{NvidiaLibrary, ParserError, TrtError};
pub use session::{DeviceTimes, Session, Tensor};
pub use tensorrt::TensorRt;
pub use version::{Major, Version};
