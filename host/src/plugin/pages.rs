//! Which pages of a memory have been written to, as the kernel knows it.
//!
//! A memory begins as a private mapping of its image, and of nothing where it
//! begins empty. A page that is written to becomes one of its own: present, or
//! swapped, and of no file. `/proc/self/pagemap` tells for each page of the
//! process (Linux, `Documentation/admin-guide/mm/pagemap.rst`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use super::tie::PAGE;

/// What is told of one page, in bytes.
const ENTRY: usize = size_of::<u64>();

/// Entries that are read at a time.
const AT_ONCE: usize = 512;

/// The page is of a file, or of anonymous memory that is shared.
const FILE: u64 = 1 << 61;
const SWAPPED: u64 = 1 << 62;
const PRESENT: u64 = 1 << 63;

/// The entry of the auxiliary vector that has the size of a page (getauxval(3)).
const AT_PAGESZ: usize = 6;

/// What the kernel tells of this process.
struct Process {
    pagemap: File,
    /// The size of a page, in bytes.
    page: usize,
}

static PROCESS: LazyLock<Option<Process>> = LazyLock::new(|| {
    let auxv = std::fs::read("/proc/self/auxv").ok()?;
    let (words, _) = auxv.as_chunks::<{ size_of::<usize>() }>();
    let (pairs, _) = words.as_chunks::<2>();
    let mut pairs = pairs.iter().map(|pair| pair.map(usize::from_ne_bytes));
    let process = Process {
        pagemap: File::open("/proc/self/pagemap").ok()?,
        page: pairs.find(|[key, _]| *key == AT_PAGESZ)?[1],
    };
    // Where the file is not what it should be, as under an emulator, nothing
    // that it tells can be trusted. This was written to:
    let written = process.page;
    let at = (&raw const written).addr();
    let told = process.written(at - at % process.page, process.page)?;
    (told.len() == 1).then_some(process)
});

/// The pages from one up to before another, by their numbers in their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub first: u32,
    pub end: u32,
}

/// The pages that have been written to in a memory which lies at an address
/// and has so many bytes, in pages of `PAGE`. None if the kernel does not tell.
pub(super) fn written(at: usize, bytes: usize) -> Option<Vec<Range>> {
    PROCESS.as_ref()?.written(at, bytes)
}

impl Process {
    fn written(&self, at: usize, bytes: usize) -> Option<Vec<Range>> {
        let Process { pagemap, page } = self;
        let small = u32::try_from(page / PAGE).ok()?;
        let (mut first, count) = (at / page, bytes / page);
        let end = first + count;
        let mut ranges: Vec<Range> = Vec::new();
        let mut buffer = [0; AT_ONCE * ENTRY];
        let mut number = 0_usize;
        while first < end {
            let entries = (end - first).min(AT_ONCE);
            let told = &mut buffer[..entries * ENTRY];
            let offset = u64::try_from(first * ENTRY).ok()?;
            pagemap.read_exact_at(told, offset).ok()?;
            for (at, entry) in told.as_chunks::<ENTRY>().0.iter().enumerate() {
                let entry = u64::from_ne_bytes(*entry);
                // Most were never touched.
                if entry & (PRESENT | SWAPPED) == 0 || entry & FILE != 0 {
                    continue;
                }
                let first = u32::try_from(number + at).ok()? * small;
                match ranges.last_mut() {
                    Some(range) if range.end == first => range.end += small,
                    _ => ranges.push(Range {
                        first,
                        end: first + small,
                    }),
                }
            }
            number += entries;
            first += entries;
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine, Instance, Module, Store};

    use super::*;

    #[test]
    fn the_pages_that_a_guest_writes_to_are_told() {
        let engine = Engine::new(&Config::new()).unwrap();
        let text = r#"(module
            (memory (export "memory") 40)
            (data (i32.const 4096) "image")
            (func (export "write") (param i32) (i32.store8 (local.get 0) (i32.const 1)))
            (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
        let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let (at, bytes) = (memory.data_ptr(&store) as usize, memory.data_size(&store));
        let write = instance.get_typed_func::<i32, ()>(&mut store, "write");
        let read = instance.get_typed_func::<i32, i32>(&mut store, "read");
        let (write, read) = (write.unwrap(), read.unwrap());
        assert_eq!(written(at, bytes), Some(Vec::new()));
        assert_eq!(read.call(&mut store, 4096).unwrap(), i32::from(b'i'));
        assert_eq!(written(at, bytes), Some(Vec::new()));
        for place in [4100, 8191, 8192, 40 * 65536 - 1] {
            write.call(&mut store, place).unwrap();
        }
        let pages = |first, end| Range { first, end };
        assert_eq!(written(at, bytes), Some(vec![pages(1, 3), pages(639, 640)]));
    }
}
