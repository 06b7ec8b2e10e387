//! How a test binary ends.

#![allow(unsafe_code, reason = "the standard library knows no exit handlers")]

use std::{
    ffi::{c_int, c_void},
    ptr,
};

unsafe extern "C" {
    // glibc: as `atexit`, and the handler is told the status
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    safe fn _exit(status: c_int) -> !;
}

extern "C" fn end(status: c_int, _: *mut c_void) {
    _exit(status)
}

/// Lets the process end without the destructors of C++'s globals: threads of nodes that a test has killed
/// may still use what these destroy. Handlers run last registered first, so it is called whenever RocksDB
/// has been opened, and may have made another global.
pub fn without_destructors() {
    // SAFETY: the handler takes what `on_exit` passes, touches nothing, and lives as long as the program.
    let registered = unsafe { on_exit(end, ptr::null_mut()) };
    assert_eq!(registered, 0, "there is room for an exit handler");
}
