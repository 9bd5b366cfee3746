//! Memory of the stand-in: host allocations, counted against the configured size.

use crate::{OUT_OF_MEMORY, Status, put};
use clipmark_trt_fakes::behaviour;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

static BLOCKS: Mutex<Option<HashMap<usize, Box<[u64]>>>> = Mutex::new(None);

/// Bytes on the device.
pub(crate) fn total() -> usize {
    (behaviour::number("memory_mib", 4096) as usize) << 20
}

fn with<R>(work: impl FnOnce(&mut HashMap<usize, Box<[u64]>>) -> R) -> R {
    work(BLOCKS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

fn used(blocks: &HashMap<usize, Box<[u64]>>) -> usize {
    blocks.values().map(|block| block.len() * 8).sum()
}

fn allocate(bytes: usize) -> Option<usize> {
    with(|blocks| {
        if used(blocks) + bytes > total() {
            return None;
        }
        let mut block = vec![0_u64; bytes.div_ceil(8).max(1)].into_boxed_slice();
        let address = block.as_mut_ptr().expose_provenance();
        blocks.insert(address, block);
        Some(address)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: *mut usize, all: *mut usize) -> Status {
    put(free, total() - with(|blocks| used(blocks)));
    put(all, total())
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) -> Status {
    allocate(bytes).map_or(OUT_OF_MEMORY, |address| put(pointer, address as u64))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(pointer: u64) -> Status {
    with(|blocks| blocks.remove(&(pointer as usize)));
    0
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> Status {
    allocate(bytes)
        .map_or(OUT_OF_MEMORY, |address| put(pointer, std::ptr::with_exposed_provenance_mut(address)))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> Status {
    with(|blocks| blocks.remove(&pointer.addr()));
    0
}

/// Blocks that were allocated and not freed; not part of CUDA.
#[unsafe(no_mangle)]
extern "C" fn clipmark_fake_live_blocks() -> i64 {
    with(|blocks| blocks.len() as i64)
}
