//! Capabilities, privileges gained by running a program, and who is ended first when memory runs out.

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// The kernel's greatest value: this process before all others.
const FIRST: &str = "1000";
/// Bits of a capability set; the kernel refuses those that it does not know.
const CAPABILITIES: u32 = u64::BITS;

/// Has the kernel end this process before any other when memory runs out.
pub(super) fn die_first() -> Result<(), String> {
    let file = "/proc/self/oom_score_adj";
    std::fs::write(file, FIRST).map_err(|error| format!("{file} cannot be written ({error})"))
}

/// Bounds this process's private writable memory.
pub(super) fn bound_memory(bytes: u64) -> Result<(), String> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Data, limit).map_err(|error| format!("no memory limit can be set ({error})"))
}

/// Gives up every capability, for this process and all that it starts.
pub(super) fn drop_all() -> Result<(), String> {
    let failed = |what: &'static str| move |error| format!("{what} ({error})");
    // Only a process with CAP_SETPCAP may; one without cannot gain any by running a program either, see below.
    for number in 0..CAPABILITIES {
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
    set_no_new_privs(true).map_err(failed("no_new_privs cannot be set"))?;
    clear_ambient_capability_set().map_err(failed("the ambient capabilities cannot be cleared"))?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // The unit's filter closes `capset` where its service has none to give up.
    if capabilities(None).is_ok_and(|held| held == sets) {
        return Ok(());
    }
    set_capabilities(None, sets).map_err(failed("the capabilities cannot be cleared"))
}
