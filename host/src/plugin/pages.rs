//! Which pages of a memory have been written to, as the kernel knows it.
//!
//! A memory begins as a private mapping of its image, and of nothing where it
//! begins empty. A page that is written to becomes one of its own: present, or
//! swapped, and of no file. `/proc/self/pagemap` tells for each page of the
//! process (Linux, `Documentation/admin-guide/mm/pagemap.rst`).
//!
//! It becomes one in a page fault, which the kernel counts for the thread that
//! had it. Most exchanges write to the pages that the ones before have written
//! to, and have none: then nothing is asked of each page again.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// The pages of one instance's memory that have been written to, told by the
/// kernel, and again only when there may be others.
///
/// What runs an instance says when an exchange [begins](Self::begin), and after
/// each call that it [has run](Self::ran).
#[derive(Default)]
pub(super) struct Written {
    /// Those that were told last; none if nobody has asked.
    known: Option<Vec<Range>>,
    /// The last call that it ran, by its number on its thread.
    run: u64,
    /// The faults that the thread on which it runs has had at the least when
    /// the exchange began, before which it wrote to no others. None if it has
    /// run on another thread too, or nobody knows.
    since: Option<Faults>,
}

impl Written {
    /// It begins to serve an exchange.
    pub(super) fn begin(&mut self) {
        self.since = self.known.is_some().then(Faults::last);
    }

    /// It has run: on this thread only if it did so `at_once`, without waiting
    /// for anything meanwhile.
    pub(super) fn ran(&mut self, at_once: bool) {
        self.run = RUNS.get() + 1;
        RUNS.set(self.run);
        let here = Faults::last().thread;
        self.since
            .take_if(|faults| !at_once || faults.thread != here);
    }

    /// The pages, of a memory that lies at an address, in this process, and has
    /// so many bytes; in pages of `PAGE`. None if the kernel does not tell.
    pub(super) fn ranges(&mut self, at: usize, bytes: usize) -> Option<&[Range]> {
        // Before the pages are asked for: a fault meanwhile is a later one.
        let now = Faults::since_run(self.run);
        let as_it_was = now.is_some() && now == self.since;
        if !as_it_was {
            self.known = Some(PROCESS.as_ref()?.written(at, bytes)?);
        }
        self.known.as_deref()
    }
}

/// How many page faults a thread has had since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Faults {
    /// No other thread has its number.
    thread: u64,
    count: u64,
}

static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What this thread has had when it was looked at last, and how many calls
    /// of instances it had run then; none if it never was.
    static LAST: Cell<(Faults, Option<u64>)> = Cell::new((
        Faults {
            thread: THREADS.fetch_add(1, Ordering::Relaxed),
            count: 0,
        },
        None,
    ));
    /// How many calls of instances it has run.
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

impl Faults {
    /// Those of this thread that it was known to have had. It has had no fewer.
    fn last() -> Self {
        LAST.get().0
    }

    /// Those of this thread after a call that it has run; none if they do not
    /// tell of every page. Instances are put back one after another when all
    /// have run: the kernel is asked once for them.
    fn since_run(run: u64) -> Option<Self> {
        if !*TELL_OF_EVERY_PAGE {
            return None;
        }
        let (last, looked) = LAST.get();
        if looked.is_some_and(|looked| looked >= run) {
            return Some(last);
        }
        let count = count()?;
        let now = Self { count, ..last };
        LAST.set((now, Some(RUNS.get())));
        Some(now)
    }
}

/// Not where the kernel makes huge pages of small ones by itself: what is
/// written to after that has no fault of its own.
static TELL_OF_EVERY_PAGE: LazyLock<bool> = LazyLock::new(|| {
    #[cfg(target_os = "linux")]
    return rustix::thread::transparent_huge_pages_are_disabled().unwrap_or(false);
    #[cfg(not(target_os = "linux"))]
    return false;
});

/// The faults that this thread has had, as getrusage(2) tells.
#[cfg(target_os = "linux")]
fn count() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let used = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    let all = used.minor_page_faults() + used.major_page_faults();
    // A thread has some soon, for its stack; under some emulators none has.
    u64::try_from(all).ok().filter(|count| *count > 0)
}

#[cfg(not(target_os = "linux"))]
fn count() -> Option<u64> {
    None
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
    use std::sync::mpsc;

    use wasmtime::{Config, Engine, Instance, Module, Store};

    use super::*;

    /// A memory with an image in its second page, and what writes to it, reads
    /// it, and tells where it lies and how many bytes it has.
    struct Guest {
        store: Store<()>,
        instance: Instance,
    }

    impl Guest {
        fn new() -> Self {
            let engine = Engine::new(&Config::new()).unwrap();
            let text = r#"(module
                (memory (export "memory") 40)
                (data (i32.const 4096) "image")
                (func (export "write") (param i32) (i32.store8 (local.get 0) (i32.const 1)))
                (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
            let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            Self { store, instance }
        }

        fn write(&mut self, place: i32) {
            let write = self
                .instance
                .get_typed_func::<i32, ()>(&mut self.store, "write");
            write.unwrap().call(&mut self.store, place).unwrap();
        }

        fn read(&mut self, place: i32) -> i32 {
            let read = self
                .instance
                .get_typed_func::<i32, i32>(&mut self.store, "read");
            read.unwrap().call(&mut self.store, place).unwrap()
        }

        fn memory(&mut self) -> (usize, usize) {
            let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
            (
                memory.data_ptr(&self.store) as usize,
                memory.data_size(&self.store),
            )
        }

        /// The numbers of the pages that are told of it.
        fn told(&mut self, written: &mut Written) -> Vec<u32> {
            let (at, bytes) = self.memory();
            let ranges = written.ranges(at, bytes).unwrap();
            ranges
                .iter()
                .flat_map(|range| range.first..range.end)
                .collect()
        }
    }

    #[test]
    fn the_pages_that_a_guest_writes_to_are_told() {
        keep_to_small_pages();
        let (mut guest, mut written) = (Guest::new(), Written::default());
        assert_eq!(guest.told(&mut written), Vec::<u32>::new());
        assert_eq!(guest.read(4096), i32::from(b'i'));
        assert_eq!(guest.told(&mut written), Vec::<u32>::new());
        for place in [4100, 8191, 8192, 40 * 65536 - 1] {
            guest.write(place);
        }
        assert_eq!(guest.told(&mut written), [1, 2, 639]);
    }

    #[test]
    fn a_page_that_is_written_to_later_is_told_as_well() {
        keep_to_small_pages();
        let (mut guest, mut written) = (Guest::new(), Written::default());
        guest.write(0);
        assert_eq!(guest.told(&mut written), [0]);
        for page in 1..5 {
            written.begin();
            guest.write(1);
            written.ran(true);
            guest.write(page * 4096);
            written.ran(true);
            let all: Vec<_> = (0..=page.cast_unsigned()).collect();
            assert_eq!(guest.told(&mut written), all);
        }
    }

    #[test]
    fn what_was_counted_for_another_guest_counts_until_one_runs() {
        keep_to_small_pages();
        let (mut other, mut others) = (Guest::new(), Written::default());
        let (mut guest, mut written) = (Guest::new(), Written::default());
        guest.write(0);
        written.ran(true);
        assert_eq!(guest.told(&mut written), [0]);
        for page in 1..5 {
            written.begin();
            others.begin();
            other.write(0);
            others.ran(true);
            other.told(&mut others);
            guest.write(page * 4096);
            written.ran(true);
            let all: Vec<_> = (0..=page.cast_unsigned()).collect();
            assert_eq!(guest.told(&mut written), all);
        }
        // Both have run when the faults are counted for the one.
        let (_, before) = LAST.get();
        for used in [&mut others, &mut written] {
            used.begin();
            used.ran(true);
        }
        other.told(&mut others);
        let looked = LAST.get();
        guest.told(&mut written);
        assert!(before < looked.1 && LAST.get() == looked);
    }

    #[test]
    fn what_has_run_on_another_thread_is_asked_for_anew() {
        keep_to_small_pages();
        let (give, given) = mpsc::channel::<(Guest, Written, bool)>();
        let (give_back, given_back) = mpsc::channel();
        std::thread::spawn(move || {
            for (mut guest, mut written, ends_here) in given {
                guest.write(0);
                if ends_here {
                    written.ran(true);
                }
                give_back.send((guest, written)).unwrap();
            }
        });
        // More than once: at first this thread has faults of its own.
        for ends_here in [true, false, true, false, true, false] {
            let (mut guest, mut written) = (Guest::new(), Written::default());
            guest.told(&mut written);
            written.begin();
            give.send((guest, written, ends_here)).unwrap();
            let (mut guest, mut written) = given_back.recv().unwrap();
            if !ends_here {
                written.ran(false);
            }
            assert_eq!(guest.told(&mut written), [0], "ends there: {ends_here}");
        }
    }

    #[test]
    fn a_page_that_is_written_to_first_is_a_fault_and_no_other() {
        keep_to_small_pages();
        let mut guest = Guest::new();
        guest.write(0);
        // What the host does meanwhile may have some too, at first.
        let without = (0..100).any(|_| {
            let before = count();
            guest.write(1);
            before.is_some() && count() == before
        });
        assert!(without);
        let before = count();
        guest.write(4096);
        assert!(count() > before);
    }

    #[test]
    fn what_has_written_to_no_other_page_is_not_asked_for_again() {
        keep_to_small_pages();
        let (mut guest, mut written) = (Guest::new(), Written::default());
        guest.write(0);
        // What the host does meanwhile may have faults, at first.
        let kept = (0..100).any(|_| {
            guest.told(&mut written);
            // Nobody else would say so.
            written.known = Some(vec![Range { first: 7, end: 8 }]);
            written.begin();
            guest.write(1);
            written.ran(true);
            guest.told(&mut written) == [7]
        });
        assert!(kept);
    }

    /// As the gateway does when it starts.
    fn keep_to_small_pages() {
        crate::process::keep_to_small_pages();
        assert!(*TELL_OF_EVERY_PAGE);
    }
}
