//! The least that a proxy-wasm filter can be, for the benchmark's Envoy: it is
//! called for the head and for each piece of the body, of requests and of
//! answers, and lets everything pass. Built with `--cfg reads` it also copies
//! each piece of a body into its memory, as a filter must that looks into it.
//!
//! Written against proxy-wasm 0.2.1 without an SDK: what is exported here is
//! what the ABI wants, and each instance serves all requests of a worker.
#![no_std]

use core::ptr::addr_of_mut;

/// Where the host writes what it hands over; one thing at a time.
const ROOM: usize = 512 << 10;
static mut MEMORY: [u8; ROOM] = [0; ROOM];

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(reads)]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: u32,
        length: u32,
        data: *mut *const u8,
        size: *mut usize,
    ) -> u32;
}

/// Copies a piece of a body (0: the request's, 1: the answer's) and finds its
/// first byte that is no text.
#[cfg(reads)]
fn look(buffer: u32, length: u32) {
    let mut data = core::ptr::null();
    let mut size = 0;
    // The host wrote `size` bytes to what `proxy_on_memory_allocate` gave it.
    let bytes = unsafe {
        if proxy_get_buffer_bytes(buffer, 0, length, &mut data, &mut size) != 0 || data.is_null() {
            return;
        }
        core::slice::from_raw_parts(data, size)
    };
    core::hint::black_box(bytes.iter().position(|byte| *byte == 0));
}

#[cfg(not(reads))]
fn look(_: u32, _: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    if size > ROOM {
        return core::ptr::null_mut();
    }
    addr_of_mut!(MEMORY).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, _parent: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_context: u32, _size: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_context: u32, _size: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, _end: u32) -> u32 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(_context: u32, length: u32, _end: u32) -> u32 {
    look(0, length);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_context: u32, _count: u32, _end: u32) -> u32 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_context: u32, length: u32, _end: u32) -> u32 {
    look(1, length);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_context: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(_context: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(_context: u32) {}
