//! The allocator of Palisade's own plugins: a plugin that says `use heap as _`
//! has it.
//!
//! An instance serves one exchange. It makes some tens of small allocations,
//! or one for each event of a stream, and then each page that it wrote to is
//! put back as it was. So blocks of a size are kept together, without anything
//! before or between them, and the one that was freed last is given first: it
//! is in a page that has been written to already. Taking a block and giving it
//! back is a few instructions, a tenth of what the standard library's
//! allocator takes, which keeps what is free in order of its size.
//!
//! Blocks over [`LARGEST`] bytes are the standard library's. Memory that small
//! blocks were cut from stays theirs, so a plugin has at most as much of it as
//! it had of each size at its peak. What C's `malloc` gave, which is there in a
//! component for WASI, is never freed here, nor a block of here by C's `free`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::{copy_nonoverlapping, null_mut};

/// What sizes are rounded up to, and how small blocks are aligned, in bytes.
const STEP: usize = 16;

/// The size of the largest small block, in bytes.
const LARGEST: usize = 1024;

/// Small blocks are cut from pieces of this many bytes: 16 KiB with what the
/// standard library's allocator notes before each, so that one follows another.
const PIECE: usize = (16 << 10) - STEP;

#[cfg(target_family = "wasm")]
#[global_allocator]
static HEAP: Heap = Heap::new();

/// See the crate. For one thread: a plugin has no other.
pub struct Heap(UnsafeCell<Blocks>);

/// Small blocks.
struct Blocks {
    /// The free ones of each size, the last freed first.
    free: [*mut Free; LARGEST / STEP],
    /// What has not been cut into blocks yet of the last piece.
    rest: *mut u8,
    left: usize,
}

/// A block that is free: the next one of its size, or null.
struct Free(*mut Free);

// SAFETY: components have no threads, and for others there is no such static.
unsafe impl Sync for Heap {}

impl Heap {
    /// A heap that has nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(Blocks {
            free: [null_mut(); LARGEST / STEP],
            rest: null_mut(),
            left: 0,
        }))
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of a small block's size; none if the block is no small one.
fn class(layout: Layout) -> Option<usize> {
    let is_small = layout.size() <= LARGEST && layout.align() <= STEP;
    is_small.then(|| layout.size().saturating_sub(1) / STEP)
}

// SAFETY: blocks of a class are as long as its largest size and aligned to
// `STEP`, are cut from a piece once, and are in the list of their class only
// while nobody has them. A block goes back to where it came from, as both are
// told by its layout.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            return unsafe { System.alloc(layout) };
        };
        let blocks = unsafe { &mut *self.0.get() };
        let first = blocks.free[class];
        if first.is_null() {
            return blocks.cut(class);
        }
        blocks.free[class] = unsafe { (*first).0 };
        first.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            Some(class) => unsafe { (*self.0.get()).give(block, class) },
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if class(layout).is_none() {
            return unsafe { System.alloc_zeroed(layout) };
        }
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class(layout), class(wanted)) {
            (None, None) => return unsafe { System.realloc(block, layout, size) },
            (had, wanted) if had == wanted => return block,
            _ => {}
        }
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            let length = layout.size().min(size);
            unsafe {
                copy_nonoverlapping(block, moved, length);
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

impl Blocks {
    /// Cuts a block from the rest of a piece, or of a new one; null if the
    /// system has none.
    #[cold]
    fn cut(&mut self, class: usize) -> *mut u8 {
        let size = (class + 1) * STEP;
        if self.left < size {
            let layout = const {
                match Layout::from_size_align(PIECE, STEP) {
                    Ok(layout) => layout,
                    Err(_) => panic!("a piece has a layout"),
                }
            };
            // SAFETY: the size is not zero.
            let piece = unsafe { System.alloc(layout) };
            if piece.is_null() {
                return piece;
            }
            if self.left > 0 {
                // SAFETY: nobody has the rest, which is as long as this class.
                unsafe { self.give(self.rest, self.left / STEP - 1) };
            }
            (self.rest, self.left) = (piece, PIECE);
        }
        let block = self.rest;
        self.left -= size;
        // SAFETY: the rest is at least as long as the block was.
        self.rest = unsafe { block.add(size) };
        block
    }

    /// Puts a block first in the list of its class.
    ///
    /// # Safety
    ///
    /// The block is of that class, and nobody has it.
    unsafe fn give(&mut self, block: *mut u8, class: usize) {
        // Blocks are aligned to more than a pointer is.
        let block: *mut Free = block.cast();
        unsafe { block.write(Free(self.free[class])) };
        self.free[class] = block;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heap, and a layout of so many bytes.
    fn heap() -> (Heap, fn(usize) -> Layout) {
        (Heap::new(), |size| {
            Layout::from_size_align(size, 8).unwrap()
        })
    }

    #[test]
    fn what_was_freed_last_is_given_first_to_its_size() {
        let (heap, bytes) = heap();
        unsafe {
            let [a, b] = [heap.alloc(bytes(17)), heap.alloc(bytes(32))];
            assert_eq!(b, a.add(32), "nothing lies between blocks");
            heap.dealloc(a, bytes(17));
            heap.dealloc(b, bytes(32));
            let other = heap.alloc(bytes(16));
            assert!(![a, b].contains(&other));
            assert_eq!([heap.alloc(bytes(20)), heap.alloc(bytes(20))], [b, a]);
            assert!(![a, b].contains(&heap.alloc(bytes(20))));
        }
    }

    #[test]
    fn blocks_never_overlap_and_keep_what_they_hold() {
        let (heap, bytes) = heap();
        let mut blocks: Vec<(*mut u8, usize, u8)> = Vec::new();
        let mut seed = 1_u32;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        let holds = |(block, size, byte): (*mut u8, usize, u8)| {
            let held = unsafe { std::slice::from_raw_parts(block, size) };
            held.iter().all(|b| *b == byte)
        };
        for turn in 0..20_000 {
            let byte = turn as u8;
            let size = 1 + random(if turn % 9 == 0 { 3 * LARGEST } else { 200 });
            match random(3) {
                0 if !blocks.is_empty() => {
                    let block = blocks.swap_remove(random(blocks.len()));
                    assert!(holds(block));
                    unsafe { heap.dealloc(block.0, bytes(block.1)) };
                }
                1 if !blocks.is_empty() => {
                    let at = random(blocks.len());
                    let (old, had, was) = blocks[at];
                    let block = unsafe { heap.realloc(old, bytes(had), size) };
                    assert!(holds((block, had.min(size), was)));
                    unsafe { block.write_bytes(byte, size) };
                    blocks[at] = (block, size, byte);
                }
                _ => {
                    let block = unsafe { heap.alloc_zeroed(bytes(size)) };
                    assert!(holds((block, size, 0)));
                    unsafe { block.write_bytes(byte, size) };
                    blocks.push((block, size, byte));
                }
            }
        }
        for block in blocks {
            assert!(holds(block));
            unsafe { heap.dealloc(block.0, bytes(block.1)) };
        }
    }

    #[test]
    fn blocks_are_aligned_as_they_are_asked_for() {
        let heap = Heap::new();
        for align in [1, 2, 8, 16, 32, 256] {
            for size in [1, 15, 16, 17, LARGEST - 1, LARGEST, LARGEST + 1] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let block = unsafe { heap.alloc(layout) };
                assert_eq!(block as usize % align, 0, "{size} bytes at {align}");
                unsafe { heap.dealloc(block, layout) };
            }
        }
    }

    /// What is left of a piece is not lost.
    #[test]
    fn the_rest_of_a_piece_is_given_too() {
        let (heap, bytes) = heap();
        let large = bytes(LARGEST - STEP);
        let per_piece = PIECE / large.size();
        let rest = PIECE % large.size();
        unsafe {
            let first = heap.alloc(large);
            for _ in 0..per_piece {
                heap.alloc(large);
            }
            let given = heap.alloc(bytes(rest));
            assert_eq!(given, first.add(PIECE - rest));
        }
    }
}
