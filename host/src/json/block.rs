//! What the bytes of a string are, sixty-four at a time: a branch for each byte,
//! or for each short run of them, is what reading a body would spend most of its
//! time on.
//!
//! Bit n of a mask is about byte n.

use fearless_simd::{Simd, prelude::*, u8x16, u8x64};

/// How many bytes are looked at together.
pub const WIDTH: usize = 64;

/// How many bytes the narrowest registers hold.
pub const NARROW: usize = 16;

/// Of so few bytes what is not printable ASCII, and quotes and backslashes.
#[inline(always)]
pub fn odd<S: Simd>(simd: S, bytes: &[u8; NARROW]) -> u64 {
    let bytes = u8x16::from_slice(simd, bytes);
    let unusual = (bytes - b' ').simd_gt(b'~' - b' ');
    let marks = bytes.simd_eq(b'"') | bytes.simd_eq(b'\\');
    (unusual | marks).to_bitmask()
}

/// A block of a string, in registers as wide as the processor's. What uses one
/// is compiled for each width, and inlined wholly into where that is chosen
/// (`fearless_simd::dispatch`).
#[derive(Clone, Copy)]
pub struct Block<S: Simd>(u8x64<S>);

impl<S: Simd> Block<S> {
    #[inline(always)]
    pub fn of(simd: S, bytes: &[u8; WIDTH]) -> Self {
        Self(u8x64::from_slice(simd, bytes))
    }

    #[inline(always)]
    pub fn quotes(self) -> u64 {
        self.0.simd_eq(b'"').to_bitmask()
    }

    #[inline(always)]
    pub fn backslashes(self) -> u64 {
        self.0.simd_eq(b'\\').to_bitmask()
    }

    /// Controls, and what is beyond printable ASCII.
    #[inline(always)]
    pub fn unusual(self) -> u64 {
        // What is below a space comes to lie above all others.
        let from_space = self.0 - b' ';
        from_space.simd_gt(b'~' - b' ').to_bitmask()
    }

    /// Controls, which no string may have (RFC 8259, section 7).
    #[inline(always)]
    pub fn controls(self) -> u64 {
        self.0.simd_lt(b' ').to_bitmask()
    }

    /// What follows the backslash in the escapes that most texts have no others
    /// than: a quote, a backslash, a slash, or the letter of a line break, a form
    /// feed or a tab.
    #[inline(always)]
    pub fn plain_escapes(self) -> u64 {
        let only = u8x64::block_splat(u8x16::from_slice(self.0.simd, &PLAIN_ESCAPES));
        let only = only.swizzle_dyn_within_blocks(self.0 & 0x0f);
        self.0.simd_eq(only).to_bitmask()
    }
}

/// The byte of [`Block::plain_escapes`] that has these four low bits; where there
/// is none, one that has others.
const PLAIN_ESCAPES: [u8; NARROW] = {
    let mut bytes = [0xff; NARROW];
    let mut plain = br#""\/nft"#.as_slice();
    while let [byte, rest @ ..] = plain {
        bytes[(*byte & 0x0f) as usize] = *byte;
        plain = rest;
    }
    bytes
};

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

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    /// Each kind of mask, with what it is of.
    type Kind<S> = (fn(Block<S>) -> u64, fn(u8) -> bool);

    #[inline(always)]
    fn kinds<S: Simd>(_: S) -> [Kind<S>; 5] {
        [
            (Block::quotes, |byte| byte == b'"'),
            (Block::backslashes, |byte| byte == b'\\'),
            (Block::unusual, |byte| !(b' '..=b'~').contains(&byte)),
            (Block::controls, |byte| byte < b' '),
            (Block::plain_escapes, |byte| br#""\/nft"#.contains(&byte)),
        ]
    }

    #[inline(always)]
    fn compare<S: Simd>(simd: S, bytes: &[u8; WIDTH]) {
        let block = Block::of(simd, bytes);
        for (number, (mask, is_of)) in kinds(simd).into_iter().enumerate() {
            let bits = bytes.iter().rev().map(|byte| u64::from(is_of(*byte)));
            let expected = bits.fold(0, |mask, bit| mask << 1 | bit);
            assert_eq!(mask(block), expected, "{number} of {bytes:?} ({simd:?})");
        }
    }

    /// What this processor has of registers; a test of the widest alone would
    /// leave out what others run.
    fn levels() -> Vec<Level> {
        let widest = Level::new();
        let levels = [Some(Level::baseline()), Some(widest)];
        #[cfg(target_arch = "x86_64")]
        let levels = levels.into_iter().chain([
            widest.as_sse4_2().map(Level::Sse4_2),
            widest.as_avx2().map(Level::Avx2),
        ]);
        levels.into_iter().flatten().collect()
    }

    #[test]
    fn every_byte_is_seen_in_every_place_at_every_width() {
        for level in levels() {
            for byte in 0..=u8::MAX {
                for place in 0..WIDTH {
                    let mut bytes = [b'a'; WIDTH];
                    bytes[place] = byte;
                    dispatch!(level, simd => compare(simd, &bytes));
                }
            }
            let all: Vec<_> = (0..=u8::MAX).collect();
            for bytes in all.as_chunks::<WIDTH>().0 {
                dispatch!(level, simd => compare(simd, bytes));
            }
        }
    }
}
