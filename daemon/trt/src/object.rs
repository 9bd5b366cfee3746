//! C++ objects of TensorRT: ownership, and calls through their virtual function tables.
//!
//! Every object that TensorRT hands out is a 16-byte wrapper: its own table pointer, then `mImpl`, the
//! address of the implementation. Functions of `V` classes are called on `mImpl`, those of `I` classes on
//! the wrapper. Addresses below [`LOWEST_ADDRESS`] are refused: without a driver some releases return such
//! values instead of null.

use crate::error::TrtError;
use crate::library::Library;
use crate::slots::{self, DELETE, Method};
use std::ffi::c_void;
use std::rc::Rc;

/// The lowest address that can be an object: the first page is never mapped.
pub(crate) const LOWEST_ADDRESS: usize = 4096;

/// How an object is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// By the deleting destructor of its wrapper.
    Delete,
    /// By a function of its own.
    Call(Method),
    /// Not at all: another object owns it.
    Borrowed,
}

/// An object of TensorRT.
pub(crate) struct Object {
    this: *mut c_void,
    library: Rc<Library>,
    release: Release,
}

/// A function in an object's table, and the address to pass as its first argument.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) function: *const c_void,
    pub(crate) this: *mut c_void,
}

impl Object {
    /// Takes over `address`.
    ///
    /// # Safety
    /// `address` is what a TensorRT function that returns `what` returned, and, unless borrowed, nothing
    /// else releases it.
    pub(crate) unsafe fn new(
        library: &Rc<Library>,
        address: *mut c_void,
        what: &'static str,
        release: Release,
    ) -> Result<Self, TrtError> {
        if !plausible(address) {
            return Err(TrtError::NoObject { what, log: library.logger.recent() });
        }
        Ok(Self { this: address, library: Rc::clone(library), release })
    }

    /// The wrapper's address, as TensorRT's own functions take it.
    pub(crate) fn address(&self) -> *mut c_void {
        self.this
    }

    /// Finds `method` for this object.
    pub(crate) fn bind(&self, method: Method) -> Result<Bound, TrtError> {
        let entry = slots::entry(method);
        let version = self.library.version;
        let missing = || TrtError::NotInVersion { what: format!("{}::{}", entry.class, entry.name), version };
        let slot = slots::lookup(method, version).ok_or_else(missing)?;
        let this = if entry.is_direct() {
            self.this
        } else {
            // SAFETY: the object is a wrapper of two pointers (module documentation), so the second word
            // can be read.
            unsafe { *self.this.cast::<*mut c_void>().add(1) }
        };
        if !plausible(this) {
            return Err(TrtError::NoObject {
                what: "implementation behind a wrapper",
                log: self.library.logger.recent(),
            });
        }
        // SAFETY: `this` is a polymorphic C++ object, so its first word is its table pointer, and the
        // table holds `slot` in this version according to the slot table.
        let function = unsafe { *(*this.cast::<*const *const c_void>()).add(usize::from(slot)) };
        Ok(Bound { function, this })
    }

    /// The library that the object belongs to.
    pub(crate) fn library(&self) -> &Rc<Library> {
        &self.library
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        match self.release {
            Release::Borrowed => {}
            Release::Delete => {
                // SAFETY: the wrapper's first word is its table; slot 1 is the deleting destructor, and
                // this object owns the wrapper.
                unsafe {
                    let table = *self.this.cast::<*const *const c_void>();
                    let function = *table.add(usize::from(DELETE));
                    let delete: unsafe extern "C" fn(*mut c_void) = std::mem::transmute(function);
                    delete(self.this);
                }
            }
            Release::Call(method) => {
                if let Ok(bound) = self.bind(method) {
                    // SAFETY: a destroying function takes the object alone, and this object owns it.
                    unsafe {
                        let destroy: unsafe extern "C" fn(*mut c_void) = std::mem::transmute(bound.function);
                        destroy(bound.this);
                    }
                }
            }
        }
    }
}

fn plausible(address: *const c_void) -> bool {
    address as usize >= LOWEST_ADDRESS && (address as usize).is_multiple_of(align_of::<*const c_void>())
}

/// Calls a virtual function: `call!(object, Method::X, fn(argument types) -> result, arguments)`. The
/// expansion is unsafe: the types must be those of the C++ declaration.
macro_rules! call {
    ($object:expr, $method:expr, fn($($type:ty),*) -> $result:ty $(, $argument:expr)*) => {{
        let bound = $object.bind($method)?;
        let function: unsafe extern "C" fn(*mut std::ffi::c_void $(, $type)*) -> $result =
            std::mem::transmute(bound.function);
        function(bound.this $(, $argument)*)
    }};
}
pub(crate) use call;
