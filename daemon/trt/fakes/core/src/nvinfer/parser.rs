//! The ONNX parser and its errors.

use super::PARSER_VERSION;
use super::builder::Network;
use crate::behaviour;
use crate::onnx::{Graph, Node};
use crate::vtable::{Entry, behind, data, delete_direct, direct};
use std::ffi::{CStr, CString, c_char, c_void};

struct Parser {
    network: *mut c_void,
    errors: Vec<*mut c_void>,
}

struct Error {
    code: i32,
    node: i32,
    words: [CString; 4],
}

/// Indices into [`Error::words`].
const REASON: usize = 0;
const FUNCTION: usize = 1;
const NAME: usize = 2;
const OPERATOR: usize = 3;

/// A parser.
///
/// # Safety
/// `network` is a network of this library that outlives the parser.
pub unsafe fn create_parser<const MAJOR: u32>(network: *mut c_void, version: i32) -> *mut c_void {
    if version != PARSER_VERSION {
        return std::ptr::null_mut();
    }
    let [parse, count, error, destroy] = match MAJOR {
        8 => [1, 6, 7, 5],
        10 => [1, 5, 6, 9],
        _ => [1, 3, 4, 7],
    };
    let filled = [
        (parse, parse_file::<MAJOR> as Entry),
        (count, error_count as Entry),
        (error, error_at as Entry),
        (destroy, destroy_parser as Entry),
    ];
    direct(Parser { network, errors: Vec::new() }, &filled)
}

extern "C" fn parse_file<const MAJOR: u32>(this: *mut c_void, path: *const c_char, _verbosity: i32) -> bool {
    behaviour::strike("parse");
    // SAFETY: `this` is a parser of this module, and the path is terminated.
    let (parser, path) = unsafe { (data::<Parser>(this), CStr::from_ptr(path)) };
    let bytes = std::fs::read(path.to_string_lossy().as_ref()).unwrap_or_default();
    let graph = Graph::read(&bytes).filter(|_| !behaviour::is("fail", "parse"));
    let Some(graph) = graph else {
        parser.errors.push(error_object::<MAJOR>(3, -1, None, "Failed to parse the ONNX model"));
        return false;
    };
    let rejected = behaviour::text("reject");
    let unknown = |node: &Node| rejected.as_deref() == Some(node.operator.as_str());
    if let Some(index) = graph.nodes.iter().position(unknown) {
        let node = &graph.nodes[index];
        let reason = format!("No importer registered for op: {}", node.operator);
        parser.errors.push(error_object::<MAJOR>(8, index as i32, Some(node), &reason));
        return false;
    }
    // SAFETY: the network is one of this library's and outlives the parser.
    unsafe { behind::<Network>(parser.network) }.fill::<MAJOR>(graph);
    true
}

fn error_object<const MAJOR: u32>(code: i32, index: i32, node: Option<&Node>, reason: &str) -> *mut c_void {
    let text = |words: &str| CString::new(words).unwrap_or_default();
    let words = [
        text(reason),
        text("parseNode"),
        text(node.map_or("", |node| &node.name)),
        text(node.map_or("", |node| &node.operator)),
    ];
    let mut filled = vec![
        (0, code_of as Entry),
        (1, word::<REASON> as Entry),
        (4, word::<FUNCTION> as Entry),
        (5, node_of as Entry),
    ];
    if MAJOR >= 10 {
        filled.extend([(6, word::<NAME> as Entry), (7, word::<OPERATOR> as Entry)]);
    }
    direct(Error { code, node: index, words }, &filled)
}

extern "C" fn code_of(this: *mut c_void) -> i32 {
    // SAFETY: `this` is an error of this module.
    unsafe { data::<Error>(this) }.code
}

extern "C" fn node_of(this: *mut c_void) -> i32 {
    // SAFETY: `this` is an error of this module.
    unsafe { data::<Error>(this) }.node
}

extern "C" fn word<const WHICH: usize>(this: *mut c_void) -> *const c_char {
    // SAFETY: `this` is an error of this module.
    unsafe { data::<Error>(this) }.words[WHICH].as_ptr()
}

extern "C" fn error_count(this: *mut c_void) -> i32 {
    // SAFETY: `this` is a parser of this module.
    unsafe { data::<Parser>(this) }.errors.len() as i32
}

extern "C" fn error_at(this: *mut c_void, index: i32) -> *mut c_void {
    // SAFETY: `this` is a parser of this module.
    unsafe { data::<Parser>(this) }.errors.get(index as usize).copied().unwrap_or(std::ptr::null_mut())
}

extern "C" fn destroy_parser(this: *mut c_void) {
    // SAFETY: `this` is a parser of this module.
    for &error in &unsafe { data::<Parser>(this) }.errors {
        delete_direct::<Error>(error);
    }
    delete_direct::<Parser>(this);
}
