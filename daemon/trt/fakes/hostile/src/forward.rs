//! The parser's two functions, handed on to the stand-in that lies beside this library as `libreal_parser.so`.

use crate::system::{beside, symbol};
use std::ffi::c_void;

type Create = extern "C" fn(*mut c_void, *mut c_void, i32) -> *mut c_void;

#[unsafe(no_mangle)]
extern "C" fn getNvOnnxParserVersion() -> i32 {
    let found = symbol(&beside("libreal_parser.so"), c"getNvOnnxParserVersion");
    // SAFETY: the function of that name in NvOnnxParser.h takes nothing and returns an int.
    found
        .map_or(0, |address| unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> i32>(address) }())
}

#[unsafe(no_mangle)]
extern "C" fn createNvOnnxParser_INTERNAL(
    network: *mut c_void,
    logger: *mut c_void,
    version: i32,
) -> *mut c_void {
    let found = symbol(&beside("libreal_parser.so"), c"createNvOnnxParser_INTERNAL");
    let Some(address) = found else { return std::ptr::null_mut() };
    // SAFETY: the function of that name in NvOnnxParser.h has this signature, and its arguments are the caller's.
    let create = unsafe { std::mem::transmute::<*mut c_void, Create>(address) };
    create(network, logger, version)
}
