//! What the stand-ins for TensorRT 8, 10 and 11 and for the CUDA driver share.
//!
//! They prove the logic that runs over clipmark's binding, end to end and without a GPU, not the binary
//! interface: the real libraries' slots are compared elsewhere (daemon/trt/abi). Slot numbers here are
//! written down a second time, on purpose: a slip in either table makes a test call the wrong function.
//! Slots that are not filled trap with their number.
//!
//! A stand-in computes, for each output, a copy of the input that it passes through (by Identity nodes alone), or
//! else the sum of all inputs element by element (inputs repeat where they are shorter, and every element counts
//! where they are longer; 16-bit floats count as their bits): models of Identity and of one Add over equal shapes give their true results.
#![expect(unsafe_code, reason = "stands in for C and C++ libraries; each block states why it is sound")]

pub mod behaviour;
pub mod model;
pub mod nvinfer;
mod onnx;
mod plan;
pub mod stage;
pub mod stream;
mod vtable;
