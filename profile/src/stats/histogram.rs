//! Log-bucket histogram of latencies with an exact tail.

use serde::{Deserialize, Serialize};

/// Placeholder layout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {}
