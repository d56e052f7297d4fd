//! Which bytes of a string are more than characters of it, sixty-four at a
//! time: a branch for each byte, or for each short run of them, is what reading
//! a body would spend most of its time on.

use wide::u8x16;

/// How many bytes are looked at together.
pub const WIDTH: usize = 64;

/// The bytes that end a string or begin an escape, and those that no string
/// may have (RFC 8259, section 7). Bit n is about byte n.
pub fn odd(block: &[u8; WIDTH]) -> u64 {
    marked(block, |bytes| {
        let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
        control | bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'))
    })
}

/// The backslashes. Bit n is about byte n.
pub fn backslashes(block: &[u8; WIDTH]) -> u64 {
    marked(block, |bytes| bytes.simd_eq(u8x16::splat(b'\\')))
}

fn marked(block: &[u8; WIDTH], look: impl Fn(u8x16) -> u8x16) -> u64 {
    let (parts, _) = block.as_chunks::<16>();
    let parts = parts.iter().rev();
    parts.fold(0, |marks, part| {
        marks << 16 | u64::from(look(u8x16::new(*part)).to_bitmask())
    })
}
