//! What the bytes of a string are, sixty-four at a time: a branch for each byte,
//! or for each short run of them, is what reading a body would spend most of its
//! time on.
//!
//! Bit n of a mask is about byte n.

use wide::u8x16;

/// How many bytes are looked at together.
pub const WIDTH: usize = 64;

/// What is special in a block of a string.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    pub quotes: u64,
    pub backslashes: u64,
    /// Controls, and what is beyond printable ASCII.
    pub unusual: u64,
}

impl Marks {
    #[inline]
    pub fn of(block: &[u8; WIDTH]) -> Self {
        let none = Self {
            quotes: 0,
            backslashes: 0,
            unusual: 0,
        };
        parts(block).fold(none, |marks, part| Self {
            quotes: marks.quotes << 16 | bits(is(part, b'"')),
            backslashes: marks.backslashes << 16 | bits(is(part, b'\\')),
            unusual: marks.unusual << 16 | bits(is_control(part) | is_beyond(part)),
        })
    }
}

/// Controls, which no string may have (RFC 8259, section 7).
pub fn controls(block: &[u8; WIDTH]) -> u64 {
    parts(block).fold(0, |marks, part| marks << 16 | bits(is_control(part)))
}

/// The letters of the escapes that most texts have no others than, with the
/// quote and the backslash: those of a line break and of a tab.
#[inline]
pub fn letters(block: &[u8; WIDTH]) -> u64 {
    let is_letter = |part| is(part, b'n') | is(part, b't');
    parts(block).fold(0, |marks, part| marks << 16 | bits(is_letter(part)))
}

/// The backslashes.
pub fn backslashes(block: &[u8; WIDTH]) -> u64 {
    parts(block).fold(0, |marks, part| marks << 16 | bits(is(part, b'\\')))
}

/// The parts of a block, the last one first.
#[inline]
fn parts(block: &[u8; WIDTH]) -> impl Iterator<Item = u8x16> {
    let (parts, _) = block.as_chunks::<16>();
    parts.iter().rev().map(|part| u8x16::new(*part))
}

#[inline]
fn bits(part: u8x16) -> u64 {
    part.to_bitmask().into()
}

#[inline]
fn is(part: u8x16, byte: u8) -> u8x16 {
    part.simd_eq(u8x16::splat(byte))
}

#[inline]
fn is_control(part: u8x16) -> u8x16 {
    part.min(u8x16::splat(0x1f)).simd_eq(part)
}

#[inline]
fn is_beyond(part: u8x16) -> u8x16 {
    part.max(u8x16::splat(0x7f)).simd_eq(part)
}

/// Of backslashes those that begin an escape, if the first byte of the block
/// does not end one: in a run of them every other.
#[inline]
pub fn escapes(backslashes: u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    // Adding to the first of a run carries past its end. Of a run that begins
    // at an even place every backslash at an even place begins an escape, and
    // the other way round.
    let first = backslashes & !(backslashes << 1);
    let (past_even, _) = backslashes.overflowing_add(first & EVEN);
    let in_even = backslashes & !past_even;
    (in_even & EVEN) | (backslashes & !in_even & !EVEN)
}
