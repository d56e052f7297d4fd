//! A hash that is the same in every run and on every machine, unlike those of
//! the standard library. It protects nothing.

/// FNV-1a with 64 bits (draft-eastlake-fnv), and its bits mixed once more,
/// because texts that differ in their last bytes only are close otherwise.
pub fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}
