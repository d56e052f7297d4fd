//! Large futures, on the heap.

use std::pin::Pin;

/// Puts a future where it stays, and makes it there. `Box::pin` is given one
/// that was made on the stack, and moves all of it: kilobytes, in which little
/// stands before it is polled.
#[inline(always)]
pub fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}
