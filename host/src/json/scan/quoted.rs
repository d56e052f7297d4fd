//! Stepping over a string, sixty-four bytes at a time.

use std::hint::cold_path;

use fearless_simd::{Level, Simd, dispatch};

use super::super::block::{self, Block};
use super::super::spans::Kind;
use super::super::string::unit;
use super::NotJson;

/// A string that has been stepped over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted {
    pub kind: Kind,
    pub is_plain_ascii: bool,
    /// Where it ends, its quote included.
    pub end: usize,
}

/// Steps over the string whose quote is at `start`.
pub(super) fn quoted(bytes: &[u8], start: usize) -> Result<Quoted, NotJson> {
    if let Some(end) = short(bytes, start) {
        return Ok(Quoted {
            kind: Kind::Plain,
            is_plain_ascii: true,
            end,
        });
    }
    let cursor = Cursor {
        bytes,
        at: start + 1,
    };
    dispatch!(Level::new(), simd => cursor.string(simd))
}

/// Where a string ends, its quote included, if that is near and there is nothing
/// but printable ASCII in it, as in most keys: to begin with blocks takes longer.
fn short(bytes: &[u8], start: usize) -> Option<usize> {
    let begun = bytes.get(start + 1..)?.first_chunk()?;
    let odd = dispatch!(Level::baseline(), simd => block::odd(simd, begun));
    let length = odd.trailing_zeros() as usize;
    (begun.get(length) == Some(&b'"')).then_some(start + length + 2)
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline(always)]
    fn string<S: Simd>(mut self, simd: S) -> Result<Quoted, NotJson> {
        let (mut escaping, mut is_plain) = (0, true);
        loop {
            let last;
            let bytes = match self.bytes[self.at..].first_chunk() {
                Some(bytes) => bytes,
                None => {
                    last = self.last_block();
                    &last
                }
            };
            let block = Block::of(simd, bytes);
            let (quotes, backslashes) = (block.quotes(), block.backslashes());
            // Done for each block: every other one of most texts has an escape,
            // and for a processor to guess wrong which takes longer.
            let escapes = block::escapes(backslashes);
            let escaped = escapes << 1;
            let ends = quotes & !escaped;
            let own = before(ends);
            escaping |= escapes & own;
            if escaped & own & !block.plain_escapes() != 0 {
                let (is_over, has_plain) = self.odd_block(block)?;
                is_plain &= has_plain;
                if is_over {
                    return Ok(self.ended(escaping != 0, is_plain));
                }
                continue;
            }
            if block.unusual() & own != 0 {
                is_plain = false;
                if block.controls() & own != 0 {
                    return Err(NotJson);
                }
            }
            if ends != 0 {
                self.at += ends.trailing_zeros() as usize + 1;
                return Ok(self.ended(escaping != 0, is_plain));
            }
            self.at += block::WIDTH;
            if escapes >> 63 != 0 {
                // An escape that crosses the end is looked at in one piece. A
                // processor that guesses that none does need not wait for this
                // block to begin with the next.
                cold_path();
                self.at -= 1;
            }
        }
    }

    fn ended(&self, has_escapes: bool, is_plain_ascii: bool) -> Quoted {
        Quoted {
            kind: if has_escapes {
                Kind::Escaped
            } else {
                Kind::Plain
            },
            is_plain_ascii,
            end: self.at,
        }
    }

    /// Steps over a block of a string with escapes of any kind; answers whether
    /// the string ends in it, and whether it is plain ASCII so far.
    #[inline(always)]
    fn odd_block<S: Simd>(&mut self, block: Block<S>) -> Result<(bool, bool), NotJson> {
        let start = self.at;
        let (mut is_plain, mut is_over) = (true, false);
        let mut odd = block.quotes() | block.backslashes() | block.controls();
        while odd != 0 && !is_over {
            self.at = start + odd.trailing_zeros() as usize + 1;
            match self.bytes.get(self.at - 1) {
                Some(b'"') => is_over = true,
                Some(b'\\') => is_plain &= self.escape()?,
                _ => return Err(NotJson),
            }
            odd &= !first(self.at - start);
        }
        if !is_over {
            // An escape may cross the end of the block.
            self.at = self.at.max(start + block::WIDTH);
        }
        is_plain &= block.unusual() & first(self.at - start) == 0;
        Ok((is_over, is_plain))
    }

    /// The rest of the bytes, if they do not fill a block, and after them what
    /// no string may have.
    fn last_block(&self) -> [u8; block::WIDTH] {
        let rest = &self.bytes[self.at..];
        let mut block = [0; block::WIDTH];
        block[..rest.len()].copy_from_slice(rest);
        block
    }

    /// Steps over what follows a backslash, and answers whether that is plain
    /// ASCII.
    fn escape(&mut self) -> Result<bool, NotJson> {
        let byte = self.bytes.get(self.at).ok_or(NotJson)?;
        self.at += 1;
        match byte {
            b'u' => self.unicode().map(|()| false),
            b'"' | b'\\' | b'/' | b'f' | b'n' | b'r' | b't' => Ok(true),
            b'b' => Ok(false),
            _ => Err(NotJson),
        }
    }

    /// Steps over what follows `\u`.
    fn unicode(&mut self) -> Result<(), NotJson> {
        let is_well = match self.unit()? {
            // The first half of a pair; the second follows.
            0xd800..=0xdbff => {
                if !self.bytes[self.at..].starts_with(b"\\u") {
                    return Err(NotJson);
                }
                self.at += 2;
                (0xdc00..=0xdfff).contains(&self.unit()?)
            }
            0xdc00..=0xdfff => false,
            _ => true,
        };
        is_well.then_some(()).ok_or(NotJson)
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, NotJson> {
        let unit = unit(&self.bytes[self.at..]).ok_or(NotJson)?;
        self.at += 4;
        Ok(unit)
    }
}

/// The bits before the first that is set; all if none is.
fn before(marks: u64) -> u64 {
    marks.wrapping_sub(1) & !marks
}

/// So many bits.
fn first(count: usize) -> u64 {
    let others = u64::MAX.checked_shl(count as u32);
    !others.unwrap_or(0)
}
