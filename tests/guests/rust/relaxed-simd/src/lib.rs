//! A request filter that uses relaxed SIMD, which the engine that serves knows
//! and the quicker compiler of the one that rehearses does not. It notes, under
//! "reversed", a word that it has reversed by it.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:relaxed-simd;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
        }
    ",
    world: "guest:relaxed-simd/guest",
    generate_all,
});

use exports::palisade::plugin::request_filter::{Guest, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::Problem;

const WORD: &[u8; 16] = b"backwards-it-is.";

#[cfg(target_family = "wasm")]
#[target_feature(enable = "relaxed-simd")]
fn reversed(word: u128) -> u128 {
    use core::arch::wasm32::{i8x16_relaxed_swizzle, u8x16, u64x2, u64x2_extract_lane};
    let bytes = u64x2(word as u64, (word >> 64) as u64);
    let places = u8x16(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let bytes = i8x16_relaxed_swizzle(bytes, places);
    let half = |half: u64| u128::from(half);
    half(u64x2_extract_lane::<1>(bytes)) << 64 | half(u64x2_extract_lane::<0>(bytes))
}

#[cfg(not(target_family = "wasm"))]
fn reversed(word: u128) -> u128 {
    word.swap_bytes()
}

struct Reverser;

impl Guest for Reverser {
    fn check(request: &Request) -> Result<Verdict, Problem> {
        // What the compiler cannot work out beforehand.
        let word = std::hint::black_box(u128::from_le_bytes(*WORD));
        let text = reversed(word).to_le_bytes();
        let exchange = request.exchange();
        let noted = exchange.set_note("reversed", &String::from_utf8_lossy(&text));
        noted.map_err(|message| Problem {
            code: "note.refused".to_owned(),
            message,
        })?;
        Ok(Verdict::Proceed)
    }
}

#[cfg(target_family = "wasm")]
export!(Reverser);
