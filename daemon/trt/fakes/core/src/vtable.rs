//! Virtual function tables and the two-word wrappers around implementations.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, Ordering};

/// Slots in a table; the largest that clipmark calls is below.
pub(crate) const SLOTS: usize = 64;

/// Objects that were made and not yet destroyed.
pub(crate) static LIVE: AtomicI64 = AtomicI64::new(0);

pub(crate) type Entry = *const c_void;

extern "C" fn trap<const SLOT: usize>() -> ! {
    eprintln!("stand-in: virtual slot {SLOT} is not filled; clipmark called a function it should not know");
    std::process::abort()
}

macro_rules! traps {
    ($($slot:literal)*) => {
        [$(trap::<$slot> as Entry,)*]
    };
}

/// A table that traps in every slot except `filled`.
pub(crate) fn table(filled: &[(usize, Entry)]) -> *const Entry {
    let mut slots: [Entry; SLOTS] = traps!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
    );
    for &(slot, entry) in filled {
        slots[slot] = entry;
    }
    // Tables are as permanent as those of a C++ library.
    Box::leak(Box::new(slots)).as_ptr()
}

/// An implementation as C++ sees it: its table, then its data.
#[repr(C)]
pub(crate) struct Implementation<T> {
    table: *const Entry,
    pub(crate) data: T,
}

/// A wrapper as C++ sees it: its table, then `mImpl`.
#[repr(C)]
struct Wrapper<T> {
    table: *const Entry,
    implementation: *mut Implementation<T>,
}

/// A wrapped object. `filled` are the implementation's slots; the wrapper itself knows its deleting
/// destructor alone.
pub(crate) fn wrapped<T>(data: T, filled: &[(usize, Entry)]) -> *mut c_void {
    LIVE.fetch_add(1, Ordering::Relaxed);
    let implementation = Box::into_raw(Box::new(Implementation { table: table(filled), data }));
    let wrapper = Wrapper { table: table(&[(1, delete_wrapped::<T> as Entry)]), implementation };
    Box::into_raw(Box::new(wrapper)).cast()
}

/// An object whose functions are called on itself.
pub(crate) fn direct<T>(data: T, filled: &[(usize, Entry)]) -> *mut c_void {
    LIVE.fetch_add(1, Ordering::Relaxed);
    Box::into_raw(Box::new(Implementation { table: table(filled), data })).cast()
}

extern "C" fn delete_wrapped<T>(this: *mut c_void) {
    LIVE.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: `this` is a wrapper made by `wrapped`, destroyed once by its owner.
    unsafe {
        let wrapper = Box::from_raw(this.cast::<Wrapper<T>>());
        drop(Box::from_raw(wrapper.implementation));
    }
}

pub(crate) extern "C" fn delete_direct<T>(this: *mut c_void) {
    LIVE.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: `this` was made by `direct`, destroyed once by its owner.
    drop(unsafe { Box::from_raw(this.cast::<Implementation<T>>()) });
}

/// The data behind `this`, an implementation or a direct object.
///
/// # Safety
/// `this` was made with data of type `T`, is alive, and no other reference to it is in use.
pub(crate) unsafe fn data<'a, T>(this: *mut c_void) -> &'a mut T {
    // SAFETY: by the caller's promise.
    unsafe { &mut (*this.cast::<Implementation<T>>()).data }
}

/// The data behind a wrapper.
///
/// # Safety
/// As [`data`], for what `wrapped` returned.
pub(crate) unsafe fn behind<'a, T>(wrapper: *mut c_void) -> &'a mut T {
    // SAFETY: by the caller's promise.
    unsafe { &mut (*(*wrapper.cast::<Wrapper<T>>()).implementation).data }
}
