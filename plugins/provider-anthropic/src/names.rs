//! Identifiers of tool calls and names of tools in Anthropic's alphabet.
//!
//! Anthropic takes `^[a-zA-Z0-9_-]+$` for identifiers and at most 128 of the
//! same characters for names; others do not mind more (litellm#2512,
//! RooCode#10102: `functions.get_weather:0`). Both mappings depend on nothing
//! but the text, so a call and its result stay together, within a request and
//! from one turn to the next.

use crate::refusal::Refusal;

/// "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'".
const MAX_NAME: usize = 128;

/// What an encoded name begins with. A name that begins so by itself is
/// encoded too, and so `restore` knows which ones are.
const ENCODED: &str = "x--";

/// How much of an unfit identifier is kept for people to recognise.
const KEPT: usize = 40;

/// The identifier as Anthropic takes it: unchanged if it fits, else what fits
/// of it and a hash of the whole. There is no way back and none is needed: the
/// identifiers in answers are Anthropic's own.
pub fn call_id(id: &str) -> String {
    if fits(id) {
        return id.to_owned();
    }
    let kept: String = id
        .chars()
        .take(KEPT)
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    format!("{kept}_{:016x}", fnv1a(id))
}

/// The tool's name as Anthropic takes it: unchanged if it fits, else with each
/// character that does not fit as its number. [`restore`] undoes it.
pub fn tool_name(name: &str, pointer: &str) -> Result<String, Refusal> {
    let encoded = if fits(name) && !name.starts_with(ENCODED) {
        name.to_owned()
    } else {
        encode(name)
    };
    if name.is_empty() || encoded.len() > MAX_NAME {
        let what =
            format!("a tool's name must have 1 to {MAX_NAME} characters of a-z, A-Z, 0-9, _ and -");
        return Err(Refusal::unsupported(pointer, &what));
    }
    Ok(encoded)
}

/// The name that the client gave the tool.
pub fn restore(name: &str) -> String {
    let decoded = name.strip_prefix(ENCODED).and_then(decode);
    decoded.unwrap_or_else(|| name.to_owned())
}

/// `get.weather` becomes `x--get-2e-weather`: every other piece between dashes
/// is the number of a character, in base 16.
fn encode(name: &str) -> String {
    let mut encoded = String::from(ENCODED);
    for character in name.chars() {
        if plain(character) && character != '-' {
            encoded.push(character);
        } else {
            encoded.push_str(&format!("-{:x}-", u32::from(character)));
        }
    }
    encoded
}

fn decode(encoded: &str) -> Option<String> {
    let mut name = String::new();
    for (index, piece) in encoded.split('-').enumerate() {
        if index % 2 == 0 {
            name.push_str(piece);
        } else {
            name.push(char::from_u32(u32::from_str_radix(piece, 16).ok()?)?);
        }
    }
    Some(name)
}

fn fits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(plain)
}

fn plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '-'
}

/// FNV-1a, 64 bits: the same on every machine and in every build, which the
/// standard library's hasher does not promise.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::{call_id, restore, tool_name};

    #[test]
    fn an_identifier_that_fits_is_kept() {
        for id in ["toolu_01A", "call_abc-9", "x"] {
            assert_eq!(call_id(id), id);
        }
    }

    #[test]
    fn unfit_identifiers_fit_and_stay_apart() {
        let ids = [
            "functions.get_weather:0",
            "functions.get:weather.0",
            "call_a|fc_b",
            "é",
            "é ",
        ];
        let mapped: Vec<_> = ids.iter().map(|id| call_id(id)).collect();
        for (at, id) in mapped.iter().enumerate() {
            assert!(super::fits(id), "{id}");
            assert_eq!(mapped.iter().position(|other| other == id), Some(at));
        }
        assert!(mapped[0].starts_with("functions_get_weather_0_"));
        assert!(call_id(&"é".repeat(500)).len() < 64);
    }

    #[test]
    fn names_come_back() {
        for name in [
            "get_weather",
            "get.weather",
            "a-b.c",
            "x--y",
            "x--",
            "wetter für 2",
            "名前",
            "-.-",
        ] {
            let encoded = tool_name(name, "/tools/0").unwrap();
            assert!(super::fits(&encoded), "{encoded}");
            assert_eq!(restore(&encoded), name);
        }
        assert_eq!(tool_name("get.weather", "").unwrap(), "x--get-2e-weather");
        assert_eq!(tool_name("get-weather", "").unwrap(), "get-weather");
        // Names of others that merely look encoded stay what they are.
        for name in ["x--a-zz-b", "x--a-110000-b"] {
            assert_eq!(restore(name), name);
        }
    }

    #[test]
    fn a_name_that_cannot_fit_is_refused() {
        for name in [String::new(), "n".repeat(129), "é".repeat(40)] {
            let refusal = tool_name(&name, "/tools/0/function/name").unwrap_err();
            assert!(
                refusal.message.starts_with("/tools/0/function/name: "),
                "{refusal:?}"
            );
        }
    }
}
